"""What can be set while the server runs. An app declares its settings where it is set up."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.errors import ValidationFailed

MAX_CHARACTERS = 1000


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TYPES: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "json": lambda value: True,
}


def type_of(value: Any) -> str:
    """The narrowest type that a JSON value has."""
    return next(name for name, fits in TYPES.items() if fits(value))


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its type of ``TYPES``, default, category, what it is for, and the values it may have:
    those of ``choices``, numbers from ``least`` to ``most``, one line of ``longest`` characters.

    ``default`` may be a function without arguments: it is asked each time, as for what the
    environment says. ``check`` answers what is wrong with a value in a sentence, else an empty
    text. A ``secret`` is a string that is encrypted at rest and shown to nobody; what is
    ``public`` anybody may read under ``/api/cms/public/``. What could be turned into somebody
    else's rights is for superadmins to change (``guarded``). A change ends what was set for ``forgets``.
    """

    key: str
    type: str
    default: Any
    category: str
    description: str
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    longest: int = MAX_CHARACTERS
    secret: bool = False
    public: bool = False
    guarded: bool = False
    forgets: tuple[str, ...] = ()
    check: Callable[[Any], str] | None = None

    @property
    def standard(self) -> Any:
        """The default as it is now."""
        return self.default() if callable(self.default) else self.default

    def accept(self, value: Any) -> Any:
        """The value; ValidationFailed for one that the setting can't have."""
        problem = self._problem(value)
        if problem:
            raise ValidationFailed(fields={"value": [problem]})
        return value

    def takes(self, value: Any) -> bool:
        """Whether the setting can have this value."""
        return not self._problem(value)

    def _problem(self, value: Any) -> str:
        if not TYPES[self.type](value):
            return f"Expected a value of type {self.type}."
        if self.choices and value not in self.choices:
            return f"Must be one of {', '.join(map(str, self.choices))}."
        if self.least is not None and value < self.least:
            return f"Must be at least {self.least:,}."
        if self.most is not None and value > self.most:
            return f"Must be at most {self.most:,}."
        if self.type == "string" and len(value) > self.longest:
            return f"Must have at most {self.longest:,} characters."
        if self.type == "string" and any(unicodedata.category(character) in _NOT_IN_A_LINE for character in value):
            return "Must be one line without control characters."  # it may become a header
        return self.check(value) if self.check else ""


_NOT_IN_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})

known: dict[str, Setting] = {}


def declare(*settings: Setting) -> None:
    known.update({setting.key: setting for setting in settings})
