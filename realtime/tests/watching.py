"""The cast of viewers, and a look at the log with their eyes."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from accounts.principals import ANONYMOUS, Principal
from accounts.scopes import Scope
from collections_app import events
from collections_app.tests.fixtures import Records, person
from core.errors import DomainError
from realtime import sight
from realtime.callers import audience_of
from realtime.sight import Group

ADMIN = Principal(id="boss", collection="users", email="boss@example.com", role="admin", verified=True)


def cast(*collection_ids: str) -> dict[str, Principal]:
    """Everybody by name; the keys are for these collections, or for none that there is."""
    scope, elsewhere = Scope("k1", collections=frozenset(collection_ids)), Scope("k2", collections=frozenset({"other"}))
    return {
        "admin": ADMIN,
        "owner": person("owner", fields={"team": "red"}),
        "member": person("member", fields={"team": "blue"}),
        "stranger": person("stranger"),
        "anonymous": ANONYMOUS,
        "owner's key": person("owner", fields={"team": "red"}, scope=scope),
        "owner's key for another collection": person("owner", scope=elsewhere),
        "admin's key": Principal(id="boss", collection="users", role="admin", verified=True, scope=scope),
        "admin's key for another collection": Principal(id="boss", collection="users", role="admin", scope=elsewhere),
    }


class Told(NamedTuple):
    """A frame as its reader gets it; ``data`` is the JSON of its record."""

    type: str
    record_id: str | None
    data: bytes


class Watch:
    """Several viewers of the log, from now on."""

    def __init__(self, viewers: dict[str, Principal], collection_id: str | None = None, query: str = "") -> None:
        self.groups = {
            name: Group(collection_id, query, audience_of(principal), principal) for name, principal in viewers.items()
        }
        self.position = events.settled_id()
        self.seen = sight.Seen(self.position)

    def look(self) -> dict[str, list[Told]]:
        """What each has been told since, by name; those who were told nothing are not in it."""
        found: dict[str, list[Told]] = {}
        names = {group: name for name, group in self.groups.items()}
        while True:
            self.seen = sight.look(self.position, list(self.groups.values()))
            for group, frame in self.seen.frames:
                body = orjson.loads(frame.body)
                assert body["type"] == frame.type
                found.setdefault(names[group], []).append(
                    Told(frame.type, body["record_id"], orjson.dumps(body["data"]))
                )
            if self.seen.position == self.position:
                return found
            self.position = self.seen.position

    def kinds(self) -> dict[str, list[str]]:
        """The types alone."""
        return {name: [one.type for one in told] for name, told in self.look().items()}


def listed(name: str, viewers: dict[str, Principal], query: str = "") -> dict[str, dict[str, bytes]]:
    """What a list shows each of them: the records' JSON by id, nothing where they may not list."""
    found = {}
    for who, principal in viewers.items():
        try:
            items: list[dict[str, Any]] = Records(name, principal).items(query)
        except DomainError:
            items = []
        found[who] = {item["id"]: orjson.dumps(item) for item in items}
    return found
