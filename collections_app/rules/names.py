"""What a name in a rule means, and whether this caller may name it.

A rule is trusted: it may name everything but secrets. A caller's filter may
name what the caller may read, at every hop; anything else is, word for word,
a name that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dc_field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from accounts.principals import Principal
from collections_app.rules import values
from collections_app.rules.syntax import RuleError, Text, Word, is_number
from core import clock

if TYPE_CHECKING:
    from collections_app.schema.definition import CollectionDef, Field
    from collections_app.schema.snapshot import Snapshot

MODIFIERS = ("isset", "changed", "length", "lower", "each")
_AUTH = re.compile(r"[a-z][a-z0-9_]{0,62}")
MAX_HOPS = 6


class Mention(NamedTuple):
    """Where the source names a field or collection, by its id."""

    start: int
    end: int
    kind: str
    id: str


class Const(NamedTuple):
    """A literal. ``written`` is how it stands in the source; ``kind`` that of the field
    beside it, once the value has been read as one of it."""

    value: Any
    written: str
    position: int
    kind: str = ""


class Moment(NamedTuple):
    """A macro such as ``@now``."""

    name: str
    kind: str
    position: int


class Dynamic(NamedTuple):
    """A value of the request: ``auth``, ``body``, ``query`` or ``method``, or a fact about it."""

    source: str
    name: str
    modifier: str
    position: int

    @property
    def kind(self) -> str:
        return "bool" if self.modifier in ("isset", "changed") else "number" if self.modifier == "length" else ""


class Guard(Protocol):
    """A compiled rule that rows on the way of a path have to pass."""

    node: Any
    dynamics: Sequence[tuple[Dynamic | Moment, bool]]
    timeless: bool

    def check(self, record: Mapping[str, Any], env: Any, related: Any = None) -> bool: ...
    def refuses(self, principal: Principal) -> bool: ...


class Hop(NamedTuple):
    """One step to other rows: along a relation, back along one, or to any row of a collection.

    ``guard`` is the list rule that the rows must pass where a caller goes there.
    """

    kind: str  # "one", "many", "back", "back_many", "any"
    field: Field | None
    collection: CollectionDef
    guard: Guard | None


class Path(NamedTuple):
    """A field of the record, or of rows that hops lead to.

    ``json`` are keys inside a structured value. ``row`` names the row that
    comparisons share where the path starts at ``@collection``.
    """

    hops: tuple[Hop, ...]
    collection: CollectionDef
    field: Field
    json: tuple[str, ...]
    modifier: str
    kind: str
    multiple: bool
    position: int
    text: str
    row: str = ""


Operand = Const | Moment | Dynamic | Path


@dataclass(slots=True)
class Scope:
    """Where names are looked up. ``principal`` is None for rules, which are trusted."""

    source: str
    collection: CollectionDef
    snapshot: Snapshot
    principal: Principal | None
    list_rule: Any
    mentions: list[Mention] = dc_field(default_factory=list)

    def unknown(self, text: str, position: int) -> RuleError:
        return RuleError(f"There is no field {text[:80]!r}", self.source, position)

    def readable(self, field: Field) -> bool:
        if field.secret:
            return False
        return self.principal is None or self.principal.is_admin or not field.hidden

    def guard(self, collection: CollectionDef, missing: RuleError) -> Guard | None:
        """The rule that rows of another collection must pass for this caller; ``missing`` if they may list none."""
        if self.principal is not None and not self.principal.reaches(collection.id):
            raise missing
        if self.principal is None or self.principal.is_admin:
            return None
        rule: Guard | None = self.list_rule(collection, self.snapshot)
        if rule is not None and rule.refuses(self.principal):
            raise missing
        return rule


def resolve(operand: Word | Text, scope: Scope, *, bare: bool) -> Operand:
    """The meaning of an operand; ``bare`` lets an unknown word be a text."""
    if isinstance(operand, Text):
        return Const(operand.value, operand.value, operand.position)
    text, position = operand.text, operand.position
    if text in ("true", "false"):
        return Const(text == "true", text, position)
    if text == "null":
        return Const(None, "", position)
    if is_number(text):
        try:
            return Const(values.coerce("number", text), text, position)
        except values.Unfit as error:
            raise RuleError("This number is too large", scope.source, position) from error
    if text.startswith("@"):
        return _special(text, position, scope)
    if bare and not _is_name(text, scope):
        return Const(text, text, position)
    return _path(text, position, text, position, scope)


def _is_name(text: str, scope: Scope) -> bool:
    """Whether a bare word could be meant as a field: then it has to be one."""
    head = text.partition(".")[0].partition(":")[0]
    field = scope.collection.by_name.get(head)
    return field is not None and scope.readable(field) and re.fullmatch(r"[a-z0-9_.:]+", text) is not None


def _special(text: str, position: int, scope: Scope) -> Operand:
    for prefix in ("@record.", "@collection.", "@request."):
        if text.startswith(prefix):
            rest = text[len(prefix) :]
            if prefix == "@record.":
                return _path(rest, position + len(prefix), text, position, scope)
            if prefix == "@collection.":
                return _any_row(rest, position + len(prefix), text, position, scope)
            return _request(rest, text, position, scope)
    known = values.macro(text, clock.now())
    if known is None:
        raise RuleError(f"There is no {text[:80]!r}", scope.source, position)
    return Moment(text, known[0], position)


def _request(rest: str, text: str, position: int, scope: Scope) -> Dynamic:
    name, _, modifier = rest.partition(":")
    source, _, key = name.partition(".")
    source = "body" if source == "data" else source
    fits = (
        (source == "method" and not key and not modifier)
        or (source == "auth" and _AUTH.fullmatch(key) and modifier in ("", "lower", "length"))
        or (source == "body" and key and modifier in ("", *MODIFIERS))
        or (source == "query" and key and modifier in ("", "isset", "length", "lower"))
    )
    if not fits:
        raise RuleError(f"There is no {text[:80]!r}", scope.source, position)
    if source == "body":
        _mention_sent(key, position + len("@request.body."), scope)
    return Dynamic(source, key, "" if modifier == "each" else modifier, position)


def _mention_sent(name: str, position: int, scope: Scope) -> None:
    """A key of the body that is a field's name is renamed with it. Other keys may be sent, and refused, too."""
    field = scope.collection.by_name.get(name)
    if field is not None and not field.system:
        scope.mentions.append(Mention(position, position + len(name), "field", field.id))


def _any_row(rest: str, start: int, text: str, position: int, scope: Scope) -> Path:
    head, dot, tail = rest.partition(".")
    name = head.partition(":")[0]
    target = scope.snapshot.by_name.get(name)
    missing = RuleError(f"There is no collection {name[:80]!r}", scope.source, position)
    if target is None or not dot:
        raise missing
    if target.type == "view":
        raise RuleError(f"{name[:80]!r} is a view, which can't be asked here", scope.source, position)
    guard = scope.guard(target, missing)
    scope.mentions.append(Mention(start, start + len(name), "collection", target.id))
    first = Hop("any", None, target, guard)
    return _walk(tail, start + len(head) + 1, text, position, scope, [first], target, row=head)


def _path(rest: str, start: int, text: str, position: int, scope: Scope) -> Path:
    return _walk(rest, start, text, position, scope, [], scope.collection)


def _walk(
    rest: str,
    start: int,
    text: str,
    position: int,
    scope: Scope,
    hops: list[Hop],
    collection: CollectionDef,
    *,
    row: str = "",
) -> Path:
    name, _, modifier = rest.partition(":")
    parts = name.split(".")
    if modifier and modifier not in ("length", "lower", "each"):
        raise RuleError(f"There is no modifier {modifier[:30]!r} here", scope.source, position)
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        field = collection.by_name.get(part)
        if field is None and not last:
            back = scope.snapshot.back_relation(collection, part)
            if back is None or not scope.readable(back[1]):
                raise scope.unknown(text, position)
            other, via = back
            guard = scope.guard(other, scope.unknown(text, position))
            scope.mentions.append(Mention(start, start + len(other.name), "collection", other.id))
            scope.mentions.append(Mention(start + len(part) - len(via.name), start + len(part), "field", via.id))
            hops.append(Hop("back_many" if via.storage == "through" else "back", via, other, guard))
            collection = other
        elif field is None or not scope.readable(field):
            raise scope.unknown(text, position)
        else:
            if not field.system:
                scope.mentions.append(Mention(start, start + len(part), "field", field.id))
            if last or field.value in ("json", "geo"):
                return _end(field, tuple(parts[index + 1 :]), modifier, text, position, scope, hops, collection, row)
            if not field.target:
                raise scope.unknown(text, position)
            other = scope.snapshot.by_id[field.target]
            hops.append(
                Hop(
                    "many" if field.multiple else "one", field, other, scope.guard(other, scope.unknown(text, position))
                )
            )
            collection = other
        if len(hops) > MAX_HOPS:
            raise RuleError(f"More than {MAX_HOPS} relations in one path", scope.source, position)
        start += len(part) + 1
    raise scope.unknown(text, position)


def _end(
    field: Field, json: tuple[str, ...], modifier: str, text: str, position: int, scope: Scope, hops: list[Hop],
    collection: CollectionDef, row: str,
) -> Path:  # fmt: skip
    kind = "text" if field.multiple else field.value
    if kind == "geo" and json:
        if json not in (("lon",), ("lat",)):
            raise scope.unknown(text, position)
        kind = "number"
    elif kind in ("json", "geo"):
        kind = "json" if json else "whole"
    if json and any(not key or "\\" in key or '"' in key for key in json):
        raise scope.unknown(text, position)
    many = field.multiple
    if modifier == "length":
        if not (field.multiple or kind in ("text", "json") or (kind == "whole" and field.value == "json")):
            raise RuleError("Only texts, lists and JSON have a :length", scope.source, position)
        kind, many = "number", False
    elif modifier == "lower" and kind != "text":
        raise RuleError("Only texts have a :lower", scope.source, position)
    elif modifier == "each" and not many and all(hop.kind == "one" for hop in hops):
        raise RuleError("Only lists have an :each", scope.source, position)
    multiple = many or (bool(hops) and any(hop.kind != "one" for hop in hops))
    return Path(
        tuple(hops),
        collection,
        field,
        json,
        "" if modifier == "each" else modifier,
        kind,
        multiple,
        position,
        text,
        row,
    )
