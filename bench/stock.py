"""The rows that every system under comparison holds: the same fields and values, made from a number.

Nothing here knows a system, so what an answer must be is computed without asking one.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from functools import cached_property
from typing import Any

CATEGORIES = ["books", "chairs", "desks", "lamps", "shelves"]
FIELDS = ("title", "body", "price", "stock", "active", "category", "released", "cost", "owner")
# Rule "signed in"; the same with a full-text index on two texts; rule "the owner".
PRODUCTS, ARTICLES, NOTES = "products", "articles", "notes"
INDEXES = (("active", "price"), ("owner", "created", "id"), ("created", "id"))
SIGNED_IN = "@request.auth.id != ''"
OWN = "owner = @request.auth.id"
OF_ONE_OWNER = 100
WITH_ONE_WORD = 20
_WORDS_OF_A_BODY = 20
# Enough of them that a rare word has rare trigrams in it, as in a language that people speak.
_ENDINGS = ("", "n", "r", "s", "l", "t", "m", "nd", "st", "ck", "p")
_SYLLABLES = [start + vowel + end for start in "bcdfghjklmnpqrstvwyz" for vowel in "aeiou" for end in _ENDINGS]


class Stock:
    """``rows`` records; every hundredth of them, more or less, belongs to ``member``."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.owners = max(1, rows // OF_ONE_OWNER)
        self.words = max(1, rows // WITH_ONE_WORD)

    def records(self, member: str) -> Iterator[dict[str, Any]]:
        """All rows by number; ``member`` is the id of the owner number 0."""
        return (self.record(number, member) for number in range(self.rows))

    def record(self, number: int, member: str) -> dict[str, Any]:
        chance = _scatter(number)
        owner = number % self.owners
        body = [_ORDINARY[chance * odd >> 9 & 2047] for odd in range(1, 2 * _WORDS_OF_A_BODY, 2)]
        body[chance % _WORDS_OF_A_BODY] = self.rare_word(number)
        return {
            "title": title(number),
            "body": " ".join(body),
            "price": _price(chance),
            "stock": chance % 1000,
            "active": _active(chance),
            "category": CATEGORIES[chance % len(CATEGORIES)],
            "released": f"20{chance % 16 + 10}-{chance % 12 + 1:02}-{chance % 28 + 1:02}",
            "cost": f"{chance % 10_000 / 100:.2f}",
            "owner": member if owner == 0 else f"owner{owner:010}",
        }

    def rare_word(self, number: int) -> str:
        """A word of that record which ``of_word`` of all have in their body, and none inside another word."""
        return _word((number % self.words + 1) * 700_000_001 % len(_SYLLABLES) ** 3, 3) + "x"

    def of_word(self, number: int) -> int:
        return len(range(number % self.words, self.rows, self.words))

    @property
    def of_member(self) -> int:
        """How many records are the member's."""
        return len(range(0, self.rows, self.owners))

    @cached_property
    def _active_prices(self) -> list[float]:
        return sorted(_price(chance) for chance in map(_scatter, range(self.rows)) if _active(chance))

    def active_from(self, price: float) -> int:
        """How many active records cost that much or more."""
        return len(self._active_prices) - bisect.bisect_left(self._active_prices, price)

    @property
    def dearest(self) -> float:
        """The price of the dearest active record; 0 if there is none."""
        return max(self._active_prices, default=0.0)


def title(number: int) -> str:
    return f"Product {number}"


def _scatter(number: int) -> int:
    """A number of 32 bits that looks random."""
    number = (number ^ (number >> 16)) * 0x45D9F3B & 0xFFFFFFFF
    number = (number ^ (number >> 16)) * 0x45D9F3B & 0xFFFFFFFF
    return number ^ (number >> 16)


def _price(chance: int) -> float:
    return (chance % 19_901 + 100) / 100


def _active(chance: int) -> bool:
    return bool(chance >> 20 & 1)


def _word(number: int, syllables: int) -> str:
    """One word for one number below 1,100 to the power of ``syllables``."""
    parts = []
    for _ in range(syllables):
        number, part = divmod(number, len(_SYLLABLES))
        parts.append(_SYLLABLES[part])
    return "".join(parts)


_ORDINARY = [_word(number * 7919, 2) for number in range(2048)]
