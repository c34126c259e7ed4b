"""Colours as numbers: reading what CSS writes, and how well one can be read on another (WCAG 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tinycss2 import color4

READABLE = 4.5  # contrast that running text needs: WCAG 2.2, level AA
_SPACES = frozenset({"srgb", "hsl", "hwb"})  # those that have one meaning on every screen
_STEPS = 40


class Colour(NamedTuple):
    """Red, green, blue and opacity, each from 0 to 1."""

    red: float
    green: float
    blue: float
    alpha: float = 1.0

    def __str__(self) -> str:
        shown = self if self.alpha < 1 else self[:3]
        return "#" + "".join(f"{round(part * 255):02x}" for part in shown)


BLACK, WHITE = Colour(0, 0, 0), Colour(1, 1, 1)


def parse(text: str) -> Colour | None:
    """A colour as CSS writes it: by name, #hex, rgb(), hsl() or hwb(). None for anything else."""
    found = color4.parse_color(text)
    if found is None or isinstance(found, str) or found.space not in _SPACES:
        return None
    parts = [*found.to("srgb").coordinates, found.alpha]
    if not all(map(math.isfinite, parts)):
        return None
    return Colour(*(min(1.0, max(0.0, part)) for part in parts))


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """``one`` with that share of ``other`` in it, 0 to 1; opaque."""
    return Colour(*(a + (b - a) * share for a, b in zip(one[:3], other[:3], strict=True)))


def over(colour: Colour, ground: Colour) -> Colour:
    """What is seen where the colour lies on an opaque ground."""
    return mix(ground, colour, colour.alpha)


def luminance(colour: Colour) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    """From 1 (the same) to 21 (black on white)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def worst(colour: Colour, grounds: Sequence[Colour]) -> float:
    return min(contrast(colour, ground) for ground in grounds)


def strongest(grounds: Sequence[Colour]) -> Colour:
    """Black or white, whichever is easier to read on all of these. On a single ground one of them always can be."""
    return max((BLACK, WHITE), key=lambda pole: worst(pole, grounds))


def readable(colour: Colour, grounds: Sequence[Colour]) -> Colour:
    """The colour itself where it can be read on all the grounds, else as little of black or white in it as it takes."""
    pole = strongest(grounds)
    for step in range(_STEPS):
        found = mix(colour, pole, step / _STEPS)
        if worst(found, grounds) >= READABLE:
            return found
    return pole
