"""Reads and writes at once, on PocketBase and FastCMS: 80 % reads (get, list, filter), 20 % writes (create, update).

python -m bench.mixed [--rows …] [--keep FOLDER] [--database postgres://…]

Every write makes each total that was counted before a thing of the past.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench import common, pair, peers, rounds
from bench.load import Request
from bench.rounds import Case, Wishes
from bench.systems import System

# Of ten requests.
SHARES = {"get": 4, "list": 2, "filter": 2, "create": 1, "update": 1}


def mix(newest: Wishes, dear: Wishes) -> Wishes:
    def wishes(system: System) -> Sequence[Request]:
        kinds: dict[str, Sequence[Request]] = {
            "get": peers.get_one(system),
            "list": newest(system),
            "filter": dear(system),
            "create": peers.create(system),
            "update": peers.update(system),
        }
        chance = random.Random(9)
        drawn = chance.choices(list(SHARES), list(SHARES.values()), k=peers.DIFFERENT)
        return [chance.choice(kinds[kind]) for kind in drawn]

    return wishes


CASES = (
    Case("lists with exact totals", None, mix(peers.newest_with_total, peers.dear_with_total)),
    Case("lists without totals", None, mix(peers.newest, peers.dear)),
)


def main() -> None:
    chosen = pair.options(__doc__).parse_args()
    with pair.running(chosen) as systems:
        for system in systems:
            system.growing = True
        shown = rounds.table(systems, CASES, postgresql=bool(chosen.database))
    shares = ", ".join(f"{share * 10} % {kind}" for kind, share in SHARES.items())
    common.report(f"{shares}; {chosen.rows:,} records. {rounds.HOW}", shown)


if __name__ == "__main__":
    main()
