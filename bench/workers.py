"""Two worker processes of FastCMS beside one, on the same database.

python -m bench.workers [--rows …] [--keep FOLDER] [--database postgres://…]

Here nothing is bound to a core: the workers, the database and the load generator
share the machine, so requests per second say how much of it the workers get.
"""

from __future__ import annotations

from bench import common, pair, peers, rounds, servers
from bench.rounds import Case

CASES = (
    Case("get one", None, peers.get_one),
    Case("list of 30, exact total", None, peers.newest_with_total),
    Case("create", None, peers.create),
)


def main() -> None:
    chosen = pair.options(__doc__).parse_args()
    with pair.prepared(chosen, peer=False, workers=(1, 2)) as systems:
        for system, count in zip(systems, ("one", "two"), strict=True):
            system.short, system.server.cores = count, set(servers.CORES)
        with pair.started(systems):
            shown = rounds.table(systems, CASES, postgresql=bool(chosen.database))
    engine = "PostgreSQL" if chosen.database else "SQLite"
    common.report(f"{engine}, {chosen.rows:,} records, {len(servers.CORES)} cores for all. {rounds.HOW}", shown)


if __name__ == "__main__":
    main()
