"""How cases are measured: in rounds that alternate between the systems, and the table of what was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import common, load, pocketbase, servers
from bench.load import CONNECTIONS, Flow, Measured, Request
from bench.systems import System

WHOLE = common.SCALE >= 1
ROUNDS = 3 if WHOLE else 1
SECONDS = 3.0 if WHOLE else 0.05
WARM_UP = SECONDS / 4

Wishes = Callable[[System], Sequence[Request]]
HOW = f"""{CONNECTIONS} keep-alive connections; every status checked, every {load.CHECK_EVERY}th body in full.
CPU µs are per request: user and system time of the server with its threads and children, in ticks
of {servers.TICK * 1000:.0f} ms. Of {ROUNDS} rounds of {SECONDS:g} s, turn about, the one with the median
CPU stands here."""


@dataclass(frozen=True, slots=True)
class Case:
    """``target`` is the first system's CPU ÷ the second's, at least; ``theirs`` what PocketBase is asked
    where it hasn't the same, on ``their_connections`` where it would run into its time limit.
    """

    name: str
    target: float | None
    wishes: Wishes
    theirs: Wishes | None = None
    their_connections: int = CONNECTIONS

    def flow(self, system: System) -> Flow:
        if system.name != pocketbase.NAME:
            return load.flow(self.wishes(system))
        return load.flow((self.theirs or self.wishes)(system), self.their_connections)


@dataclass(frozen=True, slots=True)
class Round:
    """One system's round of one case: what the clients saw, and what a request cost, in µs."""

    measured: Measured
    cpu_us: float
    database_us: float

    def cells(self) -> list[str]:
        return [
            f"{self.measured.per_second:,.0f}",
            f"{self.measured.percentile_ms(50):.2f}",
            f"{self.measured.percentile_ms(99):.2f}",
            f"{self.cpu_us:,.0f}",
        ]


def compare(systems: Sequence[System], case: Case) -> list[Round]:
    """The median round of each system."""
    asked = [case.flow(system) for system in systems]
    found: list[list[Round]] = [[] for _ in systems]
    for system, flow in zip(systems, asked, strict=True):
        load.run(system.server.port, flow, seconds=WARM_UP)
    for _ in range(ROUNDS):
        for system, flow, rounds in zip(systems, asked, found, strict=True):
            rounds.append(one(system, flow))
    return [sorted(rounds, key=lambda each: each.cpu_us)[len(rounds) // 2] for rounds in found]


def one(system: System, flow: Flow) -> Round:
    before, database = system.server.cpu, system.server.database_cpu
    (measured,) = load.run(system.server.port, flow, seconds=SECONDS)
    spent, database = system.server.cpu - before, system.server.database_cpu - database
    spent = max(spent, servers.TICK)  # of the short rounds of a scaled run nothing may be seen
    return Round(measured, spent / measured.count * 1e6, database / measured.count * 1e6)


def table(systems: Sequence[System], cases: Sequence[Case], *, postgresql: bool = False) -> str:
    """All cases: the figures of each system, and of two the ratio of their CPU."""
    what = ["req/s", "p50 ms", "p99 ms", "CPU µs", *(["backends µs"] if postgresql else [])]
    head = ["", *(f"{system.short} {figure}".strip() for system in systems for figure in what)]
    if len(systems) == 2:
        head += ["ratio", "target", ""]
    lines, slow = [], []
    for case in cases:
        rounds = compare(systems, case)
        line = [case.name]
        for found in rounds:
            line += found.cells() + ([f"{found.database_us:,.0f}"] if postgresql else [])
        if len(rounds) == 2:
            line += _verdict(rounds[0].cpu_us / rounds[1].cpu_us, case.target)
        if rounds[-1].measured.percentile_ms(99) >= 10:
            slow.append(case.name.strip())
        common.say(" | ".join(line))
        lines.append(line)
    over = f"p99 of {systems[-1].name} over 10 ms: {'; '.join(slow) or 'nowhere'}."
    return f"{common.grid(head, lines)}\n\n{over}"


def _verdict(ratio: float, target: float | None) -> list[str]:
    if target is None:
        return [f"{ratio:.2f}", "", ""]
    return [f"{ratio:.2f}", f"≥ {target:g}", "yes" if ratio >= target else "**no**"]
