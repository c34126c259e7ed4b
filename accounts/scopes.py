"""What an API key narrows its owner's rights to, and what of the API is open to keys.

``collections_app.records.access`` asks :meth:`Scope.covers` about every record;
all else asks :func:`check`, once, where a caller becomes known (accounts/callers.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from core.errors import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ONLY_PEOPLE = "This needs somebody who is signed in; an API key can't do it."
ONLY_READS = "This API key may only read."
ONLY_RECORDS = "This API key is limited to the records of some collections."


class Keys(Enum):
    """What a view lets API keys do; a view says so as ``api_keys``."""

    NONE = "none"  # for people only: sign-ins, passwords, keys themselves, who may do what
    WHOLE = "whole"  # for keys that are not limited to some collections; the default
    SCOPED = "scoped"  # for all: each record is asked about


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key may do at most. ``collections`` are ids; None is all of them.

    ``rate_limit`` is its own number of requests a minute; None where it has that of all clients.
    """

    key_id: str
    read_only: bool = False
    collections: frozenset[str] | None = None
    rate_limit: int | None = None

    def covers(self, collection_id: str, *, writing: bool = False) -> bool:
        if writing and self.read_only:
            return False
        return self.collections is None or collection_id in self.collections


def check(scope: Scope, method: str, keys: Keys) -> None:
    """Forbidden where a key of this scope has nothing to do."""
    if keys is Keys.NONE:
        raise Forbidden(ONLY_PEOPLE)
    if scope.read_only and method not in SAFE_METHODS:
        raise Forbidden(ONLY_READS)
    if scope.collections is not None and keys is not Keys.SCOPED:
        raise Forbidden(ONLY_RECORDS)
