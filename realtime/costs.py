"""What the queries of connections have cost the database lately: who has cost less goes first."""

from __future__ import annotations

import math
from time import monotonic

FADING_SECONDS = 60.0  # in which what was spent counts for a third
MOST_SECONDS = 10.0  # that one connection may have spent


class Cost:
    """Of one connection, in seconds of the database's time."""

    __slots__ = ("_at", "_seconds")

    def __init__(self) -> None:
        self._seconds, self._at = 0.0, monotonic()

    @property
    def seconds(self) -> float:
        return self._seconds * math.exp((self._at - monotonic()) / FADING_SECONDS) if self._seconds else 0.0

    @property
    def is_too_much(self) -> bool:
        return self.seconds > MOST_SECONDS

    def add(self, seconds: float) -> None:
        self._seconds, self._at = self.seconds + seconds, monotonic()
