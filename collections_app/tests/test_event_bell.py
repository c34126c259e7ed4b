"""Who listens hears at once of new events, from this process and from others, and nobody pays for it but them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections

from collections_app import event_bell, events
from collections_app.event_bell import Bell
from collections_app.tests.other_process import OtherProcess, other_process
from core import background, database

pytestmark = pytest.mark.engine


class Ear:
    """A bell that counts."""

    def __init__(self) -> None:
        self.count = 0
        self._rang = threading.Event()
        self.bell = Bell(self._ring)

    def _ring(self) -> None:
        self.count += 1
        self._rang.set()

    def hears(self, seconds: float = 30.0) -> bool:
        return self._rang.wait(seconds)

    def forget(self, silence: float = 0.15) -> None:
        """What rang up to now; a bell may ring late for what is long known, so it is to be silent for a while."""
        latest = time.monotonic() + 60
        self._rang.clear()
        while self._rang.wait(silence):
            assert time.monotonic() < latest, "it rings for ever"
            self._rang.clear()
        self.count = 0


@pytest.fixture
def ear(make_collection: Any) -> Iterator[Ear]:
    make_collection("notes", title="text")
    made = Ear()
    made.bell.start()
    assert made.hears()  # what came before it began is not its affair, but whose it is must look
    made.forget()
    yield made
    made.bell.stop()


@pytest.fixture
def another(ear: Ear, tmp_path: Any) -> Iterator[OtherProcess]:
    with other_process(tmp_path) as there:
        there.run("collections_app.schema.registry.read_version")  # whatever is imported for the first time
        yield there


def bell_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "event-bell"]


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    latest = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > latest:
            return False
        time.sleep(0.02)
    return True


def test_a_write_in_this_process_rings_before_it_returns(ear: Ear, records: Any) -> None:
    records("notes").create(title="here")
    assert ear.count >= 1


def test_bells_that_come_and_go_beside_writes_all_ring_and_leave_no_thread(make_collection: Any, records: Any) -> None:
    make_collection("notes", title="text")
    for number in range(10):
        made = Ear()
        made.bell.start()
        assert made.hears(), number
        records("notes").create(title="here")
        made.bell.stop()  # at once: the thread may be about to tell others of it
        assert eventually(lambda: not bell_threads()), number


def test_a_write_in_another_process_rings_here(ear: Ear, another: OtherProcess) -> None:
    for number in range(3):
        ear.forget()
        assert "answer" in another.run("record_create", name="notes", data={"title": str(number)})
        assert ear.hears()
    ear.forget()
    assert "answer" in another.run("update", name_or_id="notes", payload={"name": "papers"})
    assert ear.hears()


def test_a_refused_write_does_not_ring(ear: Ear, another: OtherProcess) -> None:
    ear.forget(0.5)
    assert another.run("record_create", name="notes", data={"nothing": 1})["status"] == 422
    assert not ear.hears(0.3)


def test_a_stopped_bell_is_silent_and_leaves_no_thread_and_no_connection(
    ear: Ear, another: OtherProcess, records: Any
) -> None:
    second = Ear()
    second.bell.start()
    assert len(bell_threads()) == 1
    ear.bell.stop()
    ear.forget()
    second.forget()
    another.run("record_create", name="notes", data={"title": "there"})
    assert second.hears()
    second.bell.stop()
    second.forget()
    another.run("record_create", name="notes", data={"title": "there"})
    records("notes").create(title="here")
    assert (ear.count, second.count) == (0, 0)
    assert not bell_threads() and not listeners()


def listeners() -> list[int]:
    """The server's processes of connections that have listened last (PostgreSQL)."""
    if connection.vendor == "sqlite":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
            " AND (query LIKE 'LISTEN%%' OR query LIKE '%%NOTIFY%%')"
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_a_bell_whose_connection_is_cut_hears_again(ear: Ear, another: OtherProcess) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("there is no connection to cut")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", listeners())
    assert ear.hears()  # it asks its owner to look, for it may have missed something
    ear.forget()
    another.run("record_create", name="notes", data={"title": "there"})
    assert ear.hears()


def test_many_writes_are_told_to_others_by_few_messages_and_none_is_part_of_a_write(
    make_collection: Any, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("nobody has to be told")
    make_collection("notes", title="text")
    monkeypatch.setattr(background.worker, "_threads", [threading.current_thread()])  # as in a server
    spacing = 0.2
    for name in ("SPACING_SECONDS", "IDLE_SECONDS"):  # who was idle for so long may tell at once
        monkeypatch.setattr(event_bell, name, spacing)
    heard: list[float] = []
    stop = threading.Event()

    def listen() -> None:
        wrapper: Any = connections["default"].copy()
        wrapper.ensure_connection()
        wrapper.connection.execute(f"LISTEN {event_bell.CHANNEL}")
        ready.set()
        while not stop.is_set():
            heard.extend(time.monotonic() for _ in wrapper.connection.notifies(timeout=0.05))
        wrapper.close()

    ready = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    assert ready.wait(30)
    sent_by_writers: list[str] = []
    real = database.execute

    def execute(sql: str, *params: Any) -> Any:
        sent_by_writers.append(sql)
        return real(sql, *params)

    monkeypatch.setattr(database, "execute", execute)
    first = time.monotonic()
    for number in range(60):
        records("notes").create(title=str(number))
    last = time.monotonic()
    assert eventually(lambda: bool(heard) and heard[-1] >= last - spacing)
    stop.set()
    listener.join(30)
    assert 1 <= len(heard) <= (time.monotonic() - first) / spacing + 2
    assert any("INSERT" in sql for sql in sent_by_writers)
    assert not any("NOTIFY" in sql for sql in sent_by_writers)
    assert eventually(lambda: not bell_threads())  # nobody listens here, and there is nothing to tell


def test_a_write_succeeds_where_others_cannot_be_told(
    make_collection: Any, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("notes", title="text")
    monkeypatch.setattr(event_bell, "_NOTIFY", "NOTIFY 1")
    made = records("notes").create(title="here")
    assert records("notes").get(made["id"])["title"] == "here"
    assert events.settled_id() > 0
