"""Point reads while one other client loops a slow search through all records, on PocketBase and FastCMS.

python -m bench.scan [--rows …] [--keep FOLDER] [--database postgres://…]
"""

from __future__ import annotations

from bench import common, load, pair, peers, rounds, stock
from bench.load import CONNECTIONS, Measured, Request
from bench.systems import System

TARGET_P99_MS = 10


def scan(system: System) -> list[Request]:
    """No index helps to find a text within titles, and only the last one has this.

    (PocketBase delays answers without any record, against those who guess at what they may not see.)
    """
    last = stock.title(system.shelf.rows - 1)
    return [system.page(filter=f"title ~ '{last}'", items=1, holds=lambda items: items[0]["title"] == last)]


def main() -> None:
    chosen = pair.options(__doc__).parse_args()
    lines = []
    with pair.running(chosen) as systems:
        for system in systems:
            reads, slow = (peers.get_one(system), CONNECTIONS - 1), (scan(system), 1)
            load.run(system.server.port, reads, slow, seconds=rounds.WARM_UP)
            (alone,) = load.run(system.server.port, reads, seconds=rounds.SECONDS)
            (scanning,) = load.run(system.server.port, slow, seconds=rounds.SECONDS)
            beside, slowed = load.run(system.server.port, reads, slow, seconds=rounds.SECONDS)
            lines += [
                _line(f"{system.name}: point reads alone", alone),
                _line("  beside the scan", beside),
                _line("  the scan alone", scanning),
                _line("  beside the reads", slowed),
            ]
    lines[-3] += [f"p99 ≤ {TARGET_P99_MS} ms", "yes" if beside.percentile_ms(99) <= TARGET_P99_MS else "**no**"]
    table = common.grid(["", "req/s", "p50 ms", "p99 ms", "target", ""], [[*line, "", ""][:6] for line in lines])
    common.report(
        f"{chosen.rows:,} records; {CONNECTIONS - 1} connections read, one scans all titles for a text;"
        f" {rounds.SECONDS:g} s each.",
        table,
    )


def _line(what: str, seen: Measured) -> list[str]:
    return [what, f"{seen.per_second:,.0f}", f"{seen.percentile_ms(50):.2f}", f"{seen.percentile_ms(99):.2f}"]


if __name__ == "__main__":
    main()
