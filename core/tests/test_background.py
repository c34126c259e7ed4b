"""Work that nobody waits for: by a thread of serve, or by Celery's workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection

from core import background
from core.background import Task, Worker

done: list[tuple[str, float]] = []
hooks: dict[str, Callable[[], None]] = {}


def work(name: str) -> None:
    done.append((name, time.monotonic()))
    hooks.get(name, lambda: None)()


def quick() -> None:
    work("quick")


def slow() -> None:
    work("slow")


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    done.clear()
    hooks.clear()
    here = "core.tests.test_background"
    monkeypatch.setattr(background, "tasks", {"q": Task(f"{here}.quick", 3600), "s": Task(f"{here}.slow", 3600)})


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    made = Worker()
    monkeypatch.setattr(background, "worker", made)
    yield made
    made.stop()


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def assert_set(event: threading.Event) -> None:
    assert event.wait(60)


def times(name: str) -> int:
    return sum(1 for task, _ in done if task == name)


# --- without a broker ------------------------------------------------------------------------


def test_the_thread_makes_a_round_at_its_start_and_when_it_is_woken(worker):
    worker.start()
    wait_until(lambda: times("quick") == times("slow") == 1)
    time.sleep(0.05)
    assert len(done) == 2
    background.wake("q")
    wait_until(lambda: times("quick") == 2)
    assert times("slow") == 1


def test_the_thread_makes_its_rounds(worker, monkeypatch):
    monkeypatch.setitem(background.tasks, "q", Task("core.tests.test_background.quick", 0.05))
    worker.start()
    wait_until(lambda: times("quick") >= 4)
    assert times("slow") == 1


def test_many_wakes_at_once_are_few_rounds(worker):
    released = threading.Event()
    hooks["quick"] = lambda: assert_set(released)
    worker.start()
    wait_until(lambda: times("quick") == 1)
    for _ in range(1000):
        background.wake("q")
    released.set()
    wait_until(lambda: times("quick") == 2)
    time.sleep(0.1)
    assert times("quick") == 2


def test_a_task_that_fails_is_logged_and_the_others_go_on(worker, caplog):
    def fail() -> None:
        raise OSError("no such luck")

    hooks["quick"] = fail
    worker.start()
    wait_until(lambda: times("slow") == 1)
    background.wake("q")
    wait_until(lambda: times("quick") == 2)
    assert "task q failed" in caplog.text and "no such luck" in caplog.text


def test_a_stop_finishes_the_task_under_way_and_begins_no_other(worker):
    under_way, seen = threading.Event(), []

    def hold() -> None:
        under_way.set()
        wait_until(lambda: worker.is_ending)
        seen.append(background.is_ending())

    hooks["quick"] = hold
    worker.start()
    assert under_way.wait(60)
    background.wake("q")
    worker.stop()
    assert seen == [True] and not worker.is_running and times("quick") == 1
    assert background.is_ending()
    worker.start()
    assert not background.is_ending()


def test_what_is_under_way_learns_of_the_end_before_anybody_waits_for_it(worker):
    worker.end()
    assert not background.is_ending()  # there is nothing to end
    under_way = threading.Event()

    def hold() -> None:
        under_way.set()
        wait_until(background.is_ending)

    hooks["quick"] = hold
    worker.start()
    assert under_way.wait(60)
    worker.end()
    background.wake("q")
    worker.stop()
    assert times("quick") == 1


def test_waking_where_nobody_serves_does_nothing(worker):
    background.wake("q")
    time.sleep(0.05)
    assert not done


def test_an_idle_thread_costs_nothing(worker):
    waits: list[float | None] = []

    class Bell(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return super().wait(timeout)

    worker._bell = Bell()
    worker.start()
    wait_until(lambda: len(done) == 2)
    time.sleep(0.5)
    assert 2 <= len(waits) <= 10, waits  # each for its round, and once to let go of its connection


# --- with a broker ---------------------------------------------------------------------------


@pytest.fixture
def calls(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    found: list[str] = []
    monkeypatch.setattr(background, "call", found.append)
    return found


def test_with_a_broker_the_thread_calls_and_runs_nothing(worker, calls):
    worker.start()
    background.wake("q")
    wait_until(lambda: calls == ["q"])
    time.sleep(0.05)
    assert calls == ["q"] and not done


def test_with_a_broker_who_does_not_serve_calls_it_too(worker, calls):
    background.wake("s")
    assert calls == ["s"] and not done


def test_a_wake_does_not_wait_for_a_broker_that_is_away(worker, calls, monkeypatch):
    called, woken, outcomes = threading.Event(), threading.Event(), []

    def call(name: str) -> None:
        called.set()
        outcomes.append(woken.wait(30))

    monkeypatch.setattr(background, "call", call)
    worker.start()
    background.wake("q")
    assert_set(called)
    for _ in range(100):
        background.wake("q")
    woken.set()
    worker.stop()
    assert outcomes and all(outcomes)  # the call lasted until all had been woken


def test_a_call_that_nobody_takes_is_logged_in_bounded_time(settings, monkeypatch, caplog):
    from celery import Celery

    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    nobody = Celery("test", broker="redis://127.0.0.1:1/0", broker_transport_options=options)
    monkeypatch.setitem(globals(), "nobody", nobody)
    settings.CELERY_APP = f"{__name__}.nobody"
    began = time.monotonic()
    background.call("q")
    assert time.monotonic() - began < 60
    assert "the broker took no call of q" in caplog.text


@pytest.fixture
def broker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Celery with a broker in memory, at which nobody takes anything."""
    from celery import Celery

    made = Celery("test", broker="memory://", set_as_current=False)
    monkeypatch.setitem(globals(), "somebody", made)
    settings.CELERY_APP = f"{__name__}.somebody"
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"  # so that it is called
    yield made
    made.close()


def waiting(broker: Any, name: str) -> int:
    with broker.connection_for_read() as connection, connection.SimpleQueue(name) as queue:
        return int(queue.qsize())


def test_of_each_task_one_call_waits_at_most(broker):
    for _ in range(100):
        background.wake("q")
        background.wake("s")
    assert waiting(broker, "q") == waiting(broker, "s") == 1
    with broker.connection_for_read() as connection, connection.SimpleQueue("q") as queue:
        queue.get(block=False).ack()
    background.wake("q")
    assert waiting(broker, "q") == 1


@pytest.mark.django_db
def test_a_busy_database_is_no_fault_of_a_task(caplog):
    def busy() -> None:
        raise OperationalError("database is locked")

    hooks["quick"] = busy
    background.run("q")
    [line] = caplog.records
    assert line.levelname == "WARNING" and line.exc_info is None and "database is locked" in line.getMessage()


def test_a_thread_that_has_nothing_to_do_holds_no_connection(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, committed_db: None
) -> None:
    monkeypatch.setattr(background, "CONNECTED_SECONDS", 0.05)
    seen: list[Any] = []

    def connect() -> None:
        connection.ensure_connection()
        seen.append(connection.connection)

    hooks["quick"] = connect
    worker.start()
    wait_until(lambda: len(seen) == 1)
    wait_until(lambda: is_closed(seen[0]))
    worker.wake("q")
    wait_until(lambda: len(seen) == 2)
    assert seen[1] is not seen[0]


def is_closed(raw: Any) -> bool:
    try:
        raw.cursor().execute("SELECT 1")
    except (connection.Database.ProgrammingError, connection.Database.OperationalError):
        return True
    return False
