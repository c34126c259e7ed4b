"""Point reads while one other client loops a slow search through all records, on PocketBase and FastCMS.

python -m bench.scan [--rows …] [--keep FOLDER] [--database postgres://…]
"""

from __future__ import annotations

from bench import common, load, pair, peers, rounds, stock
from bench.load import CONNECTIONS, Measured, Request
from bench.systems import System

TARGET_P99_MS = 10
# Titles have no index: one search compares them, the other looks into them.
SCANS = ("title = '{}'", "title ~ '{}'")


def scan(system: System, expression: str) -> list[Request]:
    """A filter that only the last record meets, spelled differently each time.

    (PocketBase delays answers without any record, against those who guess at what they may not see.)
    """
    last = stock.title(system.shelf.rows - 1)
    wanted = expression.format(last)
    return [
        system.page(filter=wanted, items=1, holds=lambda items: items[0]["title"] == last, spelling=way)
        for way in range(peers.DIFFERENT)
    ]


def main() -> None:
    chosen = pair.options(__doc__).parse_args()
    lines = []
    with pair.running(chosen) as systems:
        for system in systems:
            reads = load.flow(peers.get_one(system), CONNECTIONS - 1)
            load.run(system.server.port, reads, seconds=rounds.WARM_UP)
            (alone,) = load.run(system.server.port, reads, seconds=rounds.SECONDS)
            lines.append(_line(f"{system.name}: point reads alone", alone))
            for expression in SCANS:
                slow = load.flow(scan(system, expression), 1)
                load.run(system.server.port, slow, seconds=rounds.WARM_UP)
                (undisturbed,) = load.run(system.server.port, slow, seconds=rounds.SECONDS)
                beside, scanning = load.run(system.server.port, reads, slow, seconds=rounds.SECONDS)
                lines += [
                    _line(f"  beside the scan {expression.format('…')}", beside, target=system is systems[-1]),
                    _line("    the scan beside the reads", scanning),
                    _line("    the scan alone", undisturbed),
                ]
    table = common.grid(["", "req/s", "p50 ms", "p99 ms", "target", ""], lines)
    common.report(
        f"{chosen.rows:,} records; {CONNECTIONS - 1} connections read, one scans; {rounds.SECONDS:g} s each.", table
    )


def _line(what: str, seen: Measured, *, target: bool = False) -> list[str]:
    p99 = seen.percentile_ms(99)
    verdict = [f"p99 ≤ {TARGET_P99_MS} ms", "yes" if p99 <= TARGET_P99_MS else "**no**"] if target else ["", ""]
    return [what, f"{seen.per_second:,.0f}", f"{seen.percentile_ms(50):.2f}", f"{p99:.2f}", *verdict]


if __name__ == "__main__":
    main()
