"""Work that nobody waits for: tasks of Celery, run by its workers or, without a broker, in this process.

What is due stands in the database and every task only does what is due, so a task
may run once too often, and a lost call is made up for by the next round. ``serve``
has a thread for each. With a broker one thread hands the calls of :func:`wake` to it,
so that no request waits for a broker that is away, and ``celery beat`` makes the
rounds; without one the threads run the tasks and make the rounds themselves.

At the broker each task has a queue of its own name, in which one call waits at most: whatever
happens before a worker takes it is what it is for. So nothing grows while no worker is there.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import OperationalError, close_old_connections
from django.utils.module_loading import import_string

from core import database, metrics

CONNECTED_SECONDS = 2  # after its work a thread keeps its connection for more of it: a database has not many

logger = logging.getLogger("fastcms.background")
_rounds = metrics.counter(
    "task_rounds", "Rounds of background tasks in this process, by how they went.", ["task", "outcome"]
)


@dataclass(frozen=True, slots=True)
class Task:
    """A Celery task by its dotted path, and how often it makes its round (seconds)."""

    path: str
    every: float


tasks: dict[str, Task] = {}


def register(name: str, path: str, every: float) -> None:
    """Make a task known under its Celery name; done in ``AppConfig.ready()``, which imports no Celery."""
    tasks[name] = Task(path, every)


def has_broker() -> bool:
    """Whether Celery's workers run the tasks."""
    return not str(settings.CELERY_BROKER_URL).startswith("memory:")


def wake(name: str) -> None:
    """There is something to do for this task. Never fails: the next round comes anyway."""
    if worker.is_running:
        worker.wake(name)
    elif has_broker():
        call(name)
    # else whoever serves finds it in the database


def call(name: str) -> None:
    """Have a call of the task wait at the broker, here and now; where it takes nothing, that is logged."""
    try:
        app = import_string(settings.CELERY_APP)
        if not is_called(app, name):
            app.send_task(name, queue=name, ignore_result=True, retry=False)
    except Exception as fault:  # noqa: BLE001 - whatever is wrong with the broker, beat makes the round
        logger.warning("the broker took no call of %s; the next round makes up for it: %s", name, fault)


def is_called(app: Any, name: str) -> bool:
    """Whether a call of the task waits for a worker at the broker of this Celery application; raises its faults."""
    with app.producer_or_acquire() as producer:
        declared = producer.channel.queue_declare(queue=name, durable=True, auto_delete=False)
    return bool(declared.message_count)


def run(name: str) -> None:
    """One round of a task, here and now; what goes wrong is logged."""
    outcome = "done"
    try:
        close_old_connections()
        import_string(tasks[name].path)()
    except OperationalError as fault:  # busy or away, which passes
        outcome = "busy"
        logger.warning("task %s waits for its next round: %s", name, fault)
    except Exception:
        outcome = "failed"
        logger.exception("task %s failed", name)
    _rounds.labels(name, outcome).inc()


def is_ending() -> bool:
    """Whether this process is about to end: a task with much to do leaves the rest to the next one."""
    return worker.is_ending


class Worker:
    """Threads that run tasks when they are woken and when their round is due, one for each task; or one that
    calls a broker's."""

    def __init__(self) -> None:
        self._woken: set[str] = set()
        self._bell = threading.Condition()
        self._threads: list[threading.Thread] = []
        self.is_ending = False

    @property
    def is_running(self) -> bool:
        return bool(self._threads)

    def start(self) -> None:
        self.is_ending = False
        shares = [list(tasks)] if has_broker() else [[name] for name in tasks]
        if not has_broker():
            for task in tasks.values():
                import_string(task.path)  # of two threads that import the same, one would see half of it
        self._threads = [
            threading.Thread(target=self._work, args=[share], name=f"background {' '.join(share)}", daemon=True)
            for share in shares
        ]
        for thread in self._threads:
            thread.start()

    def wake(self, name: str) -> None:
        with self._bell:
            self._woken.add(name)
            self._bell.notify_all()

    def end(self) -> None:
        """The process is about to end: what is under way is to come to its end, and nothing is begun."""
        if self._threads:
            with self._bell:
                self.is_ending = True
                self._bell.notify_all()

    def stop(self) -> None:
        """Finish the tasks under way, and end. What was woken meanwhile is found by the next process."""
        self.end()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _work(self, share: list[str]) -> None:
        by_others = has_broker()
        rounds = {} if by_others else dict.fromkeys(share, 0.0)
        connected_until = inf
        while True:
            with self._bell:
                now = monotonic()
                due = [name for name in share if name in self._woken or rounds.get(name, now + 1) <= now]
                if self.is_ending:
                    break
                if not due and now < connected_until:
                    following = min(connected_until, *rounds.values()) if rounds else connected_until
                    self._bell.wait(None if following == inf else following - now)
                    continue
                self._woken.difference_update(due)
            if not due:
                database.close()
                connected_until = inf
            for name in due:
                if by_others:
                    call(name)
                else:
                    run(name)
                    rounds[name] = monotonic() + tasks[name].every
                    connected_until = monotonic() + CONNECTED_SECONDS
        database.close()


worker = Worker()
