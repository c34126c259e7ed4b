"""PocketBase and FastCMS side by side: the same collections and rows, the same wishes, turn about.

python -m bench.peers [--rows 1000000] [--keep FOLDER] [--database postgres://…]

Each server has one core to itself, the load generator another. A case is measured
in rounds that alternate between the systems; what stands in the table is, of each
system, the round with the median CPU. ``--keep`` fills the databases once and works
on copies of them. With ``--database`` only FastCMS runs, on PostgreSQL.
"""

from __future__ import annotations

import random
from statistics import median

from bench import common, pair, pocketbase, rounds, stock
from bench.load import Request
from bench.rounds import Case
from bench.systems import PER_PAGE, System

# More than a cache of answers is likely to hold.
DIFFERENT = common.scaled(8000)


# --- what is asked ----------------------------------------------------------------------------


def some(system: System, salt: int = 0) -> list[int]:
    """Numbers of some products whose id is known, in random order, the same for every system."""
    numbers = sorted(system.ids)
    random.Random(salt).shuffle(numbers)
    return numbers[:DIFFERENT]


def get_one(system: System) -> list[Request]:
    return [system.get(number) for number in some(system)]


def newest_with_total(system: System) -> list[Request]:
    return [system.newest(total=system.shelf.rows, spelling=way) for way in range(DIFFERENT)]


def newest_again(system: System) -> list[Request]:
    return [system.newest(total=system.shelf.rows)]


def newest(system: System) -> list[Request]:
    return [system.newest(spelling=way) for way in range(DIFFERENT)]


def dear_with_total(system: System) -> list[Request]:
    """Ten filters, as ten links of a shop would be."""
    return [system.dear(100.0 + way % 10, with_total=True, spelling=way) for way in range(DIFFERENT)]


def dear_with_new_total(system: System) -> list[Request]:
    """A filter rarely comes twice."""
    chance = random.Random(3)
    return [system.dear(chance.randrange(5_000, 15_000) / 100, with_total=True) for _ in range(DIFFERENT)]


def dear(system: System) -> list[Request]:
    return [system.dear(100.0 + way % 10, with_total=False, spelling=way) for way in range(DIFFERENT)]


def deep_by_number(system: System) -> list[Request]:
    chance, pages = random.Random(4), max(1, system.shelf.rows // PER_PAGE)
    return [system.newest(max(1, round(pages * chance.uniform(0.88, 0.92))), spelling=way) for way in range(DIFFERENT)]


def deep_by_cursor(system: System) -> list[Request]:
    cursors = system.cursors(0.88, 0.92)
    return [system.newest_from(cursors[way % len(cursors)], way) for way in range(DIFFERENT)]


def own_notes(system: System) -> list[Request]:
    return [system.own_notes(way) for way in range(DIFFERENT)]


def create(system: System) -> list[Request]:
    return [system.create(number) for number in some(system, 5)]


def create_with_search(system: System) -> list[Request]:
    return [system.create(number, stock.ARTICLES) for number in some(system, 5)]


def update(system: System) -> list[Request]:
    chance = random.Random(6)
    return [system.update(number, chance.randrange(100, 20_000) / 100) for number in some(system, 6)]


def search(system: System) -> list[Request]:
    """Each word once."""
    numbers = list(range(system.shelf.words))
    random.Random(7).shuffle(numbers)
    return [system.search(number) for number in numbers[:DIFFERENT]]


def get_again(system: System) -> list[Request]:
    return [system.get_again(number) for number in some(system, 8)[: DIFFERENT // 2]]


# Reads first: their totals are those of the rows as filled.
CASES = (
    Case("get one", 2.2, get_one),
    Case("list of 30, exact total", 20, newest_with_total),
    Case("  the same request again and again", None, newest_again),
    Case("list of 30, skip total", 3.0, newest),
    Case("indexed filter + sort, exact total", 20, dear_with_total),
    Case("  the same, each time another filter", None, dear_with_new_total),
    Case("indexed filter + sort, skip total", 3.0, dear),
    Case("deep page by number (90 % in), skip total", 1.5, deep_by_number),
    Case("deep page by cursor ¹", 10, deep_by_cursor, theirs=deep_by_number),
    Case("owner-rule list, exact total", 2.5, own_notes),
    Case("search for a rare word, exact total ²", 30, search, their_connections=4),
    Case("repeated GET, If-None-Match ³", 3.0, get_again, theirs=get_one),
    Case("create (ours fsynced)", 1.7, create),
    Case("  the same with our search index ²", None, create_with_search),
    Case("update of one field (ours fsynced)", 1.5, update),
)
# PocketBase writes a row for each request into a log; some switch that off.
WITHOUT_LOG = (Case("get one, its log off", None, get_one), Case("create, its log off", None, create))
NOTES = """Ratio: PocketBase's CPU ÷ ours. Both have default settings: ours has each write on disk before the answer
(`synchronous=FULL`), PocketBase has not (`NORMAL`). No request is the same as any of the thousands before it (lists
are spelled in other bytes each time), so no answer comes from memory where the table doesn't say so.

¹ PocketBase has no cursors: its page by number at the same depth.\\
² PocketBase has no search: `title ~ 'word' || body ~ 'word'`, on 4 connections because of its time limit. Ours has an
index of the three texts, which a create has to keep.\\
³ PocketBase has no ETags: its get one. Ours answers 304."""


def starts(system: System) -> float:
    """Seconds from the start of the process to its first answer, on a filled database; the median of some."""
    seconds = []
    for _ in range(rounds.ROUNDS):
        seconds.append(system.server.start())
        system.server.stop()
    return median(seconds)


def main() -> None:
    options = pair.options(__doc__)
    options.add_argument("--only", default="", metavar="WORDS", help="only cases with these words in their name")
    chosen = options.parse_args()
    cases = [case for case in CASES if chosen.only in case.name]
    with pair.prepared(chosen) as systems:
        started = [starts(system) for system in systems]
        with pair.started(systems):
            idle = [system.server.rss_mb for system in systems]
            tables = [rounds.table(systems, cases, postgresql=bool(chosen.database))]
            loaded = [system.server.rss_mb for system in systems]
            peaks = [system.server.peak_mb for system in systems]
            if systems[0].name == pocketbase.NAME and not chosen.only:
                pocketbase.log_requests(systems[0], days=0)
                tables.append(rounds.table(systems, WITHOUT_LOG))
    lines = [
        ["start to first answer", *(f"{seconds:.2f} s" for seconds in started), "≤ 2.0 s"],
        ["RSS after one sign-in", *(f"{rss:.0f} MB" for rss in idle), ""],
        ["RSS after load", *(f"{rss:.0f} MB" for rss in loaded), "≤ 150 MB"],
        ["RSS at most", *(f"{peak:.0f} MB" for peak in peaks), ""],
    ]
    tables.append(common.grid(["", *(system.name for system in systems), "target for FastCMS"], lines))
    what = f"{chosen.rows:,} records in each collection, {'PostgreSQL' if chosen.database else 'SQLite'}."
    common.report(f"{what} {rounds.HOW}", *([] if chosen.database else [NOTES]), *tables)


if __name__ == "__main__":
    main()
