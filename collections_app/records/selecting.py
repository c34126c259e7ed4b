"""``fields=``: which parts of a record the caller wants."""

from __future__ import annotations

import re
from typing import Any

from collections_app.records import expand
from collections_app.records.codec import Record, visible_fields
from collections_app.records.query import Selection, Tree
from collections_app.rules import RuleEnv
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot
from core.errors import BadRequest

_TAGS = re.compile(r"<[^<>]*>")  # in time that grows with the text, whatever it is


def check(
    selection: Selection, collection: CollectionDef, tree: Tree, env: RuleEnv, snapshot: Snapshot, prefix: str = ""
) -> None:
    """BadRequest for a name that is not there, or not for this caller; ``tree`` is what is expanded."""
    known = {field.name for field in visible_fields(collection, admin=env.principal.is_admin)}
    for name in sorted(selection.names - known - {"expand"}):
        raise BadRequest(f"fields: there is no field {(prefix + name)[:80]!r}.")
    for name, below in sorted(selection.expand.items()):
        path = f"{prefix}expand.{name}"
        if name not in tree:
            raise BadRequest(f"fields: {path[:80]!r} is not expanded; name it in expand=.")
        other = expand.related(name, collection, env, snapshot)
        check(below, other, tree[name], env, snapshot, f"{path}.")


def columns(
    selection: Selection, collection: CollectionDef, needed: set[str], *, admin: bool
) -> tuple[Field, ...] | None:
    """The fields to read for this choice; None for all. ``needed`` are read in any case."""
    if selection.everything:
        return None
    wanted = selection.names | needed | {"id"}
    return tuple(field for field in visible_fields(collection, admin=admin) if field.name in wanted)


def apply(record: Record, selection: Selection) -> Record:
    """The chosen parts, in the record's own order."""
    chosen: Record = {}
    for name, value in record.items():
        if name == "expand":
            shown = _apply_expand(value, selection)
            if shown:
                chosen["expand"] = shown
        elif selection.everything or name in selection.names:
            excerpt = selection.excerpts.get(name)
            chosen[name] = _excerpt(value, *excerpt) if excerpt and isinstance(value, str) else value
    return chosen


def _apply_expand(expanded: dict[str, Any], selection: Selection) -> dict[str, Any]:
    if not selection.expand:
        return expanded if selection.everything or "expand" in selection.names else {}
    shown: dict[str, Any] = {}
    for name, below in selection.expand.items():
        if name in expanded:
            value = expanded[name]
            shown[name] = [apply(item, below) for item in value] if isinstance(value, list) else apply(value, below)
    return shown


def _excerpt(text: str, length: int, dots: bool) -> str:
    plain = " ".join(_TAGS.sub(" ", text).split())
    return plain if len(plain) <= length else plain[:length].rstrip() + ("…" if dots else "")
