"""Work that nobody waits for: tasks of Celery, run by its workers or, without a broker, in this process.

What is due stands in the database and every task only does what is due, so a task
may run once too often, and a lost call is made up for by the next round. With a
broker, :func:`wake` sends the task to it and ``celery beat`` makes the rounds;
without one a thread of ``serve`` does both.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from time import monotonic

from django.conf import settings
from django.db import close_old_connections
from django.utils.module_loading import import_string

from core import database

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
    if not has_broker():
        worker.wake(name)
        return
    try:
        import_string(tasks[name].path).apply_async(ignore_result=True, retry=False)
    except Exception:
        logger.warning("the broker took no call of %s; beat will make it", name, exc_info=True)


def run(name: str) -> None:
    """One round of a task, here and now; what goes wrong is logged."""
    try:
        close_old_connections()
        import_string(tasks[name].path)()
    except Exception:
        logger.exception("task %s failed", name)


class Worker:
    """A thread that runs tasks when they are woken and when their round is due."""

    def __init__(self) -> None:
        self._woken: set[str] = set()
        self._bell = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ending = False

    def start(self) -> None:
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="background", daemon=True)
        self._thread.start()

    def wake(self, name: str) -> None:
        with self._bell:
            if self._thread is not None:  # else whoever serves finds it in the database
                self._woken.add(name)
                self._bell.notify()

    def stop(self) -> None:
        """Finish the task under way, and end."""
        thread = self._thread
        if thread is None:
            return
        with self._bell:
            self._ending = True
            self._bell.notify()
        thread.join()
        self._thread = None

    def _work(self) -> None:
        rounds = dict.fromkeys(tasks, 0.0)
        while True:
            with self._bell:
                now = monotonic()
                due = [name for name, at in rounds.items() if at <= now or name in self._woken]
                if not due and not self._ending:
                    self._bell.wait(max(0.0, min(rounds.values(), default=now + 60) - now))
                    continue
                if self._ending:
                    break
                self._woken.difference_update(due)
            for name in due:
                run(name)
                rounds[name] = monotonic() + tasks[name].every
        database.close()


worker = Worker()
