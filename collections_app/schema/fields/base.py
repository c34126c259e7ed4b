"""What a field type is: the one place that knows how a kind of value is checked, stored and shown.

A type is one object shared by all fields of that type; it holds no state. A new
type is a subclass with a name, registered in ``fields/__init__.py``
(CONTRIBUTING.md walks through it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dc_field
from typing import Any, ClassVar

from django.db import models
from rest_framework import serializers

REQUIRED = "This field is required."
Loader = Callable[[Any], Any]


class InvalidValue(Exception):
    """A value that a field can't take; ``messages`` are sentences for the client."""

    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)
        super().__init__("; ".join(messages))


class InvalidOptions(Exception):
    """Options of a field that make no sense; ``messages`` name the option."""

    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)
        super().__init__("; ".join(messages))


class FieldType:
    """A kind of field.

    ``value`` is what comparisons in rules see, ``option_key`` names the object
    beside ``validation`` that carries the type's own options, and
    ``validation_keys`` are the keys of ``validation`` that mean something here.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    group: ClassVar[str] = "Text"
    value: ClassVar[str] = "text"
    option_key: ClassVar[str | None] = None
    validation_keys: ClassVar[frozenset[str]] = frozenset()
    searchable: ClassVar[bool] = False
    secret: ClassVar[bool] = False
    read_only: ClassVar[bool] = False
    can_be_unique: ClassVar[bool] = True
    can_be_indexed: ClassVar[bool] = True
    sortable: ClassVar[bool] = True
    # Whether '' is a value of its own; to all others it is the same as no value.
    keeps_empty_text: ClassVar[bool] = False

    # -- definition -------------------------------------------------------
    def options(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The type's own options, checked and with defaults filled in."""
        unknown = sorted(set(raw))
        if unknown:
            raise InvalidOptions(f"Unknown option {unknown[0]!r}.")
        return {}

    def check_validation(self, validation: Mapping[str, Any]) -> None:
        """Contradictions between validation keys (min above max, a bad pattern)."""

    def multiple(self, options: Mapping[str, Any]) -> bool:
        return False

    def storage(self, options: Mapping[str, Any]) -> str:
        return "column"

    def target(self, options: Mapping[str, Any]) -> str:
        return ""

    # -- values -----------------------------------------------------------
    def empty(self, field: Field) -> Any:
        """What an absent value is."""
        return [] if field.multiple else None

    def is_empty(self, value: Any) -> bool:
        return value is None or value == "" or value == []

    def clean(self, field: Field, value: Any) -> Any:
        """A client's value (never empty) as the record's value; raises InvalidValue."""
        raise NotImplementedError

    # -- storage ----------------------------------------------------------
    def column(self, field: Field, vendor: str) -> models.Field[Any, Any]:
        """The model field of the column, always nullable: emptiness is ours to judge."""
        raise NotImplementedError

    def signature(self, field: Field) -> tuple[Any, ...]:
        """Fields with equal signatures store equal values equally: no conversion between them."""
        return (self.name, field.storage)

    def must_convert(self, old: Field, new: Field) -> bool:
        """Whether values of the old field, which may be of another type, have to be looked at for the new."""
        return old.kind.signature(old) != self.signature(new)

    def dump(self, vendor: str, value: Any) -> Any:
        """The record's value as a parameter for the database driver."""
        return value

    def loader(self, field: Field, vendor: str) -> Loader | None:
        """Turns the driver's value (never None) into the record's; None if it is that already."""
        return None

    # -- other faces ------------------------------------------------------
    def json_schema(self, field: Field) -> dict[str, Any]:
        """The value in OpenAPI 3.1."""
        return {"type": "string"}

    def serializer_field(self, field: Field, **kwargs: Any) -> serializers.Field[Any, Any, Any, Any]:
        """The input in the browsable API's form."""
        return serializers.CharField(**kwargs)


# What no client may send, whatever its type says.
_SERVER_OWNED = frozenset({"id", "collection", "created", "updated", "token_key"})


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field. ``value`` is what comparisons see, ``storage`` where it lives:

    ``column``, ``list`` (a JSON array of texts in the column), ``through`` (rows
    ``source_id, target_id, position`` of the table ``through``), or ``name``
    (the collection's own name, the same for all its records).
    """

    id: str
    name: str
    type: str
    kind: FieldType
    value: str
    multiple: bool
    storage: str
    through: str = ""
    target: str = ""
    hidden: bool = False
    secret: bool = False
    system: bool = False
    required: bool = False
    unique: bool = False
    default: Any = None
    options: Mapping[str, Any] = dc_field(default_factory=dict)
    validation: Mapping[str, Any] = dc_field(default_factory=dict)
    help: str = ""
    index_bytes: int = 0

    @property
    def column(self) -> str:
        return self.name

    @property
    def searchable(self) -> bool:
        """Whether ``search=`` looks into it."""
        return self.kind.searchable and not self.secret and (not self.system or self.type == "email")

    @property
    def writable(self) -> bool:
        """Whether clients may send it at all."""
        return not self.kind.read_only and self.id not in _SERVER_OWNED

    def as_json(self) -> dict[str, Any]:
        """The field as it stands in a collection's ``schema``."""
        entry: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "validation": {"required": self.required, "unique": self.unique, **self.validation},
            "hidden": self.hidden,
            "help": self.help,
        }
        if self.default is not None:
            entry["validation"]["default"] = self.default
        if self.kind.option_key:
            entry[self.kind.option_key] = {k: v for k, v in self.options.items() if v is not None}
        return entry
