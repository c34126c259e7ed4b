"""Many who write at once: no update lost, no effect doubled, each change logged once."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.db import connection

from accounts.principals import SYSTEM
from collections_app import events
from collections_app.models import Event, IdempotencyKey
from collections_app.records import operations
from collections_app.records.operations import Call
from collections_app.schema import registry
from collections_app.tests.other_process import other_process
from collections_app.tests.threads import STRESS, at_once, faults
from core import clock
from core.errors import Conflict, DomainError, PreconditionFailed

pytestmark = pytest.mark.engine


def call(method: str, **headers: Any) -> Call:
    return Call(principal=SYSTEM, method=method, path="notes", **headers)


# --- If-Match ------------------------------------------------------------------------------


def test_editors_who_send_if_match_lose_no_update(make_collection: Any, records: Any) -> None:
    make_collection("notes", count="integer", seen="json")
    record_id = records("notes").create(count=0, seen=[])["id"]
    editors, rounds = 4, 50 * STRESS
    won, stale = Counter[str](), Counter[str]()

    def edit(name: str) -> None:
        for turn in range(rounds):
            answer = operations.record_get(call("GET"), "notes", record_id)
            note = orjson.loads(answer.body)
            data = {"count": note["count"] + 1, "seen": [*(note["seen"] or []), f"{name}{turn}"]}
            try:
                operations.record_update(call("PATCH", if_match=answer.headers["ETag"]), "notes", record_id, data)
            except PreconditionFailed:
                stale[name] += 1
            else:
                won[name] += 1

    assert not faults(at_once(*(lambda name=name: edit(name) for name in "abcd"[:editors])))
    note = records("notes").get(record_id)
    assert note["count"] == sum(won.values()) == len(note["seen"]) == len(set(note["seen"]))
    assert sum(won.values()) + sum(stale.values()) == editors * rounds
    assert Event.objects.filter(type="record.updated").count() == note["count"]


def test_of_two_with_the_same_etag_one_wins(make_collection: Any, records: Any) -> None:
    make_collection("notes", count="integer")
    for _ in range(15 * STRESS):
        record_id = records("notes").create(count=0)["id"]
        etag = operations.record_get(call("GET"), "notes", record_id).headers["ETag"]
        answers = at_once(
            lambda: operations.record_update(call("PATCH", if_match=etag), "notes", record_id, {"count": 1}),  # noqa: B023
            lambda: operations.record_update(call("PATCH", if_match=etag), "notes", record_id, {"count": 2}),  # noqa: B023
            lambda: operations.record_delete(call("DELETE", if_match=etag), "notes", record_id),  # noqa: B023
        )
        assert len([answer for answer in answers if not isinstance(answer, Exception)]) == 1
        assert {error.status for error in faults(answers)} <= {412, 404}  # type: ignore[attr-defined]


# --- relative changes ----------------------------------------------------------------------


def test_relative_changes_at_once_sum_exactly(make_collection: Any, records: Any) -> None:
    make_collection("tags", label="text")
    tags = [records("tags").create(label=str(n))["id"] for n in range(16)]
    make_collection(
        "notes", whole="integer", real="number", exact="decimal",
        words={"type": "select", "select": {"values": [f"w{n}" for n in range(16)], "max_select": 16}},
        tags={"type": "relation", "relation": {"collection_id": "tags", "type": "many-to-many"}},
    )  # fmt: skip
    record_id = records("notes").create(whole=5)["id"]

    def add(writer: int) -> None:
        for turn in range(4 * writer, 4 * writer + 4):
            change = {"whole+": 3, "real+": 0.5, "exact+": "0.1", "words+": f"w{turn}", "tags+": tags[turn]}
            records("notes").update(record_id, change)

    assert not faults(at_once(*(lambda n=n: add(n) for n in range(4))))
    note = records("notes").get(record_id)
    assert (note["whole"], note["real"], Decimal(note["exact"])) == (5 + 16 * 3, 8.0, Decimal("1.6"))
    assert sorted(note["words"]) == sorted(f"w{n}" for n in range(16))
    assert sorted(note["tags"]) == sorted(tags)
    versions = [e.data["updated"] for e in Event.objects.filter(record_id=record_id).order_by("id")]
    assert versions == sorted(set(versions)), "each state has a later moment than the one before"


# --- Idempotency-Key -----------------------------------------------------------------------


def post(data: dict[str, Any], key: str) -> operations.Answer:
    return operations.record_create(call("POST", idempotency_key=key), "notes", data)


def test_a_key_used_at_once_by_many_makes_one_record(make_collection: Any, records: Any) -> None:
    make_collection("notes", title="text")
    for number in range(8 * STRESS):
        answers = at_once(*[lambda: post({"title": f"t{number}"}, f"key-{number}")] * 6)  # noqa: B023
        assert {type(error) for error in faults(answers)} <= {Conflict}
        bodies = {answer.body for answer in answers if not isinstance(answer, Exception)}
        assert len(bodies) == 1
        assert post({"title": f"t{number}"}, f"key-{number}").body in bodies
    assert sorted(records("notes").values("title", "per_page=500")) == sorted(f"t{n}" for n in range(8 * STRESS))
    assert Event.objects.filter(type="record.created").count() == 8 * STRESS


def test_death_between_claim_and_effect_neither_loses_nor_doubles(
    make_collection: Any, records: Any, tmp_path: Path
) -> None:
    make_collection("notes", title="text")
    with other_process(tmp_path) as another:
        number, died = 0, True
        while died:
            number += 1
            key, data = f"key-{number}", {"title": f"t{number}"}
            outcome = another.run("record_create", name="notes", data=data, key=key, die_before=("statement", number))
            died = outcome.killed
            made = records("notes").page(f"filter=title='t{number}'")["total"]
            assert made == Event.objects.filter(data__title=f"t{number}").count() in (0, 1)
            held = IdempotencyKey.objects.filter(key=key)
            if held.exists():
                assert (held.get().status == 201) == (made == 1)
            again = another.run("record_create", name="notes", data=data, key=key)
            if again.get("status") == 409:
                assert made == 0, "the claim of the dead request still holds"
                held.update(claimed_until=clock.now() - timedelta(seconds=1))
                again = another.run("record_create", name="notes", data=data, key=key)
            assert "answer" in again
            assert another.run("record_create", name="notes", data=data, key=key)["answer"] == again["answer"]
            assert records("notes").page(f"filter=title='t{number}'")["total"] == 1
            assert Event.objects.filter(data__title=f"t{number}").count() == 1
    assert number > 8


def test_a_request_that_outlives_its_claim_has_no_effect_after_its_repetition(
    make_collection: Any, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("notes", title="text")
    claimed = operations._claim

    def claim_and_fall_asleep(given: Call, data: Any) -> Any:
        found = claimed(given, data)
        monkeypatch.setattr(operations, "_claim", claimed)
        IdempotencyKey.objects.update(claimed_until=clock.now() - timedelta(seconds=1))
        first.append(post({"title": "x"}, "key"))
        return found

    first: list[operations.Answer] = []
    monkeypatch.setattr(operations, "_claim", claim_and_fall_asleep)
    with pytest.raises(Conflict):
        post({"title": "x"}, "key")
    assert records("notes").page()["total"] == 1
    assert post({"title": "x"}, "key").body == first[0].body
    assert Event.objects.filter(type="record.created").count() == 1


# --- the log -------------------------------------------------------------------------------


def whole_records() -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for collection in registry.latest().by_id.values():
        answer = operations.record_list(Call(principal=SYSTEM, query_string="per_page=500"), collection.name)
        for item in orjson.loads(answer.body)["items"]:
            found[collection.id, item["id"]] = item
    return found


@contextmanager
def logged_exactly() -> Iterator[None]:
    """The log gains one event for each record that is different afterwards, and no other."""
    before, last = whole_records(), Event.objects.order_by("-id").first()
    yield
    after = whole_records()
    new = list(Event.objects.filter(id__gt=last.id if last else 0).order_by("id"))
    expected: dict[Any, tuple[str, Any, Any]] = {}
    for key in before.keys() | after.keys():
        if before.get(key) != after.get(key):
            kind = "created" if key not in before else "deleted" if key not in after else "updated"
            expected[key] = (f"record.{kind}", after.get(key), before.get(key))
    assert {(e.collection_id, e.record_id): (e.type, e.data, e.previous) for e in new} == expected
    assert len(new) == len(expected)


@pytest.fixture
def house(make_collection: Any, records: Any) -> dict[str, str]:
    """Authors; posts go with their author; comments lose theirs; labels hang on posts; badges are needed."""

    def to(name: str, **more: Any) -> dict[str, Any]:
        return {"type": "relation", "relation": {"collection_id": name, **more}}

    make_collection("authors", name="text", boss=to("authors"))
    make_collection("labels", name="text")
    make_collection(
        "posts", title={"type": "text", "validation": {"unique": True}}, likes="integer",
        author=to("authors", cascade_delete=True), labels=to("labels", type="many-to-many"),
    )  # fmt: skip
    make_collection("comments", text="text", post=to("posts"), author=to("authors"))
    make_collection("badges", owner={**to("authors"), "validation": {"required": True}})
    ann = records("authors").create(name="ann")["id"]
    bob = records("authors").create(name="bob", boss=ann)["id"]
    red = records("labels").create(name="red")["id"]
    one = records("posts").create(title="one", author=ann, labels=[red], likes=0)["id"]
    two = records("posts").create(title="two", author=ann, labels=[red], likes=0)["id"]
    records("comments").create(text="c", post=one, author=bob)
    records("badges").create(owner=bob)
    return {"ann": ann, "bob": bob, "red": red, "one": one, "two": two}


def test_cascades_and_released_relations_are_logged_once_each(house: dict[str, str], records: Any) -> None:
    with logged_exactly():
        records("labels").delete(house["red"])
    with logged_exactly():
        records("authors").delete(house["ann"])
    assert records("posts").items() == []
    with logged_exactly(), pytest.raises(Conflict):
        records("authors").delete(house["bob"])


def test_bulk_and_batch_log_what_was_done_and_nothing_that_was_undone(house: dict[str, str], records: Any) -> None:
    both = [house["one"], house["two"], "nothing"]
    with logged_exactly():
        told = operations.bulk_update(call("POST"), "posts", {"record_ids": both, "data": {"title": "same"}})
    assert orjson.loads(told.body)["success"] == 1
    with logged_exactly():
        operations.bulk_delete(call("POST"), "authors", {"record_ids": [house["bob"], house["ann"]]})
    with logged_exactly():
        operations.batch(call("POST"), {"requests": [
            {"method": "POST", "collection": "labels", "data": {"name": "blue"}},
            {"method": "PATCH", "collection": "authors", "id": house["bob"], "data": {"name": "rob"}},
            {"method": "PUT", "collection": "labels", "id": "green0000000000", "data": {"name": "green"}},
            {"method": "DELETE", "collection": "labels", "id": house["red"]},
        ]})  # fmt: skip
    before = Event.objects.count()
    with logged_exactly(), pytest.raises(DomainError):
        operations.batch(call("POST"), {"requests": [
            {"method": "POST", "collection": "labels", "data": {"name": "blue"}},
            {"method": "DELETE", "collection": "authors", "id": house["bob"]},
        ]})  # fmt: skip
    assert Event.objects.count() == before


def test_a_rolled_back_write_leaves_no_event(house: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        append(*args, **kwargs)
        raise RuntimeError("after the event was written")

    append = events.append
    before = Event.objects.count()
    with monkeypatch.context() as patch:
        patch.setattr(events, "append", broken)
        with logged_exactly(), pytest.raises(RuntimeError):
            operations.record_create(call("POST"), "labels", {"name": "x"})
        with logged_exactly(), pytest.raises(RuntimeError):
            operations.record_delete(call("DELETE"), "authors", house["ann"])
    assert Event.objects.count() == before


def test_a_listener_that_fails_does_not_fail_the_write(house: dict[str, str], records: Any) -> None:
    def listener(**_: Any) -> None:
        raise RuntimeError("no use")

    events.appended.connect(listener)
    try:
        with logged_exactly():
            assert records("labels").create(name="x")["name"] == "x"
    finally:
        events.appended.disconnect(listener)


def test_ids_of_events_follow_each_records_history(make_collection: Any, records: Any) -> None:
    make_collection("notes", count="integer")
    ids = [records("notes").create(count=0)["id"] for _ in range(3)]

    def write() -> None:
        for turn in range(24):
            records("notes").update(ids[turn % 3], {"count+": 1})

    assert not faults(at_once(*[write] * 4))
    for record_id in ids:
        history = list(Event.objects.filter(record_id=record_id).order_by("id"))
        assert [event.data["count"] for event in history] == list(range(33))
        for earlier, later in itertools.pairwise(history):
            assert later.previous == earlier.data


def test_nobody_is_told_of_a_locked_database(make_collection: Any, records: Any, tmp_path: Path) -> None:
    make_collection("notes", title="text", options={"search": ["title"]})
    with other_process(tmp_path) as another:
        there: dict[str, Any] = {}
        thread = threading.Thread(
            target=lambda: there.update(another.run("write_many", name="notes", threads=10, turns=12))
        )
        thread.start()

        def write() -> None:
            for _ in range(12):
                made = records("notes").create(title="here")["id"]
                records("notes").update(made, {"title": "changed"})

        answers = at_once(*[write] * 10)
        thread.join(120)
    assert not faults(answers)
    assert there["answer"] == {"written": 120, "errors": []}
    assert records("notes").page("filter=title='changed'")["total"] == 120
    assert records("notes").page("filter=title='there'")["total"] == 120
    assert Event.objects.filter(type="record.created").count() == 240
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            assert cursor.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
