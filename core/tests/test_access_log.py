"""Lines that come from the loop and leave by a thread."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from core import access_log
from core.access_log import AccessLog


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []
        self.threads = set()

    def emit(self, record):
        self.records.append(record.getMessage())
        self.threads.add(threading.get_ident())


@pytest.fixture
def kept():
    handler = Kept()
    access_log.logger.addHandler(handler)
    yield handler
    access_log.logger.removeHandler(handler)


def add(log, number):
    log.add("GET", f"/{number}", 200, 1.0, "id", "::1")


def test_the_lines_of_a_while_are_written_together_and_elsewhere(kept):
    pauses, is_over = [], threading.Event()

    class Pause(threading.Event):
        """Over when all lines are there."""

        def wait(self, timeout=None):
            pauses.append(timeout)
            return is_over.wait(30)

    log = AccessLog()
    log._queues[0]._closing = Pause()
    for number in range(100):
        add(log, number)
    is_over.set()
    deadline = time.monotonic() + 30
    while not kept.records and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [line.split()[6] for line in kept.records[0].split("\n")] == [f"/{number}" for number in range(100)]
    assert threading.get_ident() not in kept.threads
    log.close()
    assert set(pauses) == {access_log.PAUSE_SECONDS} and len(kept.records) == 1


def test_closing_writes_what_is_left_and_a_later_line_starts_anew(kept):
    log = AccessLog()
    for number in range(3):
        add(log, number)
        log.close()
    assert [record.split()[6] for record in kept.records] == ["/0", "/1", "/2"]


def test_closing_at_the_very_moment_of_writing_ends_the_thread(kept, monkeypatch):
    log = AccessLog()
    closer = threading.Thread(target=log.close)

    class Pause(threading.Event):
        """Over just before somebody closes, who is done before the thread goes on."""

        def wait(self, timeout=None):
            closer.start()
            super().wait(30)
            deadline = time.monotonic() + 30
            while not log._queues[0]._wake.is_set() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.05)
            return False

    log._queues[0]._closing = Pause()
    add(log, 0)
    while closer.ident is None:
        time.sleep(0.001)
    closer.join(30)
    assert not closer.is_alive() and [record.split()[6] for record in kept.records] == ["/0"]


def test_a_writer_that_stands_still_costs_lines_not_memory(kept, monkeypatch):
    monkeypatch.setattr(access_log, "MOST", 5)
    log = AccessLog()
    for number in range(8):
        add(log, number)
    log.close()
    lines = "\n".join(kept.records).split("\n")
    assert len(lines) == 6 and lines[-1].endswith("3 lines were dropped")


def test_the_lines_of_runserver_hold_no_query(caplog):
    server = logging.getLogger("django.channels.server")
    server.propagate, before = True, server.propagate
    try:
        with caplog.at_level(logging.INFO, "django.channels.server"):
            details = {"path": "/verify?token=s3cret", "status": 200, "method": "GET"}
            server.info("HTTP %(method)s %(path)s %(status)s", details)
            server.info("plain")
    finally:
        server.propagate = before
    assert [record.getMessage() for record in caplog.records] == ["HTTP GET /verify 200", "plain"]
