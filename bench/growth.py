"""FastCMS with ten times the records: what is found by a key must not cost more.

python -m bench.growth [--rows 100000] [--keep FOLDER]
"""

from __future__ import annotations

import argparse

from bench import common, pair, peers, rounds
from bench.rounds import Case

TIMES = 10
TARGET = round(1 / 1.15, 2)
CASES = (
    Case("get one", TARGET, peers.get_one),
    Case("list of 30, skip total", TARGET, peers.newest),
    Case("indexed filter + sort, skip total", TARGET, peers.dear),
    Case("deep page by cursor", TARGET, peers.deep_by_cursor),
    Case("owner-rule list, exact total", TARGET, peers.own_notes),
    Case("create", None, peers.create),
)


def main() -> None:
    chosen = pair.options(__doc__).parse_args()
    more = argparse.Namespace(**{**vars(chosen), "rows": chosen.rows * TIMES})
    with pair.prepared(chosen, peer=False) as few, pair.prepared(more, peer=False) as many:
        systems = [*few, *many]
        for system in systems:
            system.short = f"{system.shelf.rows:,}:"
        with pair.started(systems):
            shown = rounds.table(systems, CASES)
    common.report(f"Ratio: CPU with {chosen.rows:,} records ÷ with {more.rows:,}. {rounds.HOW}", shown)


if __name__ == "__main__":
    main()
