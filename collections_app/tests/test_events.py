"""One row of the log per change, in the change's own transaction; none for what was refused."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.principals import SYSTEM
from collections_app import events
from collections_app.models import Event
from collections_app.schema import permissions, registry, service, statistics
from collections_app.tests.web import BATCH, COLLECTIONS, Callers, path

pytestmark = pytest.mark.engine

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


def relation(collection: str, **options: Any) -> Any:
    return {"type": "relation", "relation": {"collection_id": collection, **options}}


@pytest.fixture
def client(make_collection: Any, callers: Callers) -> APIClient:
    make_collection(
        "teams", name={"type": "text", "validation": {"max_length": 9}}, secret={"type": "text", "hidden": True}, **OPEN
    )
    make_collection(
        "players", name="text", team=relation("teams", cascade_delete=True), old=relation("teams"),
        friends=relation("players", type="many-to-many"), **OPEN,
    )  # fmt: skip
    Event.objects.all().delete()
    return callers["stranger"]


def log() -> list[tuple[str, str, str]]:
    """(type, collection, record id), oldest first."""
    return list(Event.objects.order_by("id").values_list("type", "collection", "record_id"))


def test_a_change_is_logged_with_what_was_and_what_is(client: APIClient, callers: Callers) -> None:
    made = callers["admin"].post(path("teams"), {"name": "a", "secret": "s"}).json()
    changed = callers["member"].patch(path("teams", made["id"]), {"name": "b"}).json()
    callers["anonymous"].delete(path("teams", made["id"]))
    created, updated, deleted = Event.objects.order_by("id")
    assert created.id < updated.id < deleted.id
    assert [e.type for e in (created, updated, deleted)] == ["record.created", "record.updated", "record.deleted"]
    assert {(e.collection, e.record_id) for e in (created, updated, deleted)} == {("teams", made["id"])}
    assert len({e.collection_id for e in (created, updated, deleted)}) == 1
    assert created.data == made and created.previous is None
    assert updated.previous == made and updated.data == {**changed, "secret": "s"}
    assert deleted.data is None and deleted.previous == {**changed, "secret": "s"}
    assert [e.actor for e in (created, updated, deleted)] == [
        f"users:{callers.id('admin')}",
        f"users:{callers.id('member')}",
        "",
    ]
    assert created.timestamp.isoformat().replace("+00:00", "Z") == made["created"]
    assert updated.timestamp.isoformat().replace("+00:00", "Z") == changed["updated"]


def test_a_cascade_logs_every_record_that_it_takes_or_changes(client: APIClient) -> None:
    team = client.post(path("teams"), {"name": "a"}).json()["id"]
    gone = [client.post(path("players"), {"name": n, "team": team}).json()["id"] for n in "xy"]
    kept = client.post(path("players"), {"name": "z", "old": team, "friends": gone}).json()["id"]
    Event.objects.all().delete()
    assert client.delete(path("teams", team)).status_code == 204
    events = log()
    assert {e for e in events if e[0] == "record.deleted"} == {
        ("record.deleted", "teams", team), *(("record.deleted", "players", player) for player in gone),
    }  # fmt: skip
    assert {e for e in events if e[0] == "record.updated"} == {("record.updated", "players", kept)}
    last = Event.objects.filter(record_id=kept).latest("id")
    assert (last.data["friends"], last.data["old"]) == ([], None)
    assert len(events) == len(set(events)) + 2  # kept loses a friend, a friend, and its old team
    # Played back, the log ends where the records are.
    assert last.data["friends"] == client.get(path("players", kept)).json()["friends"]


def test_every_route_logs_what_it_does_and_only_that(client: APIClient) -> None:
    ids = [client.post(path("teams"), {"id": f"t{n}", "name": "n"}).json()["id"] for n in range(3)]
    client.post(path("teams", "bulk-update"), {"record_ids": [*ids, "none"], "data": {"name": "m"}})
    client.post(path("teams", "bulk-delete"), {"record_ids": [ids[0], "none", ids[0]]})
    requests = [
        {"method": "POST", "collection": "teams", "data": {"id": "new", "name": "x"}},
        {"method": "PATCH", "collection": "teams", "id": "new", "data": {"name": "y"}},
        {"method": "PUT", "collection": "teams", "id": "put", "data": {"name": "z"}},
        {"method": "PUT", "collection": "teams", "id": "put", "data": {"name": "zz"}},
        {"method": "DELETE", "collection": "teams", "id": "t1"},
    ]
    assert client.post(BATCH, {"requests": requests}).status_code == 200
    created, updated, deleted = (f"record.{kind}" for kind in ("created", "updated", "deleted"))
    assert [(kind, record_id) for kind, _, record_id in log()] == [
        (created, "t0"), (created, "t1"), (created, "t2"), (updated, "t0"), (updated, "t1"), (updated, "t2"),
        (deleted, "t0"),
        (created, "new"), (updated, "new"), (created, "put"), (updated, "put"), (deleted, "t1"),
    ]  # fmt: skip


def test_what_is_refused_or_rolled_back_is_not_logged(client: APIClient, callers: Callers) -> None:
    team = client.post(path("teams"), {"name": "a"}).json()["id"]
    Event.objects.all().delete()
    long = {"name": "x" * 10}
    client.post(path("teams"), long)
    client.patch(path("teams", team), long)
    client.patch(path("teams", team), {"name": "b"}, HTTP_IF_MATCH='"old"')
    client.post(path("players"), {"team": "nope"})
    client.post(path("teams"), {"id": team})
    client.delete(path("teams", "nope"))
    client.post(path("teams", "bulk-update"), {"record_ids": [team], "data": long})
    client.post(BATCH, {"requests": [
        {"method": "PATCH", "collection": "teams", "id": team, "data": {"name": "b"}},
        {"method": "DELETE", "collection": "teams", "id": team},
        {"method": "POST", "collection": "teams", "data": long},
    ]})  # fmt: skip
    callers["stranger"].post(COLLECTIONS, {"name": "x"})
    callers["admin"].post(COLLECTIONS, {"name": "X"})
    callers["admin"].patch(f"{COLLECTIONS}/teams", {"list_rule": "nothing = 1"})
    callers["admin"].delete(f"{COLLECTIONS}/teams")
    assert log() == []


def test_changes_of_collections_are_logged(client: APIClient, callers: Callers) -> None:
    admin = callers["admin"]
    made = admin.post(COLLECTIONS, {"name": "boxes", "schema": [{"name": "size", "type": "number"}]}).json()
    changed = admin.patch(f"{COLLECTIONS}/boxes", {"name": "crates"}).json()
    admin.delete(f"{COLLECTIONS}/crates")
    created, updated, deleted = Event.objects.order_by("id")
    assert [e.type for e in (created, updated, deleted)] == [
        "collection.created",
        "collection.updated",
        "collection.deleted",
    ]
    assert {e.collection_id for e in (created, updated, deleted)} == {made["id"]}
    assert created.data == made and updated.previous["name"] == "boxes" and updated.data == changed
    assert deleted.data is None and deleted.previous["name"] == "crates"
    assert {e.actor for e in (created, updated, deleted)} == {f"users:{callers.id('admin')}"}


def test_the_log_played_back_is_the_collection(client: APIClient) -> None:
    """Writers at the same time: each record's last event is what is stored."""
    headers = client._credentials
    ids = [client.post(path("teams"), {"name": "0"}).json()["id"] for _ in range(3)]

    def work(number: int) -> None:
        mine = APIClient()
        mine.credentials(**headers)
        try:
            for turn in range(6):
                mine.patch(path("teams", ids[turn % 3]), {"name": f"{number}-{turn}"})
                mine.post(path("teams"), {"name": f"{number}+{turn}"})
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state: dict[str, Any] = {}
    for event in Event.objects.order_by("id"):
        if event.type == "record.updated":
            assert state[event.record_id] == event.previous
        state[event.record_id] = event.data
    items = client.get(f"{path('teams')}?per_page=500").json()["items"]
    assert {item["id"]: item["name"] for item in items} == {key: value["name"] for key, value in state.items()}


def test_whoever_has_a_rule_rewritten_by_a_change_elsewhere_is_logged_as_changed(
    make_collection: Any, callers: Callers
) -> None:
    admin = callers["admin"]
    make_collection("clubs", name="text", **OPEN)
    make_collection("members", club=relation("clubs"), **OPEN | {"list_rule": "club.name = 'a'"})
    make_collection("guests", club=relation("clubs"), **OPEN | {"view_rule": "club.name != ''"})
    make_collection("others", name="text", **OPEN | {"view_rule": "name != ''"})
    before = {name: admin.get(f"{COLLECTIONS}/{name}").json() for name in ("clubs", "members", "guests")}
    Event.objects.all().delete()
    schema = [field | {"name": "label"} for field in before["clubs"]["schema"] if field["name"] == "name"]
    assert admin.patch(f"{COLLECTIONS}/clubs", {"schema": schema}).status_code == 200
    changes = list(Event.objects.order_by("id"))
    assert changes[0].collection == "clubs"
    assert [e.type for e in changes] == ["collection.updated"] * 3
    assert {e.collection: e.previous for e in changes} == before
    assert {e.collection: e.data for e in changes} == {
        name: admin.get(f"{COLLECTIONS}/{name}").json() for name in before
    }
    assert {e.collection: e.data["list_rule"] for e in changes}["members"] == "club.label = 'a'"
    snapshot = registry.latest()
    assert {e.collection_id: e.revision for e in changes} == {
        snapshot.get(name).id: snapshot.get(name).revision for name in before
    }
    assert {e.actor for e in changes} == {f"users:{callers.id('admin')}"}


def test_a_schema_change_that_is_rolled_back_logs_nothing(
    make_collection: Any, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("clubs", name="text", **OPEN)
    make_collection("members", club=relation("clubs"), **OPEN | {"list_rule": "club.name = 'a'"})
    Event.objects.all().delete()
    woken: list[Any] = []

    def listen(**_: Any) -> None:
        woken.append(None)

    events.appended.connect(listen)
    admin = callers["admin"]
    schema = admin.get(f"{COLLECTIONS}/clubs").json()["schema"]
    renamed = [field | ({"name": "label"} if field["name"] == "name" else {}) for field in schema]
    with monkeypatch.context() as patched:
        patched.setattr(statistics, "refresh_later", fail)  # after everything was written and logged
        patched.setattr(permissions, "remove", fail)
        with pytest.raises(OSError, match="in the middle"):
            service.collection_update(actor=SYSTEM, name_or_id="clubs", payload={"schema": renamed})
        with pytest.raises(OSError, match="in the middle"):
            service.collection_delete(actor=SYSTEM, name_or_id="members")
    assert log() == [] and woken == []
    assert admin.get(f"{COLLECTIONS}/clubs").json()["schema"] == schema
    assert admin.get(f"{COLLECTIONS}/members").json()["list_rule"] == "club.name = 'a'"
    service.collection_update(actor=SYSTEM, name_or_id="clubs", payload={"schema": renamed})
    assert [(kind, name) for kind, name, _ in log()] == [
        ("collection.updated", "clubs"), ("collection.updated", "members"),
    ]  # fmt: skip
    assert len(woken) == 1


def fail(*_: Any) -> None:
    raise OSError("in the middle")
