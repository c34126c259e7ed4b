"""Several things at once, each in a thread with a connection of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection

from core import database

# How much longer than in a usual run the races go on: TEST_STRESS=50 for a night.
STRESS = int(os.environ.get("TEST_STRESS", "1"))

Job = Callable[[], Any]


def at_once(*jobs: Job) -> list[Any]:
    """What each job answered, or the exception that it raised; all start together."""
    barrier = threading.Barrier(len(jobs))
    answers: list[Any] = [None] * len(jobs)

    def run(place: int, job: Job) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            answers[place] = job()
        except Exception as error:  # noqa: BLE001  # told to the test
            answers[place] = error
        finally:
            database.close()

    threads = [threading.Thread(target=run, args=(place, job)) for place, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120 * STRESS)
    return answers


def faults(answers: Sequence[Any]) -> list[Exception]:
    return [answer for answer in answers if isinstance(answer, Exception)]


@contextmanager
def held_open(job: Callable[[], Any]) -> Iterator[None]:
    """``job`` answers a context manager; another thread stays inside it for the time of the block."""
    entered, leave = threading.Event(), threading.Event()
    fault: list[Exception] = []

    def run() -> None:
        try:
            with job():
                entered.set()
                leave.wait(60)
        except Exception as error:  # noqa: BLE001  # raised below, in the test
            fault.append(error)
        finally:
            entered.set()
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    entered.wait(60)
    try:
        yield
    finally:
        leave.set()
        thread.join(60)
    if fault:
        raise fault[0]
