"""PocketBase and FastCMS side by side: the same collections and rows, the same wishes, turn about.

python -m bench.peers [--rows 1000000] [--keep FOLDER] [--database postgres://…]

Each server has one core to itself, the load generator another. A case is measured
in rounds that alternate between the systems; what stands in the table is, of each
system, the round with the median CPU. ``--keep`` fills the databases once and works
on copies of them. With ``--database`` only FastCMS runs, on PostgreSQL.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench import common, load, ours, pair, pocketbase, servers, stock
from bench.load import CONNECTIONS, Measured, Request
from bench.systems import PER_PAGE, System

WHOLE = common.SCALE >= 1
ROUNDS = 3 if WHOLE else 1
SECONDS = 3.0 if WHOLE else 0.05
WARM_UP = SECONDS / 4
DIFFERENT = common.scaled(2000)

Wishes = Callable[[System], Sequence[Request]]


@dataclass(frozen=True, slots=True)
class Case:
    """``theirs`` is what PocketBase is asked where it hasn't the same; ``target`` its CPU ÷ ours, at least."""

    name: str
    target: float | None
    wishes: Wishes
    theirs: Wishes | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One system's round of one case: what the clients saw, and what it cost per request, in µs."""

    measured: Measured
    cpu_us: float
    database_us: float = 0.0

    def cells(self) -> list[str]:
        return [
            f"{self.measured.per_second:,.0f}",
            f"{self.measured.percentile_ms(50):.2f}",
            f"{self.measured.percentile_ms(99):.2f}",
            f"{self.cpu_us:,.0f}",
        ]


# --- what is asked ----------------------------------------------------------------------------


def some(system: System, salt: int = 0) -> list[int]:
    """Numbers of some products whose id is known, in random order, the same for every system."""
    numbers = sorted(system.ids)
    return random.Random(salt).choices(numbers, k=DIFFERENT)


def get_one(system: System) -> list[Request]:
    return [system.get(number) for number in some(system)]


def newest_with_total(system: System) -> list[Request]:
    return [system.newest(total=system.stock.rows)]


def newest(system: System) -> list[Request]:
    return [system.newest()]


def dear_with_total(system: System) -> list[Request]:
    """Ten filters, as ten links of a shop would be."""
    return [system.dear(100.0 + price, with_total=True) for price in range(10)]


def dear_with_new_total(system: System) -> list[Request]:
    """Hardly a filter comes twice."""
    chance = random.Random(3)
    return [system.dear(chance.randrange(9_000, 11_000) / 100, with_total=True) for _ in range(DIFFERENT)]


def dear(system: System) -> list[Request]:
    return [system.dear(100.0 + price, with_total=False) for price in range(10)]


def deep_by_number(system: System) -> list[Request]:
    chance, pages = random.Random(4), max(1, system.stock.rows // PER_PAGE)
    return [system.newest(max(1, round(pages * chance.uniform(0.88, 0.92)))) for _ in range(100)]


def deep_by_cursor(system: System) -> list[Request]:
    return [system.newest_from(cursor) for cursor in system.cursors(0.88, 0.92)]


def own_notes(system: System) -> list[Request]:
    return [system.own_notes()]


def create(system: System) -> list[Request]:
    return [system.create(number) for number in some(system, 5)]


def create_with_search(system: System) -> list[Request]:
    return [system.create(number, stock.ARTICLES) for number in some(system, 5)]


def update(system: System) -> list[Request]:
    chance = random.Random(6)
    return [system.update(number, chance.randrange(100, 20_000) / 100) for number in some(system, 6)]


def search(system: System) -> list[Request]:
    return [system.search(number) for number in some(system, 7)]


def get_again(system: System) -> list[Request]:
    return [system.get_again(number) for number in some(system, 8)]


# Reads first: their totals are those of the rows as filled.
CASES = (
    Case("get one", 2.2, get_one),
    Case("list of 30, exact total", 20, newest_with_total),
    Case("list of 30, skip total", 3.0, newest),
    Case("indexed filter + sort, exact total", 20, dear_with_total),
    Case("  the same, each time another filter", None, dear_with_new_total),
    Case("indexed filter + sort, skip total", 3.0, dear),
    Case("deep page by number (90 % in), skip total", 1.5, deep_by_number),
    Case("deep page by cursor ¹", 10, deep_by_cursor, theirs=deep_by_number),
    Case("owner-rule list, exact total", 2.5, own_notes),
    Case("search for a rare word, exact total ²", 30, search),
    Case("repeated GET, If-None-Match ³", 3.0, get_again, theirs=get_one),
    Case("create (ours fsynced)", 1.7, create),
    Case("  the same with our search index ²", None, create_with_search),
    Case("update of one field (ours fsynced)", 1.5, update),
)
# PocketBase writes a row for each request into a log; some switch that off.
WITHOUT_LOG = (Case("get one, its log off", None, get_one), Case("create, its log off", None, create))
NOTES = f"""{CONNECTIONS} keep-alive connections; every status checked, every {load.CHECK_EVERY}th body in full.
CPU µs are per request, user and system time of the server with its threads and children (ticks of
{servers.TICK * 1000:.0f} ms); of {ROUNDS} alternating rounds of {SECONDS:g} s the one with the median CPU. Ratio:
PocketBase's CPU ÷ ours. Both have default settings: ours has each write on disk before the answer
(`synchronous=FULL`), PocketBase has not (`NORMAL`).

¹ PocketBase has no cursors: its page by number at the same depth.\\
² PocketBase has no search: `title ~ 'word' || body ~ 'word'`. Ours has an index of the three texts, which a create
has to keep.\\
³ PocketBase has no ETags: its get one. Ours answers 304."""


# --- how it is measured -----------------------------------------------------------------------


def compare(systems: Sequence[System], case: Case) -> list[Round]:
    """The median round of each system."""
    asked = [(case.theirs if case.theirs and system.name != ours.NAME else case.wishes)(system) for system in systems]
    found: list[list[Round]] = [[] for _ in systems]
    for system, requests in zip(systems, asked, strict=True):
        load.run(system.server.port, (requests, CONNECTIONS), seconds=WARM_UP)
    for _ in range(ROUNDS):
        for system, requests, rounds in zip(systems, asked, found, strict=True):
            rounds.append(one_round(system, requests))
    return [sorted(rounds, key=lambda one: one.cpu_us)[len(rounds) // 2] for rounds in found]


def one_round(system: System, requests: Sequence[Request]) -> Round:
    before, database = system.server.cpu, system.server.database_cpu
    (measured,) = load.run(system.server.port, (requests, CONNECTIONS), seconds=SECONDS)
    spent, database = system.server.cpu - before, system.server.database_cpu - database
    return Round(measured, spent / measured.count * 1e6, database / measured.count * 1e6)


def side_by_side(systems: Sequence[System], cases: Sequence[Case]) -> list[list[str]]:
    lines = []
    for case in cases:
        theirs, mine = compare(systems, case)
        ratio = theirs.cpu_us / mine.cpu_us
        target = "" if case.target is None else f"≥ {case.target:g}"
        reached = "" if case.target is None else "yes" if ratio >= case.target else "**no**"
        lines.append([case.name, *theirs.cells(), *mine.cells(), f"{ratio:.2f}", target, reached])
        common.say(" | ".join(lines[-1]))
    return lines


def alone(system: System, cases: Sequence[Case]) -> list[list[str]]:
    lines = []
    for case in cases:
        (mine,) = compare([system], case)
        lines.append([case.name, *mine.cells(), f"{mine.database_us:,.0f}"])
        common.say(" | ".join(lines[-1]))
    return lines


def starts(system: System) -> float:
    """Seconds from the start of the process to its first answer, on a filled database; the median of some."""
    seconds = []
    for _ in range(ROUNDS):
        seconds.append(system.server.start())
        system.server.stop()
    return median(seconds)


def main() -> None:
    chosen = pair.options(__doc__).parse_args()
    tables = []
    with pair.prepared(chosen) as systems:
        started = [starts(system) for system in systems]
        with pair.started(systems):
            idle = [system.server.rss_mb for system in systems]
            if chosen.database:
                heads = ["PostgreSQL", "req/s", "p50 ms", "p99 ms", "CPU µs", "backends CPU µs"]
                tables.append(common.grid(heads, alone(systems[0], CASES)))
            else:
                tables.append(common.grid(_HEADS, side_by_side(systems, CASES)))
            used = [(system.server.rss_mb, system.server.peak_mb) for system in systems]
            if not chosen.database:
                pocketbase.log_requests(systems[0], days=0)
                tables.append(common.grid(_HEADS, side_by_side(systems, WITHOUT_LOG)))
    tables.append(
        common.grid(
            ["", *(system.name for system in systems), "our target"],
            [
                ["start to first answer", *(f"{seconds:.2f} s" for seconds in started), "≤ 2.0 s"],
                ["RSS before the first request", *(f"{rss:.0f} MB" for rss in idle), ""],
                ["RSS after load", *(f"{rss:.0f} MB" for rss, _ in used), "≤ 150 MB"],
                ["the most there was", *(f"{peak:.0f} MB" for _, peak in used), ""],
            ],
        )
    )
    common.report(f"{chosen.rows:,} records in each collection. {NOTES}", *tables)


_HEADS = [
    "",
    *(f"{name} {what}" for name in ("PB", "our") for what in ("req/s", "p50 ms", "p99 ms", "CPU µs")),
    "ratio",
    "target",
    "",
]


if __name__ == "__main__":
    main()
