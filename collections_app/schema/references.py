"""Rules and names: what a rule mentions, when names change or things go.

A rule is text that people wrote. When a field or collection that it mentions is
renamed, the text is rewritten in place; when it is deleted or hidden, the change
is refused unless it brings a rule that does without.
"""

from __future__ import annotations

from collections.abc import Mapping

from collections_app import rules
from collections_app.schema.definition import RULES, CollectionDef
from collections_app.schema.reading import Problems
from collections_app.schema.snapshot import Snapshot
from core.errors import Conflict, DomainError


def check_rules(collection: CollectionDef, snapshot: Snapshot, keys: Mapping[str, object], problems: Problems) -> None:
    """Compile the rules that a client sent; what is wrong with each becomes a problem under its key."""
    for key in RULES:
        source = collection.rules[key]
        if key not in keys or source is None:
            continue
        try:
            rules.compile_rule(source, collection, snapshot)
        except DomainError as error:
            problems.add(key, error.message)


def carried_over(
    collection: CollectionDef,
    key: str,
    before: Snapshot,
    names: Mapping[str, str],
    gone: Mapping[str, str],
) -> str | None:
    """A rule that nobody sent, in the new names.

    ``names`` maps ids to new names, ``gone`` ids to what happened to them
    ("deleted", "hidden"). Raises Conflict when the rule needs one of those.
    """
    source = collection.rules[key]
    if source is None:
        return None
    mentions = rules.compile_rule(source, collection, before).mentions
    for mention in mentions:
        if mention.id in gone:
            text = source[mention.start : mention.end]
            raise Conflict(
                f"{key} of {collection.name!r} names {text!r}, which would be {gone[mention.id]}. "
                "Change the rule in the same request, or first."
            )
    return rules.rename(source, mentions, names)


def check_carried(collection: CollectionDef, snapshot: Snapshot, sent: Mapping[str, object]) -> None:
    """That the rules nobody sent still make sense after a change; Conflict for one that would not."""
    for key in RULES:
        source = collection.rules[key]
        if key in sent or source is None:
            continue
        try:
            rules.compile_rule(source, collection, snapshot)
        except DomainError as error:
            raise Conflict(
                f"{key} of {collection.name!r} would no longer make sense: {error.message}. "
                "Change the rule in the same request, or first."
            ) from error
