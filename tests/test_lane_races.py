"""Two processes write and read at once: no total is wrong, and what was acknowledged is seen by everybody."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts import tokens
from accounts.models import User
from collections_app.tests.threads import STRESS
from tests.server import SECRET_KEY, Server, server

pytestmark = [pytest.mark.engine, pytest.mark.slow]
logging.getLogger("httpx").setLevel(logging.WARNING)

SECONDS = 6 * STRESS
PUBLIC = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
THINGS = "/api/v1/collections/things/records"
BATCH = "/api/v1/batch"


@pytest.fixture
def things(make_collection: Any) -> None:
    make_collection(
        "things", kind="text", number="integer", note="text", options={"search": ["note"]},
        indexes=[{"fields": ["kind"]}], **PUBLIC,
    )  # fmt: skip


@pytest.fixture
def both(things: None, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers on one database; they know of each other by it only."""
    with ExitStack() as stack:
        folders = [tmp_path / name for name in "ab"]
        for folder in folders:
            folder.mkdir()
        one, other = (stack.enter_context(server(folder)) for folder in folders)
        yield one, other
        for running in (one, other):
            assert "Traceback" not in running.log.read_text(), running.log.read_text()[-3000:]


class Crowd:
    """Threads that each do one thing again and again, until the time is over or one of them fails."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: list[str] = []
        self.turns = 0

    def add(self, make: Callable[[httpx.Client], Callable[[], None]], url: str) -> None:
        def run() -> None:
            with httpx.Client(base_url=url, timeout=60) as client:
                try:
                    act = make(client)
                    while not self._over.is_set():
                        act()
                        self.turns += 1
                except Exception as fault:  # noqa: BLE001  # told to the test
                    self.failures.append(repr(fault)[:500])
                    self._over.set()

        self._threads.append(threading.Thread(target=run))

    def run(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        self._over.wait(seconds)
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        assert not self.failures, self.failures[:5]


def ok(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer.json() if answer.content else None


def test_a_total_is_right_while_two_processes_write(both: tuple[Server, Server], records: Any) -> None:
    """What is written in one transaction leaves the number of records as it was: every answer must say that number."""
    owned = 12
    crowd = Crowd()
    everywhere = [running.url for running in both for _ in range(3)]
    total = owned * len(everywhere)

    def exchange(client: httpx.Client) -> Callable[[], None]:
        mine = [ok(client.post(THINGS, json={"kind": "on", "note": "a word"}), 201)["id"] for _ in range(owned)]

        def act() -> None:
            steps = [
                {"method": "POST", "collection": "things", "data": {"kind": "on", "note": "a word"}},
                {"method": "DELETE", "collection": "things", "id": mine.pop(0)},
            ]
            if random.random() < 0.5:
                steps.reverse()
            done = ok(client.post(BATCH, json={"requests": steps}))
            mine.append(next(step["record"]["id"] for step in done["results"] if step["record"]))

        return act

    queries = (
        "filter=kind='on'",
        "search=word",
        "filter=kind='on'&sort=-number,id",
        "filter=kind!=''",
        "filter=note~'word'",
    )

    def count(client: httpx.Client) -> Callable[[], None]:
        def act() -> None:
            size = random.choice((1, 5, 29, 30))
            page = ok(client.get(f"{THINGS}?{random.choice(queries)}&per_page={size}&page={random.choice((1, 2))}"))
            assert page["total"] == total, (page["total"], total)
            assert page["total_pages"] == -(-total // size) and len(page["items"]) == min(size, total)

        return act

    ready = threading.Barrier(len(everywhere))

    def exchange_together(client: httpx.Client) -> Callable[[], None]:
        act = exchange(client)
        ready.wait(60)
        return act

    def count_later(client: httpx.Client) -> Callable[[], None]:
        while ok(client.get(f"{THINGS}?per_page=1"))["total"] < total:
            time.sleep(0.01)
        return count(client)

    for url in everywhere:
        crowd.add(exchange_together, url)
        crowd.add(count_later, url)
    crowd.run(SECONDS)
    assert crowd.turns > 100 * STRESS


def test_a_total_only_grows_while_records_are_created(both: tuple[Server, Server], records: Any) -> None:
    """It is at least what was acknowledged before the question, and at most what was begun before the answer."""
    lock = threading.Lock()
    begun = acknowledged = 0
    crowd = Crowd()

    def create(client: httpx.Client) -> Callable[[], None]:
        def act() -> None:
            nonlocal begun, acknowledged
            many = random.choice((1, 1, 3))
            with lock:
                begun += many
            if many == 1:
                ok(client.post(THINGS, json={"kind": "new"}), 201)
            else:
                steps = [{"method": "POST", "collection": "things", "data": {"kind": "new"}}] * many
                ok(client.post(BATCH, json={"requests": steps}))
            with lock:
                acknowledged += many
            # What is not counted makes the cached totals old all the same.
            ok(client.post(THINGS, json={"kind": "other"}), 201)

        return act

    def count(client: httpx.Client) -> Callable[[], None]:
        last = 0

        def act() -> None:
            nonlocal last
            with lock:
                least = acknowledged
            total = ok(client.get(f"{THINGS}?filter=kind='new'&per_page=1&sort=-id"))["total"]
            with lock:
                most = begun
            assert max(least, last) <= total <= most, (last, least, total, most)
            last = total

        return act

    for running in both:
        for _ in range(3):
            crowd.add(create, running.url)
            crowd.add(count, running.url)
    crowd.run(SECONDS)
    assert acknowledged > 50 * STRESS


def test_what_was_acknowledged_is_seen_at_once_in_both_processes(
    both: tuple[Server, Server], records: Any, settings: Any, member: User
) -> None:
    settings.SECRET_KEY = SECRET_KEY
    signed_in = {"Authorization": f"Bearer {tokens.issue(member).access}"}
    crowd = Crowd()
    place = iter(range(10**9))

    def make(client: httpx.Client) -> Callable[[], None]:
        readers = [httpx.Client(base_url=running.url, timeout=60) for running in both]
        client.headers.update(signed_in)
        name = f"w{next(place)}"

        def seen(path: str, number: int | None, etag: str | None) -> None:
            for reader in random.sample(readers, 2):
                answer = reader.get(path, headers={"If-None-Match": etag} if etag else {})
                listed = ok(reader.get(f"{THINGS}?filter=kind='{name}'"))
                if number is None:
                    assert answer.status_code == 404, answer.text
                    assert listed["total"] == 0 and not listed["items"]
                else:
                    assert ok(answer)["number"] == number, (answer.text, number)
                    assert [item["number"] for item in listed["items"]] == [number] and listed["total"] == 1
                    fresh = answer.headers["ETag"]
                    assert fresh != etag
                    again = reader.get(path, headers={"If-None-Match": fresh})
                    assert again.status_code == 304 and not again.content

        def act() -> None:
            made = client.post(THINGS, json={"kind": name, "number": 0})
            record_id = ok(made, 201)["id"]
            path, etag = f"{THINGS}/{record_id}", made.headers["ETag"]
            ways: list[Callable[[int], httpx.Response]] = [
                lambda number: client.patch(path, json={"number": number}),
                lambda number: client.put(path, json={"data": {"number": number}}),
                lambda number: client.post(
                    f"{THINGS}/bulk-update", json={"record_ids": [record_id], "data": {"number": number}}
                ),
                lambda number: client.post(BATCH, json={"requests": [
                    {"method": "PATCH", "collection": "things", "id": record_id, "data": {"number": number}}
                ]}),
            ]  # fmt: skip
            assert readers[0].get(path, headers={"If-None-Match": etag}).status_code == 304
            for number in (1, 2):
                ok(random.choice(ways)(number))
                seen(path, number, etag)
                etag = readers[number % 2].get(path).headers["ETag"]
            assert client.delete(path, headers={"If-Match": etag}).status_code == 204
            seen(path, None, etag)

        return act

    for running in both:
        for _ in range(3):
            crowd.add(make, running.url)
    crowd.run(SECONDS)
    assert crowd.turns > 10 * STRESS
