"""Streams that are followed through the death of servers and of Redis: every event once, in order."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from collections_app.models import Event
from collections_app.tests.threads import STRESS
from tests.server import Server, server
from tests.sse_client import Ended, Refused, Stream
from tests.test_celery import Relay

pytestmark = [pytest.mark.engine, pytest.mark.slow]
logging.getLogger("httpx").setLevel(logging.WARNING)

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
NOTES = "/api/v1/collections/notes/records"
KILLS = 2 * STRESS
WRITERS, FOLLOWERS = 6, 5


@pytest.fixture
def notes(make_collection: Any) -> None:
    make_collection("notes", title="text", **OPEN)


class Writer(threading.Thread):
    """Creates, changes and deletes records over and over, whether the server lives or not."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)  # it must not outlive a test that failed
        self.path = url + NOTES
        self.end = threading.Event()
        self.statuses: set[int] = set()
        self.done = 0  # acknowledged
        self.longest = 0.0  # seconds that a request took

    def run(self) -> None:
        turn = 0
        while not self.end.is_set():
            try:
                with httpx.Client(timeout=60) as client:
                    while not self.end.is_set():
                        turn += 1
                        made = self._send(client, "POST", self.path, {"title": str(turn)})
                        if made.status_code == 201:
                            path = f"{self.path}/{made.json()['id']}"
                            self._send(client, "PATCH", path, {"title": f"{turn}!"})
                            if turn % 3 == 0:
                                self._send(client, "DELETE", path)
            except httpx.TransportError:
                time.sleep(0.05)

    def _send(self, client: httpx.Client, method: str, path: str, data: Any = None) -> httpx.Response:
        began = time.monotonic()
        answer = client.request(method, path, json=data)
        self.longest = max(self.longest, time.monotonic() - began)
        self.statuses.add(answer.status_code)
        self.done += answer.is_success
        return answer


class Follower(threading.Thread):
    """A client that comes back with the last id that it has seen whenever it is cut off.

    ``seen`` are the ids and types of what it was told, ``cuts`` how often it had to come back.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = f"{url}/api/v1/realtime/notes"
        self.seen: list[tuple[int, str]] = []
        self.last_event_id: str | None = None
        self.cuts = 0
        self.end, self.ready = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self.end.is_set():
            try:
                with Stream(self.url, last_event_id=self.last_event_id) as stream:
                    self._follow(stream)
            except (Ended, Refused, OSError):
                self.cuts += 1
                time.sleep(random.uniform(0.01, 0.1))

    def _follow(self, stream: Stream) -> None:
        while not self.end.is_set():
            try:
                frame = stream.next(0.2)
            except TimeoutError:
                continue
            if frame.type != "connected":
                self.seen.append((int(frame.id), frame.type))
            self.last_event_id = stream.last_event_id
            self.ready.set()


@pytest.fixture
def followers() -> Iterator[list[Follower]]:
    """Empty; whoever is put in is ended."""
    made: list[Follower] = []
    yield made
    for one in made:
        one.end.set()
    for one in made:
        one.join(60)


def follow(running: Server, followers: list[Follower]) -> None:
    followers += [Follower(running.url) for _ in range(FOLLOWERS)]
    for one in followers:
        one.start()
    for one in followers:
        assert one.ready.wait(60)


def stop(writers: list[Writer]) -> None:
    for writer in writers:
        writer.end.set()
    for writer in writers:
        writer.join(90)


def wait_until(condition: Callable[[], bool]) -> None:
    latest = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.01)


def check(followers: list[Follower]) -> int:
    """Each was told of every event of the log, once and in order; answers how many there are."""
    logged = list(Event.objects.filter(type__startswith="record.").order_by("id").values_list("id", "type"))
    latest = time.monotonic() + 60
    while any(len(one.seen) < len(logged) for one in followers) and time.monotonic() < latest:
        time.sleep(0.05)
    for one in followers:
        assert one.seen == logged
    return len(logged)


@pytest.mark.parametrize("workers", ["1", "2"], ids=["one worker", "two workers"])
def test_whoever_comes_back_after_a_crash_gets_every_event_once_and_in_order(
    notes: None, followers: list[Follower], tmp_path: Path, workers: str, seed: int
) -> None:
    chance = random.Random(seed)
    with server(tmp_path, WORKERS=workers) as running:
        follow(running, followers)
        for number in range(KILLS):
            writers = [Writer(running.url) for _ in range(WRITERS)]
            for writer in writers:
                writer.start()
            enough = chance.randint(4, 12)
            wait_until(lambda: all(writer.done >= enough for writer in writers))  # noqa: B023
            if workers == "2" and number % 2:
                running.kill_a_worker()
            else:
                running.kill()
                running.start()
            running.wait_until_it_answers()
            time.sleep(chance.uniform(0.0, 0.3))  # of writes to the new one, while they come back
            stop(writers)
            assert all(writer.statuses <= {200, 201, 204, 503} for writer in writers)
        assert check(followers) > 20 * KILLS
        assert all(one.cuts for one in followers) or workers == "2"
        assert "Traceback" not in running.log.read_text()


def test_while_redis_is_away_writes_succeed_and_streams_go_on(
    notes: None, followers: list[Follower], redis_url: str, tmp_path: Path
) -> None:
    relay = Relay(redis_url)
    relay.come()
    try:
        with server(tmp_path, REDIS_URL=relay.url) as running:
            follow(running, followers)
            writers = [Writer(running.url) for _ in range(2)]
            for writer in writers:
                writer.start()
            for _ in range(2):
                hear(followers, 6)
                relay.go()
                wait_until(lambda: not cache_answers(running))
                hear(followers, 6)
                relay.come()
            stop(writers)
            for writer in writers:
                assert writer.statuses == {200, 201, 204}
                assert writer.longest < 30
            assert check(followers) > 20
            assert not any(one.cuts for one in followers)
            wait_until(lambda: cache_answers(running))
    finally:
        relay.go()


def hear(followers: list[Follower], number: int) -> None:
    """Wait until each of them has been told of so many events more."""
    told = [len(one.seen) for one in followers]
    wait_until(lambda: all(len(one.seen) >= before + number for one, before in zip(followers, told, strict=True)))


def cache_answers(running: Server) -> bool:
    answer = httpx.get(f"{running.url}/health/ready", timeout=60)
    assert answer.status_code == 200
    return bool(answer.json()["checks"]["cache"])
