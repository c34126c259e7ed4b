"""Many writes in one transaction: each fails alone, and an answer means that it is on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.db import OperationalError, connection, transaction
from django.test import override_settings

from accounts.principals import SYSTEM
from collections_app import dialects, events
from collections_app.models import Event
from collections_app.records import group_commit, operations, validate
from collections_app.records.group_commit import Writer
from collections_app.records.operations import Answer, Call
from collections_app.schema import registry, service
from collections_app.tests.other_process import other_process
from collections_app.tests.threads import STRESS, at_once, faults
from core.error_adapter import domain_error
from core.errors import Conflict, NotFound, ServiceUnavailable, ValidationFailed

Unit = Callable[[], Any]


@pytest.fixture(autouse=True)
def sqlite_only(db: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("on PostgreSQL every write has a transaction of its own")


@pytest.fixture
def writer(schema_db: None) -> Iterator[Writer]:
    writer = Writer()
    yield writer
    writer.close()


@pytest.fixture
def notes(make_collection: Any) -> str:
    make_collection(
        "notes",
        title={"type": "text", "validation": {"required": True, "unique": True}},
        count="integer",
        other={"type": "relation", "relation": {"collection_id": "notes"}},
    )
    return "notes"


def create(**data: Any) -> Callable[[], Answer]:
    return lambda: operations.record_create(Call(principal=SYSTEM, method="POST"), "notes", data)


def update(record_id: str, **data: Any) -> Callable[[], Answer]:
    return lambda: operations.record_update(Call(principal=SYSTEM, method="PATCH"), "notes", record_id, data)


def delete(record_id: str) -> Callable[[], Answer]:
    return lambda: operations.record_delete(Call(principal=SYSTEM, method="DELETE"), "notes", record_id)


def together(writer: Writer, *units: Unit) -> list[Any]:
    """What the units answer or raise, all of them in one group."""
    begin = threading.Event()

    async def ask() -> list[Any]:
        # While the first one waits in its transaction, the others queue up behind it.
        first = writer.submit(lambda: begin.wait(10))
        others = [writer.submit(unit) for unit in units]
        begin.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    return asyncio.run(ask())


def titles() -> list[str]:
    """What is committed, as a connection of its own sees it."""
    snapshot = registry.known()
    assert snapshot is not None
    table = snapshot.get("notes").table
    with sqlite3.connect(connection.settings_dict["NAME"]) as other:
        return [row[0] for row in other.execute(f"SELECT title FROM {table} ORDER BY rowid")]


def logged() -> list[tuple[str, str]]:
    return [(event.type.removeprefix("record."), (event.data or event.previous)["title"]) for event in
            Event.objects.filter(type__startswith="record.").order_by("id")]  # fmt: skip


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the groups, as they are answered."""
    sizes: list[int] = []
    deliver = group_commit._deliver

    def count(jobs: Any) -> None:
        sizes.append(len(jobs))
        deliver(jobs)

    monkeypatch.setattr(group_commit, "_deliver", count)
    return sizes


# --- one transaction -----------------------------------------------------------------------


def test_what_comes_together_is_committed_together_and_answered_in_order(
    writer: Writer, notes: str, commits: list[int]
) -> None:
    answers = together(writer, *(create(title=f"n{n}") for n in range(20)))
    assert [orjson.loads(answer.body)["title"] for answer in answers] == [f"n{n}" for n in range(20)]
    assert [answer.status for answer in answers] == [201] * 20
    assert commits == [21]
    assert titles() == [f"n{n}" for n in range(20)]
    assert logged() == [("created", f"n{n}") for n in range(20)]


def test_when_the_first_is_answered_all_of_the_group_is_on_disk(writer: Writer, notes: str) -> None:
    seen: list[list[str]] = []

    async def one(number: int) -> None:
        await writer.submit(create(title=f"n{number}"))
        if not seen:
            seen.append(titles())

    async def all_of_them() -> None:
        begin = threading.Event()
        writer.submit(lambda: begin.wait(10))
        tasks = [asyncio.create_task(one(number)) for number in range(10)]
        await asyncio.sleep(0)
        begin.set()
        await asyncio.gather(*tasks)

    asyncio.run(all_of_them())
    assert seen == [[f"n{n}" for n in range(10)]]


def test_a_bad_row_fails_alone_and_leaves_nothing(writer: Writer, notes: str, commits: list[int]) -> None:
    first, bad, last, gone, clash = together(
        writer, create(title="a"), create(count=1), create(title="b"), update("gone", count=1), create(title="a")
    )
    assert (first.status, last.status) == (201, 201)
    assert isinstance(bad, ValidationFailed) and list(bad.fields) == ["title"]
    assert isinstance(gone, NotFound)
    assert isinstance(clash, Conflict) and list(clash.fields) == ["title"]
    assert titles() == ["a", "b"]
    assert logged() == [("created", "a"), ("created", "b")]
    assert commits == [6]


def test_what_a_unit_wrote_before_it_failed_is_undone(writer: Writer, notes: str) -> None:
    def half() -> Answer:
        requests = [
            {"method": "POST", "collection": "notes", "data": {"title": "half"}},
            {"method": "POST", "collection": "notes", "data": {"title": "a"}},
        ]
        return operations.batch(Call(principal=SYSTEM, method="POST"), {"requests": requests})

    first, bad, last = together(writer, create(title="a"), half, create(title="half"))
    assert (first.status, last.status) == (201, 201)
    assert isinstance(bad, Conflict) and bad.extra["index"] == 1
    assert logged() == [("created", "a"), ("created", "half")]


def test_each_unit_sees_what_those_before_it_did(writer: Writer, notes: str) -> None:
    answers = together(
        writer, create(id="x", title="a"), update("x", **{"count+": 2}), update("x", **{"count+": 3}), delete("x"),
        create(id="x", title="b", other="x"),
    )  # fmt: skip
    assert [answer.status for answer in answers] == [201, 200, 200, 204, 201]
    assert orjson.loads(answers[2].body)["count"] == 5
    assert logged() == [("created", "a"), ("updated", "a"), ("updated", "a"), ("deleted", "a"), ("created", "b")]
    moments = list(Event.objects.filter(record_id="x").order_by("id").values_list("timestamp", flat=True))
    assert moments == sorted(set(moments)), "each unit has a moment of its own"


def test_bulk_requests_keep_what_succeeds_within_a_group(writer: Writer, notes: str) -> None:
    def bulk() -> Answer:
        body = {"record_ids": ["x", "none", "y"], "data": {"title": "same"}}
        return operations.bulk_update(Call(principal=SYSTEM, method="POST"), "notes", body)

    *_, answer, last = together(
        writer, create(id="x", title="a"), create(id="y", title="b"), bulk, create(title="c")
    )  # fmt: skip
    told = orjson.loads(answer.body)
    assert (told["success"], told["failed"]) == (1, 2)
    assert last.status == 201
    assert titles() == ["same", "b", "c"]
    assert logged() == [("created", "a"), ("created", "b"), ("updated", "same"), ("created", "c")]


def test_listeners_are_woken_once_and_after_the_commit(writer: Writer, notes: str) -> None:
    seen: list[list[str]] = []
    listener = lambda **_: seen.append(titles())  # noqa: E731
    events.appended.connect(listener)
    try:
        together(writer, create(title="a"), create(count=1), create(title="b"))
        together(writer, create(count=1))
    finally:
        events.appended.disconnect(listener)
    assert seen == [["a", "b"]]


def test_a_unit_runs_in_the_context_of_who_submitted_it(writer: Writer) -> None:
    asked: ContextVar[str] = ContextVar("asked", default="")

    async def ask(name: str) -> str:
        asked.set(name)
        return await writer.submit(asked.get)

    async def both() -> list[str]:
        return await asyncio.gather(ask("one"), ask("two"))

    assert asyncio.run(both()) == ["one", "two"]


def test_a_claim_for_idempotency_is_no_part_of_a_group(writer: Writer, notes: str) -> None:
    call = Call(principal=SYSTEM, method="POST", idempotency_key="k", path="notes")
    (answer,) = together(writer, lambda: operations.record_create(call, "notes", {"title": "a"}))
    assert isinstance(answer, RuntimeError)
    assert titles() == []


# --- a schema that moves -------------------------------------------------------------------


def test_a_group_begins_on_the_schema_as_another_process_left_it(writer: Writer, notes: str, tmp_path: Path) -> None:
    together(writer, create(title="a"))
    with other_process(tmp_path) as another:
        fields = service.as_json(registry.latest().get("notes"))["schema"]
        fields[0]["name"] = "headline"
        assert "answer" in another.run("update", name_or_id="notes", payload={"schema": fields})
        assert "answer" in another.run("create", payload={"name": "others", "schema": []})
    others = lambda: operations.record_create(Call(principal=SYSTEM, method="POST"), "others", {})  # noqa: E731
    answers = together(writer, create(headline="b"), others, create(title="c"))
    assert [getattr(answer, "status", None) for answer in answers] == [201, 201, 422]


def test_a_unit_that_began_on_an_old_schema_is_repeated(
    writer: Writer, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = registry.latest()
    fields = service.as_json(old.get("notes"))["schema"]
    service.collection_update(
        actor=SYSTEM, name_or_id="notes", payload={"schema": [*fields, {"name": "more", "type": "text"}]}
    )

    def late() -> Answer:
        monkeypatch.setattr(registry, "_latest", old)
        return create(title="b", more="x")()

    answers = together(writer, create(title="a"), late, create(title="c", more="y"))
    assert [answer.status for answer in answers] == [201, 201, 201]
    assert logged() == [("created", "a"), ("created", "b"), ("created", "c")]


# --- when the transaction itself fails -----------------------------------------------------


def test_if_the_commit_fails_each_is_run_by_itself(
    writer: Writer, make_collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("boxes")
    make_collection(
        "notes", title="text", box={"type": "relation", "relation": {"collection_id": "boxes"}}
    )  # fmt: skip
    # As if the box had gone away after it was looked for.
    monkeypatch.setattr(validate, "check_targets", lambda *args: None)
    answers = together(writer, create(title="a"), create(title="b", box="gone"), create(title="c"))
    assert [getattr(answer, "status", None) for answer in answers] == [201, 409, 201]
    assert isinstance(answers[1], Conflict)
    assert titles() == ["a", "c"]
    assert logged() == [("created", "a"), ("created", "c")]


def test_if_the_transaction_is_lost_each_is_run_by_itself(writer: Writer, notes: str) -> None:
    runs: list[bool] = []

    def loses_it() -> Answer:
        answer = create(title="b")()
        runs.append(connection.in_atomic_block)
        if len(runs) == 1:
            dialects.current().execute("ROLLBACK")  # what SQLite does by itself when the disk is full
            raise OperationalError("database or disk is full")
        return answer

    answers = together(writer, create(title="a"), loses_it, create(title="c"))
    assert [answer.status for answer in answers] == [201, 201, 201]
    assert runs == [True, False]
    assert titles() == ["a", "b", "c"]
    assert logged() == [("created", "a"), ("created", "b"), ("created", "c")]


def test_a_group_that_django_would_roll_back_silently_is_not_answered_as_committed(writer: Writer, notes: str) -> None:
    runs: list[bool] = []

    def spoils() -> None:
        runs.append(connection.in_atomic_block)
        if len(runs) == 1:
            with pytest.raises(ValueError, match="x"), transaction.atomic(savepoint=False):
                raise ValueError("x")

    first, spoiled, last = together(writer, create(title="a"), spoils, create(title="b"))
    assert (first.status, spoiled, last.status) == (201, None, 201)
    assert runs == [True, False]
    assert titles() == ["a", "b"]


def test_what_fails_after_the_commit_changes_no_answer(writer: Writer, notes: str) -> None:
    def with_a_bad_hook() -> Answer:
        transaction.on_commit(lambda: 1 / 0)
        return create(title="a")()

    answers = together(writer, with_a_bad_hook, create(title="b"))
    assert [answer.status for answer in answers] == [201, 201]
    assert titles() == ["a", "b"]


# --- locks, waiting, the end ---------------------------------------------------------------


@contextmanager
def the_lock() -> Iterator[None]:
    """Another connection's write transaction."""
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_behind_a_held_lock_all_are_told_to_come_again_and_reads_go_on(
    writer: Writer, notes: str, records: Any
) -> None:
    impatient = lambda: dialects.current().execute("PRAGMA busy_timeout = 300")  # noqa: E731
    together(writer, impatient, create(title="a"))

    async def ask() -> list[Any]:
        asked = [writer.submit(create(title=f"n{n}")) for n in range(3)]
        await asyncio.sleep(0.1)
        assert await asyncio.to_thread(at_once, lambda: records("notes").values("title")) == [["a"]]
        return await asyncio.gather(*asked, return_exceptions=True)

    with the_lock():
        started = time.monotonic()
        answers = asyncio.run(ask())
        assert 0.25 < time.monotonic() - started < 2
    for answer in answers:
        error = domain_error(answer)
        assert error is not None and (error.status, error.headers["Retry-After"]) == (503, "1")
    assert titles() == ["a"]
    assert together(writer, create(title="b"))[0].status == 201


def test_who_waited_too_long_in_the_queue_is_refused_before_it_writes(writer: Writer, notes: str) -> None:
    async def ask() -> list[Any]:
        begin = threading.Event()
        slow = writer.submit(lambda: begin.wait(10))
        late = writer.submit(create(title="late"))
        await asyncio.sleep(0.2)
        begin.set()
        return await asyncio.gather(slow, late, writer.submit(create(title="next")), return_exceptions=True)

    with override_settings(BUSY_TIMEOUT_MS=100):
        _, late, following = asyncio.run(ask())
    assert isinstance(late, ServiceUnavailable)
    assert following.status == 201
    assert titles() == ["next"]


def test_closing_finishes_what_was_submitted_and_takes_no_more(notes: str) -> None:
    threads = threading.enumerate()
    writer = Writer()

    async def ask() -> list[Any]:
        asked = [writer.submit(create(title=f"n{n}")) for n in range(30)]
        writer.close()
        with pytest.raises(RuntimeError):
            writer.submit(create(title="late"))
        return await asyncio.gather(*asked)

    assert [answer.status for answer in asyncio.run(ask())] == [201] * 30
    assert titles() == [f"n{n}" for n in range(30)]
    assert set(threading.enumerate()) <= set(threads)


def test_who_went_away_holds_up_nobody(writer: Writer, notes: str) -> None:
    async def ask() -> Answer:
        begin = threading.Event()
        writer.submit(lambda: begin.wait(10))
        gone = writer.submit(create(title="a"))
        kept = writer.submit(create(title="b"))
        gone.cancel()
        begin.set()
        return await kept

    assert asyncio.run(ask()).status == 201
    assert "b" in titles()


def test_one_alone_waits_for_nobody(writer: Writer, notes: str, commits: list[int]) -> None:
    async def ask() -> None:
        for number in range(20):
            await writer.submit(create(title=f"n{number}"))

    asyncio.run(ask())
    assert commits == [1] * 20


@pytest.mark.slow
def test_sixteen_writers_here_and_eight_in_another_process_all_get_through(
    notes: str, writer: Writer, tmp_path: Path
) -> None:
    service.collection_create(actor=SYSTEM, payload={"name": "others", "schema": [{"name": "title", "type": "text"}]})
    turns = 25 * STRESS

    def here() -> int:
        async def ask(name: int) -> None:
            for turn in range(turns):
                await writer.submit(create(title=f"{name}-{turn}"))

        async def all_of_them() -> None:
            await asyncio.gather(*(ask(name) for name in range(16)))

        asyncio.run(all_of_them())
        return 16 * turns

    def directly() -> None:
        for turn in range(turns):
            create(title=f"direct-{turn}")()

    with other_process(tmp_path) as another:
        answers = at_once(here, directly, lambda: another.run("write_many", name="others", threads=8, turns=turns))
    assert not faults(answers)
    assert answers[2]["answer"] == {"written": 8 * turns, "errors": []}
    assert len(titles()) == 17 * turns
    assert Event.objects.filter(type="record.created").count() == (17 + 8) * turns
