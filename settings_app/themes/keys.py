"""The settings that a theme can have: what each is, and what it may be.

Names that end a colour's key come twice: ``primary_color`` and ``dark_primary_color``, for people whose
screens are dark. A theme without any ``dark_`` colour looks the same on both. A key that is not declared is
the theme's own, for its front end: a short text, a number, true or false, or a value of a type below.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tinycss2

from settings_app.themes import colours, css

KEY = re.compile(r"[a-z][a-z0-9_-]{0,99}")
MAX_TEXT = 1000
MAX_KEYS = 100
DARK = "dark_"
CUSTOM_CSS = "custom_css"
_SIZE = re.compile(r"(?:0|\d{1,4}(?:\.\d{1,4})?(?:px|rem|em|%|ch|ex|pt|vw|vh))", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9#.,%/ +()-]{1,200}")  # no comment, escape or string: it goes into /theme.css as it is
_FAMILY = re.compile(r"""-?[A-Za-z_][A-Za-z0-9_ -]*|'[A-Za-z0-9 ._-]+'|"[A-Za-z0-9 ._-]+\"""")
_SHADOW_PARTS = frozenset({"dimension", "number", "whitespace", "literal"})
_COLOUR_FUNCTIONS = frozenset({"rgb", "rgba", "hsl", "hsla", "hwb"})


def _colour(value: str) -> str:
    if not _is_whole(value) or colours.parse(value) is None:
        return f"{value[:40]!r} is no colour: use a name, #rgb, #rrggbb, #rrggbbaa, rgb(), hsl() or hwb()"
    return ""


def _size(value: str) -> str:
    return "" if _SIZE.fullmatch(value) else f"{value[:40]!r} is no size: a number with a unit, such as 16px or 1rem"


def _font(value: str) -> str:
    families = [family.strip() for family in value.split(",")]
    if len(value) > 300 or not all(map(_FAMILY.fullmatch, families)):
        return f"{value[:40]!r} is no list of font families, such as 'Open Sans', Arial, sans-serif"
    return ""


def _shadow(value: str) -> str:
    parts = tinycss2.parse_component_value_list(value)
    fine = _is_whole(value) and all(_is_of_shadow(part) for part in parts)
    return "" if fine else f"{value[:40]!r} is no shadow, such as 0 4px 24px rgba(0,0,0,0.1), or none"


def _is_whole(value: str) -> bool:
    """Whether nothing is left open, which would swallow what stands behind it."""
    return bool(_PLAIN.fullmatch(value)) and value.count("(") == value.count(")")


def _is_of_shadow(part: Any) -> bool:
    if part.type == "function":
        return part.lower_name in _COLOUR_FUNCTIONS and colours.parse(part.serialize()) is not None
    if part.type == "ident":
        return part.lower_value in ("none", "inset") or colours.parse(part.value) is not None
    if part.type == "hash":
        return colours.parse(f"#{part.value}") is not None
    return part.type in _SHADOW_PARTS and (part.type != "literal" or part.value == ",")


def _css(value: str) -> list[str]:
    return css.problems(value)


def _text(value: str) -> str:
    if len(value) > MAX_TEXT:
        return f"a text has at most {MAX_TEXT:,} characters"
    if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\n\r" for char in value):
        return "a text has no control characters"
    return ""


# Of each type, what is wrong with a text: nothing, a sentence, or several.
_TEXTS: dict[str, Callable[[str], str | list[str]]] = {
    "color": _colour,
    "size": _size,
    "font": _font,
    "shadow": _shadow,
    "css": _css,
    "string": _text,
}
TYPES = (*_TEXTS, "number", "boolean")


@dataclass(frozen=True, slots=True)
class Key:
    """A declared key: its type, and the name that ``theme-config.json`` has for it."""

    name: str
    type: str
    config_name: str
    standard: str  # for theme-config.json, where the theme says nothing


COLOURS = (
    Key("primary_color", "color", "primary", "#3454d1"),
    Key("secondary_color", "color", "secondary", "#5f626d"),
    Key("background_color", "color", "background", "#f6f6f4"),
    Key("surface_color", "color", "surface", "#ffffff"),
    Key("text_color", "color", "text", "#1c1d21"),
    Key("border_color", "color", "border", "#d9d9d4"),
    Key("muted_color", "color", "muted", "#5f626d"),
    Key("error_color", "color", "error", "#b3261e"),
    Key("success_color", "color", "success", "#1f7a4d"),
)
DECLARED = (
    *COLOURS,
    Key("font_family", "font", "font-family", "system-ui, sans-serif"),
    Key("font_size", "size", "font-size", "1rem"),
    Key("radius", "size", "radius", "0.6rem"),
    Key("spacing", "size", "spacing", "0.5rem"),
    Key("shadow", "shadow", "shadow", "0 4px 24px rgba(0,0,0,0.10)"),
    Key(CUSTOM_CSS, "css", "custom_css", ""),
)
_TYPES = {key.name: key.type for key in DECLARED} | {DARK + key.name: key.type for key in COLOURS}


def type_of(key: str, value: Any, asked: str | None = None) -> str:
    """The type of a key: as declared, as asked for, or what its value is. A key's last words decide nothing."""
    if key in _TYPES:
        return _TYPES[key]
    if asked is not None:
        return asked
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, float)) else "string"


def problems(key: str, value: Any, asked: str | None = None) -> list[str]:
    """What is wrong with a value for a key, in sentences that name the key; nothing for a good one."""
    if not KEY.fullmatch(key):
        return [f"{key[:40]!r} is no key: 1 to 100 small letters, digits, dashes or underscores, a letter first."]
    kind = type_of(key, value, asked)
    if asked not in (None, kind):
        return [f"{key}: this setting is of type {kind}."]
    if kind == "boolean":
        return [] if isinstance(value, bool) else [f"{key}: expected true or false."]
    if kind == "number":
        fine = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**53
        return [] if fine else [f"{key}: expected a number."]
    if not isinstance(value, str):
        return [f"{key}: expected a text."]
    found = _TEXTS[kind](value)
    said = [found] if isinstance(found, str) else found
    return [f"{key}: {sentence.removesuffix('.')}." for sentence in said if sentence]


def read(value: Any, kind: str) -> Any:
    """A value of a type from its text, as some clients send all values; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    if kind == "boolean":
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    if kind == "number":
        try:
            found = float(value)
        except ValueError:
            return value
        return int(found) if found.is_integer() and abs(found) < 2**53 else found
    return value
