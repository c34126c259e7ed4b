"""Work that nobody waits for: tasks of Celery, run by its workers or, without a broker, in this process.

What is due stands in the database and every task only does what is due, so a task
may run once too often, and a lost call is made up for by the next round. ``serve``
has a thread for it. With a broker the thread hands the calls of :func:`wake` to it,
so that no request waits for a broker that is away, and ``celery beat`` makes the
rounds; without one the thread runs the tasks and makes the rounds itself.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from time import monotonic

from django.conf import settings
from django.db import OperationalError, close_old_connections
from django.utils.module_loading import import_string

from core import database

CALL_SECONDS = 300  # a call that no worker has taken by then is forgotten; the rounds go on

logger = logging.getLogger("fastcms.background")


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
    """Hand the task to the broker, here and now; where it takes nothing, that is logged."""
    try:
        import_string(settings.CELERY_APP).send_task(name, ignore_result=True, retry=False, expires=CALL_SECONDS)
    except Exception as fault:  # noqa: BLE001 - whatever is wrong with the broker, beat makes the round
        logger.warning("the broker took no call of %s; the next round makes up for it: %s", name, fault)


def run(name: str) -> None:
    """One round of a task, here and now; what goes wrong is logged."""
    try:
        close_old_connections()
        import_string(tasks[name].path)()
    except OperationalError as fault:  # busy or away, which passes
        logger.warning("task %s waits for its next round: %s", name, fault)
    except Exception:
        logger.exception("task %s failed", name)


def is_ending() -> bool:
    """Whether this process is about to end: a task with much to do leaves the rest to the next one."""
    return worker.is_ending


class Worker:
    """A thread that runs tasks when they are woken and when their round is due, or calls a broker's."""

    def __init__(self) -> None:
        self._woken: set[str] = set()
        self._bell = threading.Condition()
        self._thread: threading.Thread | None = None
        self.is_ending = False

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        self.is_ending = False
        self._thread = threading.Thread(target=self._work, name="background", daemon=True)
        self._thread.start()

    def wake(self, name: str) -> None:
        with self._bell:
            self._woken.add(name)
            self._bell.notify()

    def stop(self) -> None:
        """Finish the task under way, and end. What was woken meanwhile is found by the next process."""
        thread = self._thread
        if thread is None:
            return
        with self._bell:
            self.is_ending = True
            self._bell.notify()
        thread.join()
        self._thread = None
        self.is_ending = False

    def _work(self) -> None:
        by_others = has_broker()
        rounds = {} if by_others else dict.fromkeys(tasks, 0.0)
        while True:
            with self._bell:
                now = monotonic()
                due = [name for name in tasks if name in self._woken or rounds.get(name, now + 1) <= now]
                if self.is_ending:
                    break
                if not due:
                    self._bell.wait(min(rounds.values()) - now if rounds else None)
                    continue
                self._woken.clear()
            for name in due:
                if by_others:
                    call(name)
                else:
                    run(name)
                    rounds[name] = monotonic() + tasks[name].every
        database.close()


worker = Worker()
