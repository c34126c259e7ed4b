"""Who waits for whom: schema changes, long writes and reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, close_old_connections, connection, transaction
from rest_framework.test import APIClient

from accounts.models import User
from accounts.principals import SYSTEM
from collections_app import dialects
from collections_app.records.unit_of_work import unit_of_work
from collections_app.schema import change, consistency, registry, service
from collections_app.schema.change import schema_change
from collections_app.tests.other_process import other_process
from collections_app.tests.threads import STRESS, at_once, faults, held_open
from core import database
from core.errors import Conflict, ServiceUnavailable

pytestmark = pytest.mark.engine


@pytest.fixture
def impatient(schema_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This thread's connection waits for locks a third of a second, not several."""
    monkeypatch.setattr(change, "_LOCK_TIMEOUT", "300ms")
    execute = dialects.current().execute
    execute("PRAGMA busy_timeout = 300" if connection.vendor == "sqlite" else "SET lock_timeout = '300ms'")
    yield
    connection.close()


@pytest.fixture
def client(schema_db: None, as_user: Callable[[User], APIClient], admin: User) -> APIClient:
    return as_user(admin)


@contextmanager
def a_long_write() -> Iterator[None]:
    with unit_of_work(registry.latest(), SYSTEM):
        yield


@contextmanager
def a_long_change() -> Iterator[None]:
    with schema_change():
        yield


def schema_of(name: str) -> Any:
    return service.as_json(registry.latest().get(name))


def test_a_change_behind_a_long_write_is_told_to_come_again(
    impatient: None, make_collection: Any, records: Any, client: APIClient
) -> None:
    make_collection("notes", title="text")
    before, version = schema_of("notes"), registry.read_version()
    added = [*before["schema"], {"name": "more", "type": "text"}]
    with held_open(a_long_write):
        started = time.monotonic()
        answers = [
            client.patch("/api/v1/collections/notes", {"schema": added}, format="json"),
            client.post("/api/v1/collections", {"name": "others", "schema": []}, format="json"),
            client.delete("/api/v1/collections/notes"),
        ]
        assert time.monotonic() - started < 20
        for answer in answers:
            assert answer.status_code == 503, answer.content
            assert int(answer["Retry-After"]) >= 1 and answer.json()["error_code"] == "SERVICE_UNAVAILABLE"
        assert client.get("/api/v1/collections/notes/records").status_code == 200
        assert (schema_of("notes"), registry.read_version()) == (before, version)
    assert consistency.differences() == []
    assert client.patch("/api/v1/collections/notes", {"schema": added}, format="json").status_code == 200


def test_a_change_behind_a_long_read_is_told_to_come_again_and_holds_up_no_reader_for_long(
    make_collection: Any, records: Any, client: APIClient
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("on SQLite a change does not wait for readers")
    made = make_collection("notes", title="text")
    before = schema_of("notes")
    waits: list[float] = []

    @contextmanager
    def a_dump() -> Iterator[None]:
        with transaction.atomic():
            dialects.current().execute(f"LOCK TABLE {made.table} IN ACCESS SHARE MODE")
            yield

    def read() -> None:
        for _ in range(20):
            started = time.monotonic()
            records("notes").page()
            waits.append(time.monotonic() - started)
            time.sleep(0.05)

    with held_open(a_dump):
        added = [*before["schema"], {"name": "more", "type": "text"}]
        change_it = lambda: client.patch("/api/v1/collections/notes", {"schema": added}, format="json")  # noqa: E731
        refused, read_on = at_once(change_it, read)
        assert refused.status_code == 503 and int(refused["Retry-After"]) >= 1
        assert read_on is None and max(waits) < 2.5
    assert schema_of("notes") == before
    assert change_it().status_code == 200
    assert consistency.differences() == []


@pytest.mark.parametrize("holder", [a_long_change, a_long_write])
def test_writes_behind_a_held_lock_are_told_to_come_again_while_reads_go_on(
    impatient: None,
    make_collection: Any,
    records: Any,
    client: APIClient,
    holder: Callable[[], AbstractContextManager[None]],
) -> None:
    if holder is a_long_write and connection.vendor == "postgresql":
        pytest.skip("on PostgreSQL writes do not wait for each other")
    make_collection("notes", title="text")
    note = records("notes").create(title="old")["id"]
    path = "/api/v1/collections/notes/records"
    with held_open(holder):
        answers = [
            client.post(path, {"title": "new"}, format="json"),
            client.patch(f"{path}/{note}", {"title": "new"}, format="json"),
            client.delete(f"{path}/{note}"),
            client.post(f"{path}/bulk-delete", {"record_ids": [note]}, format="json"),
            client.post(
                "/api/v1/batch",
                {"requests": [{"method": "DELETE", "collection": "notes", "id": note}]},
                format="json",
            ),
        ]
        for answer in answers:
            assert answer.status_code == 503, answer.content
            assert int(answer["Retry-After"]) >= 1
        for url in (path, f"{path}/{note}", "/api/v1/collections", "/api/v1/collections/notes"):
            started = time.monotonic()
            assert client.get(url).status_code == 200
            assert time.monotonic() - started < 2
    assert records("notes").values("title") == ["old"]
    assert client.post(path, {"title": "new"}, format="json").status_code == 201


def test_after_any_failure_the_connection_checks_foreign_keys(make_collection: Any, records: Any) -> None:
    make_collection("boxes", label="text")
    make_collection("notes", title="text", box={"type": "relation", "relation": {"collection_id": "boxes"}})

    def checked() -> bool:
        if connection.vendor != "sqlite":
            return True
        return bool(dialects.current().execute("PRAGMA foreign_keys").fetchone()[0])

    with pytest.raises(RuntimeError), schema_change():
        raise RuntimeError
    assert checked()
    with pytest.raises(Conflict):
        service.collection_delete(actor=SYSTEM, name_or_id="boxes")
    assert checked()
    with pytest.raises(DatabaseError), schema_change():
        dialects.current().execute("SELECT nonsense FROM nowhere")
    assert checked()
    assert not connection.in_atomic_block
    assert consistency.differences() == []


def replace_fields(name: str, *fields: str) -> None:
    service.collection_update(
        actor=SYSTEM,
        name_or_id=name,
        payload={"schema": [{"name": field, "type": "text"} for field in fields]},
    )


def test_two_who_change_one_collection_at_once_never_mix(make_collection: Any, records: Any, tmp_path: Path) -> None:
    with other_process(tmp_path) as another:
        for turn in range(6 * STRESS):
            name = f"notes_{turn}"
            make_collection(name, title="text")
            one, two = {"one", "one_b"}, {"two", "two_b"}
            there = [{"name": field, "type": "text"} for field in ("three", "three_b")]
            answers = at_once(
                lambda: replace_fields(name, *sorted(one)),  # noqa: B023
                lambda: replace_fields(name, *sorted(two)),  # noqa: B023
                lambda: another.run("update", name_or_id=name, payload={"schema": there}),  # noqa: B023
            )
            assert all(isinstance(fault, (ServiceUnavailable, Conflict)) for fault in faults(answers))
            fields = {field.name for field in registry.latest().get(name).own_fields}
            assert fields in (one, two, {"three", "three_b"})
            assert consistency.differences() == []
            records(name).create(**dict.fromkeys(fields, "x"))


def test_changes_that_do_not_touch_each_other_all_land(make_collection: Any) -> None:
    make_collection("notes", title="text")

    def make(number: int) -> None:
        service.collection_create(actor=SYSTEM, payload={"name": f"c{number}", "schema": []})

    def rename(number: int) -> None:
        service.collection_update(actor=SYSTEM, name_or_id=f"c{number}", payload={"name": f"d{number}"})

    assert not faults(at_once(*(lambda n=n: make(n) for n in range(6))))
    assert not faults(at_once(*(lambda n=n: rename(n) for n in range(6))))
    assert set(registry.latest().by_name) == {"records", "notes", *(f"d{n}" for n in range(6))}
    same = at_once(*[lambda: make(99)] * 4)
    assert len(faults(same)) == 3 and all(isinstance(fault, Conflict) for fault in faults(same))
    assert consistency.differences() == []


def test_reads_go_on_when_their_connection_is_lost(make_collection: Any, client: APIClient) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("there is no connection to lose")
    make_collection("notes", title="text")
    assert client.get("/api/v1/collections/notes/records").status_code == 200
    with database.reading():
        pid = database.rows("SELECT pg_backend_pid()")[0][0]
    dialects.current().execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert client.get("/api/v1/collections/notes/records").status_code == 200


@pytest.mark.parametrize("method", ["post", "patch"])
def test_a_lost_connection_is_one_503_and_then_all_is_well(
    make_collection: Any, records: Any, client: APIClient, method: str
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("there is no connection to lose")
    make_collection("notes", title="text")
    url = "/api/v1/collections/notes" if method == "patch" else "/api/v1/collections/notes/records"
    data = {"options": {}} if method == "patch" else {"title": "x"}
    pid = dialects.current().execute("SELECT pg_backend_pid()").fetchone()[0]
    at_once(lambda: dialects.current().execute("SELECT pg_terminate_backend(%s, 5000)", [pid]))
    ask = lambda: getattr(client, method)(url, data=data, format="json")  # noqa: E731
    lost = ask()
    close_old_connections()  # what the end of a request does; the test's client leaves it out
    assert (lost.status_code, lost["Retry-After"]) == (503, "1")
    again = ask()
    assert again.status_code in (200, 201)
    assert consistency.differences() == []
