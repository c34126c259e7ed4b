"""Who is shown to whom, and what is told of them."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from accounts.principals import ANONYMOUS, Principal
from accounts.scopes import Scope
from core.errors import ValidationFailed
from realtime import attendance as book
from realtime import presence
from realtime.attendance import Attendance
from realtime.callers import NOBODY, Caller
from realtime.presence import Presence

ALICE = Principal(id="8a1f", collection="users", email="alice@example.com", fields={"name": "", "username": "alice"})
CUSTOMER = Principal(id="8a1f", collection="customers", collection_id="c1", fields={"name": "Carol"})
VIEWER = Principal(id="77aa", collection="users")


class Connection:
    def __init__(self, principal: Principal = ANONYMOUS) -> None:
        self.caller = Caller("token", principal, None) if principal.is_authenticated else NOBODY


class Listening:
    """What would go to the other processes."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, bool, int]] = []
        self.to: list[str] = []

    def listen(self, subject: str, listener: Any) -> None: ...

    def tell(self, subject: str, **message: Any) -> None:
        data = message["data"]
        self.to.append(message["to"])
        self.told.append((message["event"], data["user_id"], data["verified"], data["connections"]))


def playing(scenario):
    """Run it with (presence, what is told, a function that waits until all is written)."""

    async def run():
        here, others = Attendance(), Listening()
        one = Presence(here, others)  # type: ignore[arg-type]

        async def settled():
            while here._writing is not None:
                await here._writing
            await asyncio.sleep(0)

        result = scenario(one, others.told, here.local, settled)
        return await result

    return asyncio.run(run())


def ids(reader, viewer):
    return [row["user_id"] for row in presence.online(reader, viewer, slice(0, 10))[0]]


def test_the_first_connection_is_told_of_and_the_last_one_gone():
    async def scenario(here, told, reader, settled):
        tabs = [Connection(), Connection()]
        for tab in tabs:
            here.join(tab, "user-123")
        await settled()
        shown = presence.of(reader, ANONYMOUS, "user-123")
        for tab in [*tabs, tabs[0]]:
            here.leave(tab)
        await settled()
        return told, shown, presence.of(reader, ANONYMOUS, "user-123")

    told, shown, after = playing(scenario)
    assert told == [("user.joined", "user-123", False, 1), ("user.left", "user-123", False, 0)]
    assert {**shown, "last_seen": None} == {
        "user_id": "user-123", "user_name": "user-123", "connections": 2, "last_seen": None, "verified": False
    }  # fmt: skip
    assert shown["last_seen"].endswith("Z") and after is None


def test_without_user_id_nobody_is_present_not_even_with_a_token():
    async def scenario(here, told, reader, settled):
        here.join(Connection(ALICE), "")
        await settled()
        return told, ids(reader, VIEWER)

    assert playing(scenario) == ([], [])


def test_a_token_says_who_it_is_whatever_user_id_does():
    async def scenario(here, told, reader, settled):
        here.join(Connection(ALICE), "somebody-else")
        await settled()
        return told, presence.of(reader, VIEWER, ALICE.id), presence.of(reader, VIEWER, "somebody-else")

    told, shown, other = playing(scenario)
    assert told == [("user.joined", ALICE.id, True, 1)] and other is None
    assert (shown["user_name"], shown["verified"], shown["connections"]) == ("alice", True, 1)


def test_an_account_of_an_auth_collection_is_not_taken_for_one_of_users_with_the_same_id():
    async def scenario(here, told, reader, settled):
        here.join(Connection(CUSTOMER), "x")
        await settled()
        return presence.of(reader, VIEWER, ALICE.id), presence.of(reader, VIEWER, f"customers:{ALICE.id}")

    as_alice, shown = playing(scenario)
    assert as_alice is None and shown["user_name"] == "Carol"


def test_verified_users_are_shown_to_those_alone_who_are_signed_in():
    limited = Principal(id="k", collection="users", scope=Scope("key", collections=frozenset({"c1"})))

    async def scenario(here, told, reader, settled):
        here.join(Connection(ALICE), "x")
        here.join(Connection(), "guest-1")
        await settled()
        return {
            viewer.id: (ids(reader, viewer), presence.of(reader, viewer, ALICE.id) is not None)
            for viewer in (ANONYMOUS, VIEWER, limited)
        }

    seen = playing(scenario)
    assert seen == {
        "": (["guest-1"], False),
        VIEWER.id: ([ALICE.id, "guest-1"], True),
        "k": (["guest-1"], False),
    }


def test_who_is_not_verified_is_not_shown_beside_who_is_to_those_who_see_both():
    async def scenario(here, told, reader, settled):
        impostor, alice, late = Connection(), Connection(ALICE), Connection()
        here.join(impostor, ALICE.id)
        here.join(alice, "x")
        here.join(late, ALICE.id)
        await settled()
        during = presence.of(reader, VIEWER, ALICE.id)
        here.leave(late)
        here.leave(alice)
        await settled()
        return told, here._relay.to, during, presence.of(reader, VIEWER, ALICE.id)

    told, to, during, after = playing(scenario)
    assert during["verified"] and during["connections"] == 1 and after["verified"] is False
    assert list(zip(told, to, strict=True)) == [
        (("user.joined", ALICE.id, False, 1), presence.ALL),
        (("user.left", ALICE.id, False, 0), presence.SIGNED_IN),
        (("user.joined", ALICE.id, True, 1), presence.SIGNED_IN),
        (("user.left", ALICE.id, True, 0), presence.SIGNED_IN),
        (("user.joined", ALICE.id, False, 1), presence.SIGNED_IN),
    ]


def test_nobody_can_tell_by_a_name_of_their_own_that_somebody_verified_has_come():
    async def scenario(here, told, reader, settled):
        alice, watcher = Connection(ALICE), Connection()
        here.join(watcher, ALICE.id)
        await settled()
        seen = [(ids(reader, ANONYMOUS), presence.of(reader, ANONYMOUS, ALICE.id)["verified"])]
        here.join(alice, "x")
        await settled()
        seen.append((ids(reader, ANONYMOUS), presence.of(reader, ANONYMOUS, ALICE.id)["verified"]))
        here.leave(watcher)
        here.join(watcher, ALICE.id)
        here.leave(alice)
        await settled()
        seen.append((ids(reader, ANONYMOUS), presence.of(reader, ANONYMOUS, ALICE.id)["verified"]))
        return seen, told, here._relay.to

    seen, told, to = playing(scenario)
    assert seen == [([ALICE.id], False)] * 3
    to_strangers = [what for what, whom in zip(told, to, strict=True) if whom != presence.SIGNED_IN]
    assert [what[0] for what in to_strangers] == ["user.joined", "user.left", "user.joined"]


def test_the_list_comes_in_parts_and_counts_all():
    async def scenario(here, told, reader, settled):
        for number in range(5):
            here.join(Connection(), f"guest-{number}")
        await settled()
        return presence.online(reader, ANONYMOUS, slice(2, 4))

    rows, count = playing(scenario)
    assert [row["user_id"] for row in rows] == ["guest-2", "guest-3"] and count == 5


@pytest.mark.parametrize("user_id", ["x" * 129, "a\nb", "\u202e", " ", "\ud800"])
def test_an_id_is_printable_and_no_longer_than_128_characters(user_id):
    with pytest.raises(ValidationFailed) as refused:
        presence.checked(user_id)
    assert list(refused.value.fields) == ["user_id"]
    assert presence.checked("ü" * 128) == "ü" * 128 and presence.checked("") == ""


@pytest.mark.django_db
def test_the_api_answers_as_documented(anonymous, member, as_user, monkeypatch, settings):
    name, here = f"guest-{uuid.uuid4().hex}", Attendance.__new__(Attendance)
    here.local = book.LocalBook()
    here.local.write([book.Change(book.Entry(book.GUEST, name, "c1", {}), is_coming=True)])
    here.local.write([book.Change(book.Entry(book.USER, "u-1", "c2", {"user_name": "Una"}), is_coming=True)])
    monkeypatch.setattr(book, "known", here)
    settings.REDIS_URL = ""
    listed = anonymous.get("/api/v1/presence")
    assert listed.status_code == 200 and listed["Cache-Control"] == "no-store"
    assert listed.json()["count"] == 1 and [row["user_id"] for row in listed.json()["users"]] == [name]
    assert as_user(member).get("/api/v1/presence/").json()["count"] == 2
    assert as_user(member).get("/api/v1/presence?per_page=1&page=2").json()["users"][0]["user_id"] == "u-1"
    assert anonymous.get("/api/v1/presence/u-1").json() == {"user_id": "u-1", "presence": None, "online": False}
    shown = as_user(member).get("/api/v1/presence/u-1").json()
    assert shown["online"] and shown["presence"].pop("last_seen").endswith("Z")
    assert shown["presence"] == {"user_id": "u-1", "user_name": "Una", "connections": 1, "verified": True}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status"),
    [("?who=all", 400), ("?per_page=1001", 422), ("?per_page=1&limit=1", 400), ("/" + "x" * 129, 422), ("/a%0Ab", 422)],
)
def test_the_api_refuses_what_it_does_not_know(anonymous, path, status):
    assert anonymous.get(f"/api/v1/presence{path}").status_code == status


@pytest.mark.django_db
def test_nothing_but_reading_is_offered(anonymous):
    assert anonymous.post("/api/v1/presence", {}).status_code == 405
