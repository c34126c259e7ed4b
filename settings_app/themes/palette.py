"""From the settings of a theme to the colours of our own pages, which can be read whatever the theme says.

A theme may leave out what it likes: what is missing follows from what is there. Where a colour can't be
read on what it stands on, our pages use one that can (as little as it takes towards black or white), and
whoever saves the theme is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from settings_app.themes import colours
from settings_app.themes.colours import BLACK, READABLE, WHITE, Colour, contrast, mix, over, readable, strongest, worst
from settings_app.themes.keys import COLOURS, DARK

_LIGHT = {
    "text": "#1c1d21", "soft": "#5f626d", "page": "#f6f6f4", "card": "#ffffff", "line": "#d9d9d4",
    "accent": "#3454d1", "bad": "#b3261e", "good": "#1f7a4d", "other": "#9a4a00",
}  # fmt: skip
_DARK = {
    "text": "#ececf0", "soft": "#a3a5b1", "page": "#131418", "card": "#1b1d23", "line": "#363a45",
    "accent": "#8ea2ff", "bad": "#ff9a92", "good": "#7fd6a8", "other": "#f0b67f",
}  # fmt: skip
_NAMES = {
    "text": "text_color", "soft": "muted_color", "page": "background_color", "card": "surface_color",
    "line": "border_color", "accent": "primary_color", "bad": "error_color", "good": "success_color",
}  # fmt: skip
_INSTEAD = "Pages of the server use a colour that can be read instead."
_INKS = ("text", "soft", "accent", "bad", "good", "other")  # what is read, on both grounds


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of our pages in one light, and what was to be said of the theme's own."""

    colours: Mapping[str, Colour]
    dark: bool
    warnings: tuple[str, ...]

    def variables(self) -> dict[str, str]:
        """CSS custom properties and their values, ``color-scheme`` among them."""
        found = {f"--{name}": str(colour) for name, colour in self.colours.items()}
        return {"color-scheme": "dark" if self.dark else "light", **found}


def has_dark(settings: Mapping[str, Any]) -> bool:
    """Whether it looks otherwise on dark screens: where the theme says so, or says nothing of colours at all."""
    return any(DARK + key.name in settings for key in COLOURS) or not any(key.name in settings for key in COLOURS)


def palettes(settings: Mapping[str, Any]) -> tuple[Palette, Palette | None]:
    """For light screens and for dark ones; None where the theme looks the same on both."""
    dark = None
    if has_dark(settings):
        given = {key.name: settings[DARK + key.name] for key in COLOURS if DARK + key.name in settings}
        dark = _palette(given, _DARK, DARK)
    return _palette(settings, _LIGHT, ""), dark


def warnings(settings: Mapping[str, Any]) -> list[str]:
    """A sentence for each pair of the theme's colours that is hard to read."""
    light, dark = palettes(settings)
    return [*light.warnings, *(dark.warnings if dark else ())]


def _palette(settings: Mapping[str, Any], standard: Mapping[str, str], prefix: str) -> Palette:
    given = {name: found for name, key in _NAMES.items() if (found := _parsed(settings.get(key))) is not None}
    page = over(given["page"], WHITE) if "page" in given else _known(standard["page"])
    is_dark = strongest([page]) == WHITE
    rest = {name: _known(text) for name, text in (_DARK if is_dark else _LIGHT).items()}
    if "card" in given:
        card = over(given["card"], page)
    else:
        card = mix(page, WHITE, 0.06) if "page" in given else rest["card"]
    stated = {name: over(colour, card) for name, colour in given.items()} | {"page": page, "card": card}
    said = _warnings(stated, given, prefix)
    if worst(strongest([page, card]), [page, card]) < READABLE:
        card = page  # nothing can be read on both
    grounds = [page, card]
    inks = {name: readable(stated.get(name, rest[name]), grounds) for name in _INKS}
    line = stated.get("line", rest["line"])
    if "page" in given:  # what goes with our own pages may not go with the theme's
        inks["soft"] = readable(stated.get("soft", mix(inks["text"], card, 0.3)), grounds)
        line = stated.get("line", mix(card, inks["text"], 0.25))
    drawn = {"on-accent": strongest([inks["accent"]]), "key": inks["text"], "string": inks["good"]}
    return Palette({"page": page, "card": card, "line": line, **inks, **drawn}, is_dark, said)


def _warnings(stated: Mapping[str, Colour], given: Mapping[str, Colour], prefix: str) -> tuple[str, ...]:
    """About colours of the theme's own, on the grounds that it has or that it leaves as they come."""
    grounds = {prefix + _NAMES[name]: stated[name] for name in ("page", "card")}
    said = []
    if worst(strongest([*grounds.values()]), [*grounds.values()]) < READABLE:
        said.append(f"No text can be read on both {' and '.join(grounds)}. {_INSTEAD}")
    for ink in _INKS:
        for name, ground in grounds.items() if ink in given else ():
            found = contrast(stated[ink], ground)
            if found < READABLE:
                told = f"{prefix}{_NAMES[ink]} on {name} has a contrast of {found:.1f}:1"
                said.append(f"{told}; text needs {READABLE}:1 to be read. {_INSTEAD}")
    return tuple(said)


def _parsed(value: Any) -> Colour | None:
    return colours.parse(value) if isinstance(value, str) else None


def _known(text: str) -> Colour:
    return colours.parse(text) or BLACK
