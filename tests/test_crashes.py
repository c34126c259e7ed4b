"""What a client was told is done survives ``kill -9`` of the server, whenever it comes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection

from accounts import tokens
from accounts.models import User
from collections_app import dialects
from collections_app.dialects import quote
from collections_app.models import Event
from collections_app.schema import consistency, registry, search_index
from collections_app.tests.threads import STRESS
from tests.server import SECRET_KEY, Server, server

pytestmark = [pytest.mark.engine, pytest.mark.slow]
logging.getLogger("httpx").setLevel(logging.WARNING)

ROUNDS = 2 * STRESS  # of two workers all die, and then one
WRITERS = 20


class Writer(threading.Thread):
    """Creates, changes and deletes records of its own until the server goes; keeps what was acknowledged.

    Every other turn it does so with pairs, in batches and in bulk: both of a pair, or neither.
    """

    def __init__(self, url: str, name: str, tags: list[str], token: str) -> None:
        super().__init__()
        self.path, self.tag, self.tags = f"{url}/api/v1/collections/notes/records", name, tags
        self.batch, self.headers = f"{url}/api/v1/batch", {"Authorization": f"Bearer {token}"}
        self.created: list[str] = []
        self.pairs: list[list[str]] = []  # sent, whatever came of them
        self.deleted: set[str] = set()
        self.counts: dict[str, int] = {}  # the last acknowledged value
        self.sent: dict[str, int] = {}
        self.refused: Counter[int] = Counter()
        self.end = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=60, headers=self.headers) as client:
            turn = 0
            while not self.end.is_set():
                turn += 1
                try:
                    (self._write_pair if turn % 2 else self._write)(client, turn)
                except httpx.TransportError:
                    return

    def _write_pair(self, client: httpx.Client, turn: int) -> None:
        pair = [f"{self.tag}-{turn}-{place}" for place in "ab"]
        self.pairs.append(pair)
        data = {"title": "", "count": 0, "tag": self.tags[0], "tags": self.tags}
        steps = [
            {"method": "POST", "collection": "notes", "id": name, "data": data | {"title": f"pair {name}"}}
            for name in pair
        ] + [{"method": "PATCH", "collection": "notes", "id": name, "data": {"count": 1}} for name in pair]
        if not self._is_done(client.post(self.batch, json={"requests": steps})):
            return
        self.created += pair
        self._know(pair, 1)
        self.sent |= dict.fromkeys(pair, 2)
        if self._is_done(
            client.post(f"{self.path}/bulk-update", json={"record_ids": pair, "data": {"count": 2, "tags": []}})
        ):
            self._know(pair, 2)
        if turn % 3 == 0:
            self.sent |= dict.fromkeys(pair, -1)
            if self._is_done(client.post(f"{self.path}/bulk-delete", json={"record_ids": pair})):
                self.deleted.update(pair)

    def _know(self, pair: list[str], count: int) -> None:
        self.counts |= dict.fromkeys(pair, count)
        self.sent |= dict.fromkeys(pair, count)

    def _is_done(self, answer: httpx.Response) -> bool:
        if answer.status_code == 200 and not answer.json().get("failed"):
            return True
        self.refused[answer.status_code] += 1  # 200 too: nobody else touches these records
        return False

    def _write(self, client: httpx.Client, turn: int) -> None:
        data = {"title": f"{self.tag}-{turn}", "count": 0, "tag": self.tags[0], "tags": self.tags}
        made = client.post(self.path, json=data)
        if made.status_code != 201:
            self.refused[made.status_code] += 1
            return
        record_id = made.json()["id"]
        self.created.append(record_id)
        self.counts[record_id] = 0
        for count in (1, 2):
            self.sent[record_id] = count
            changed = client.patch(f"{self.path}/{record_id}", json={"count": count, "tags": self.tags[count - 1 :]})
            if changed.status_code == 200:
                self.counts[record_id] = count
            else:
                self.refused[changed.status_code] += 1
        if turn % 3 == 0:
            self.sent[record_id] = -1
            if client.delete(f"{self.path}/{record_id}").status_code == 204:
                self.deleted.add(record_id)


@pytest.fixture(params=["1", "2"], ids=["one worker", "two workers"])
def running(make_collection: Any, records: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A server with an open collection of notes that have tags and are searched."""
    make_collection("tags", label="text")
    make_collection(
        "notes", title="text", count="integer",
        tag={"type": "relation", "relation": {"collection_id": "tags"}},
        tags={"type": "relation", "relation": {"collection_id": "tags", "type": "many-to-many"}},
        options={"search": ["title"]}, indexes=[{"fields": ["title"], "unique": True}],
        list_rule=None, view_rule=None, create_rule=None, update_rule=None, delete_rule=None,
    )  # fmt: skip
    with server(tmp_path, WORKERS=request.param) as started:
        yield started


def test_acknowledged_writes_survive_the_death_of_the_server(
    running: Server, records: Any, member: User, settings: Any, seed: int
) -> None:
    chance = random.Random(seed)
    settings.SECRET_KEY = SECRET_KEY  # of tokens that the server takes
    token = tokens.issue(member).access
    tags = [records("tags").create(label=label)["id"] for label in "ab"]
    acknowledged = 0
    for number in range(ROUNDS):
        writers = [Writer(running.url, f"{number}-{place}", tags, token) for place in range(WRITERS)]
        for writer in writers:
            writer.start()
        enough, deadline = chance.randint(2 * WRITERS, 10 * WRITERS), time.monotonic() + 60
        while sum(len(writer.created) for writer in writers) < enough:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if number % 2 and running.workers():
            running.kill_a_worker()
        else:
            running.kill()
        for writer in writers:
            writer.end.set()
        for writer in writers:
            writer.join(90)
            assert set(writer.refused) <= {503}, writer.refused
        if not running.is_alive():
            running.start()
        running.wait_until_it_answers()
        acknowledged += check(writers)
        assert httpx.get(f"{running.url}/api/v1/collections/notes/records").status_code == 200
    assert acknowledged > 20 * ROUNDS
    told = running.log.read_text()
    assert "Traceback" not in told, told[-3000:]


def check(writers: list[Writer]) -> int:
    """Everything that these writers were told is there, and logged once; nothing is half there."""
    logged = Counter(Event.objects.values_list("type", "record_id"))
    assert max(logged[key] for key in logged if key[0] != "record.updated" and key[1]) == 1
    stored = rows()
    for writer in writers:
        for record_id in writer.created:
            assert logged["record.created", record_id] == 1
            if record_id in writer.deleted:
                assert record_id not in stored and logged["record.deleted", record_id] == 1
            elif record_id not in stored:
                assert writer.sent[record_id] == -1, "gone, and nobody asked for it"
            else:
                count = stored[record_id]["count"]
                assert count in (writer.counts[record_id], writer.sent[record_id])
                assert logged["record.updated", record_id] == count
        for one, other in writer.pairs:
            assert (one in stored) == (other in stored), "half a batch"
            assert one not in stored or stored[one]["count"] == stored[other]["count"] > 0, "half a bulk update"
    assert stored == replayed()
    assert consistency.differences() == []
    if connection.vendor == "sqlite":
        assert searched() == {(record_id, dialects.fold(row["title"])) for record_id, row in stored.items()}
        execute = dialects.current().execute
        assert execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert execute("PRAGMA foreign_key_check").fetchall() == []
    return sum(len(w.created) + sum(w.counts.values()) + len(w.deleted) for w in writers)


def rows() -> dict[str, dict[str, Any]]:
    """The notes as they are stored, with their links."""
    collection = registry.latest().get("notes")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, title, count, tag FROM {quote(collection.table)}")
        found = {row[0]: {"title": row[1], "count": row[2], "tag": row[3], "tags": []} for row in cursor.fetchall()}
        through = collection.by_name["tags"].through
        cursor.execute(f"SELECT source_id, target_id FROM {quote(through)} ORDER BY source_id, position")
        for source, target in cursor.fetchall():
            found[source]["tags"].append(target)
    return found


def searched() -> set[tuple[str, str]]:
    """What the search index says of the notes: id and folded title."""
    collection = registry.latest().get("notes")
    table = search_index.table(collection)
    dialects.current().execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
    return set(dialects.current().rows(f"SELECT id, {collection.search[0]} FROM {search_index.texts(collection)}"))


def replayed() -> dict[str, dict[str, Any]]:
    """The notes as the log tells them."""
    found: dict[str, dict[str, Any]] = {}
    notes = registry.latest().get("notes").id
    for event in Event.objects.filter(collection_id=notes, type__startswith="record.").order_by("id"):
        if event.type == "record.deleted":
            del found[event.record_id]
        else:
            found[event.record_id] = {name: event.data[name] for name in ("title", "count", "tag", "tags")}
    return found
