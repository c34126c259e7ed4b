"""What can be set while the server runs. An app declares its settings where it is set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.errors import ValidationFailed


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
    those of ``choices``, or numbers from ``least`` to ``most``."""

    key: str
    type: str
    default: Any
    category: str
    description: str
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None

    def check(self, value: Any) -> Any:
        """The value; ValidationFailed for one that the setting can't have."""
        if not TYPES[self.type](value):
            raise ValidationFailed(fields={"value": [f"Expected a value of type {self.type}."]})
        if self.choices and value not in self.choices:
            raise ValidationFailed(fields={"value": [f"Must be one of {', '.join(map(str, self.choices))}."]})
        if self.least is not None and value < self.least:
            raise ValidationFailed(fields={"value": [f"Must be at least {self.least:,}."]})
        if self.most is not None and value > self.most:
            raise ValidationFailed(fields={"value": [f"Must be at most {self.most:,}."]})
        return value


known: dict[str, Setting] = {}


def declare(*settings: Setting) -> None:
    known.update({setting.key: setting for setting in settings})
