"""A restore as those see it who use the site meanwhile: over two workers, streams and webhooks included."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection

from tests.server import Server
from tests.sse_client import Stream

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PASSWORD = "correct-horse-battery"
SECONDS = 60.0


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of a database of its own; empty for SQLite, which is a file in DATA_DIR then."""
    if connection.vendor == "sqlite":
        yield ""
        return
    config, name = connection.settings_dict, f"restore_served_{os.getpid()}"

    def run(statement: str) -> None:
        with psycopg.connect(
            host=config["HOST"], port=config["PORT"], user=config["USER"], password=config["PASSWORD"] or None,
            dbname="postgres", autocommit=True,
        ) as raw:  # fmt: skip
            raw.execute(statement)

    login = f"{config['USER']}:{config['PASSWORD']}" if config["PASSWORD"] else config["USER"]
    run(f"CREATE DATABASE {name}")
    try:
        yield f"postgres://{login}@{config['HOST']}:{config['PORT']}/{name}"
    finally:
        run(f"DROP DATABASE {name} (FORCE)")


class Site:
    """A running server with a ledger, a backup of it, and what has been entered since."""

    def __init__(self, server: Server) -> None:
        self.server, self.url = server, server.url
        account = {"email": "chief@example.com", "password": PASSWORD}
        assert httpx.post(f"{self.url}/api/v1/auth/register", json=account, timeout=SECONDS).status_code == 201
        self.sign_in()
        schema = [{"name": "amount", "type": "integer"}]
        self.post("collections", {"name": "ledger", "schema": schema, "list_rule": None})
        self.webhook = self.post(
            "webhooks",
            {"url": "http://127.0.0.1:9/nobody", "collection_name": "ledger", "events": ["create"], "retry_count": 5},
        )["id"]
        self.enter(1, 2)
        self.wait(lambda: len(self.deliveries()) == 2)
        self.key = self.post("auth/api-keys", {"name": "kept", "access": "write"})["key"]
        taken_back = self.post("auth/api-keys", {"name": "taken back", "access": "write"})
        self.backup = self.post("backups", {})
        self.taken_back = taken_back["key"]
        assert self.ask("DELETE", f"auth/api-keys/{taken_back['id']}").is_success
        self.enter(100, 200)
        self.last = max(event.id for event in self.past())

    def sign_in(self) -> None:
        account = {"email": "chief@example.com", "password": PASSWORD}
        self.token = httpx.post(f"{self.url}/api/v1/auth/login", json=account, timeout=SECONDS).json()["access_token"]

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.request(method, f"{self.url}/api/v1/{path}", headers=headers, timeout=SECONDS, **given)

    def post(self, path: str, body: Any) -> Any:
        answer = self.ask("POST", path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def enter(self, *amounts: int) -> None:
        for amount in amounts:
            self.post("collections/ledger/records", {"amount": amount})

    def amounts(self) -> list[int]:
        return sorted(item["amount"] for item in self.wait(self._page)["items"])

    def _page(self) -> Any:
        """None from a worker that is still closed: after a restore each opens when it comes to it."""
        answer = httpx.get(f"{self.url}/api/v1/collections/ledger/records", timeout=SECONDS)
        return None if answer.status_code == 503 else answer.json()

    def is_open(self) -> bool:
        """All workers of it: each of these has a connection of its own."""
        return all(self._page() is not None for _ in range(12))

    def amounts_everywhere(self) -> set[tuple[int, ...]]:
        """As several workers answer: each of these has a connection of its own."""
        return {tuple(self.amounts()) for _ in range(12)}

    def deliveries(self) -> list[dict[str, Any]]:
        return list(self.ask("GET", f"webhooks/{self.webhook}/deliveries").json()["items"])

    def past(self) -> list[Any]:
        """All events of the ledger so far."""
        with Stream(f"{self.url}/api/v1/realtime/ledger", last_event_id=0) as stream:
            stream.until("connected", SECONDS)
            return [stream.until("record.created", SECONDS) for _ in self.amounts()]

    def wait(self, holds: Callable[[], Any]) -> Any:
        latest = time.monotonic() + SECONDS
        while not (found := holds()):
            assert time.monotonic() < latest
            time.sleep(0.05)
        return found


@contextmanager
def site(folder: Path, database: str) -> Iterator[Site]:
    server = Server(
        folder, DATABASE_URL=database, ENV="development", WORKERS="2", WEBHOOK_ALLOW_PRIVATE="true",
        RATE_LIMIT_ENABLED="false",
    )  # fmt: skip
    try:
        server.start()
        yield Site(server)
    finally:
        server.stop()


def test_a_restore_at_once_and_one_at_the_next_start(tmp_path: Path, database: str) -> None:
    with site(tmp_path, database) as here:
        member = {"email": "admin@example.com", "password": PASSWORD, "role": "admin"}
        assert here.ask("POST", "auth/register", json=member).status_code == 201
        path = f"backups/{here.backup['id']}/restore"

        # Only superadmins; nothing of it is for keys, or anybody else.
        account = {"email": "admin@example.com", "password": PASSWORD}
        admin = httpx.post(f"{here.url}/api/v1/auth/login", json=account, timeout=SECONDS).json()["access_token"]
        for headers, status in (
            ({}, 401),
            ({"Authorization": f"Bearer {admin}"}, 403),
            ({"X-API-Key": here.key}, 403),
        ):
            for method, where in (("POST", path), ("GET", "backups/restore"), ("DELETE", "backups/restore")):
                answer = httpx.request(method, f"{here.url}/api/v1/{where}", headers=headers, timeout=SECONDS)
                assert answer.status_code == status, (headers, method, answer.text)
        assert here.ask("POST", "backups/none/restore").status_code == 404
        assert here.ask("POST", f"{path}?later=true").status_code == 400
        assert here.ask("GET", "backups/restore").json()["status"] == "none"
        assert here.ask("DELETE", "backups/restore").status_code == 404

        # At once: everybody else is told to come back, and then finds the state of the backup.
        told: list[tuple[int, str]] = []
        is_over = threading.Event()

        def look() -> None:
            while not is_over.wait(0.05):  # the restore needs a processor too
                answer = httpx.get(f"{here.url}/api/v1/collections/ledger/records", timeout=SECONDS)
                told.append((answer.status_code, answer.headers.get("Retry-After", "")))
                assert httpx.get(f"{here.url}/health/live", timeout=SECONDS).status_code == 200

        lookers = [threading.Thread(target=look) for _ in range(3)]
        with Stream(f"{here.url}/api/v1/realtime/ledger", timeout=SECONDS) as stream:
            stream.until("connected", SECONDS)
            for looker in lookers:
                looker.start()
            answer = here.ask("POST", f"{path}?now=true")
            assert answer.status_code == 200, answer.text
            here.wait(lambda: told and told[-1][0] == 200 and here.is_open())
            is_over.set()
            for looker in lookers:
                looker.join()
            assert stream.until("reset", SECONDS).id, "who was there all the time is told to read again"
        assert answer.json()["status"] == "restored" and answer.json()["backup_filename"] == here.backup["filename"]
        assert {status for status, _ in told} == {200, 503} and {after for status, after in told if status == 503} == {
            "5"
        }
        assert here.amounts_everywhere() == {(1, 2)}

        # Nobody is signed in, and no key is good that was taken back since.
        assert here.ask("GET", "auth/me").status_code == 401
        for key, status in ((here.key, 200), (here.taken_back, 401)):
            url, headers = f"{here.url}/api/v1/collections/ledger/records", {"X-API-Key": key}
            assert httpx.get(url, headers=headers, timeout=SECONDS).status_code == status
        here.sign_in()

        # Who comes back with what they knew is told that the log does not go on from there.
        here.enter(7)
        with Stream(f"{here.url}/api/v1/realtime/ledger", last_event_id=here.last, timeout=SECONDS) as stream:
            begun = stream.until("reset", SECONDS).id
            assert int(begun) > int(here.last)
        with Stream(f"{here.url}/api/v1/realtime/ledger", last_event_id=begun, timeout=SECONDS) as stream:
            here.enter(8)
            amounts = [stream.until("record.created", SECONDS).data["data"]["amount"]]
            if amounts == [7]:  # this worker had not read so far when it said where the log begins
                amounts = [stream.until("record.created", SECONDS).data["data"]["amount"]]
            assert amounts == [8]

        # What was told once is not told again, and what is new is told.
        here.wait(lambda: len(here.deliveries()) == 4)
        told_before = [one for one in here.deliveries() if "restored" in (one["error"] or "")]
        assert len(told_before) == 2 and {one["status"] for one in told_before} == {"failed"}

        # Staged, given up, staged again: the next start restores it.
        assert here.ask("POST", path).json() == {
            "success": True,
            "backup_filename": here.backup["filename"],
            "status": "pending_restart",
            "message": "Backup staged for restore. Please restart the server to complete restoration.",
        }
        assert here.ask("GET", "backups/restore").json()["status"] == "pending_restart"
        assert here.ask("DELETE", "backups/restore").json()["cancelled"] is True
        assert here.ask("POST", path).status_code == 200
        assert here.amounts_everywhere() == {(1, 2, 7, 8)}
        here.server.kill()
        here.server.start()
        assert here.amounts_everywhere() == {(1, 2)}
        here.sign_in()
        here.enter(9)
        assert here.amounts_everywhere() == {(1, 2, 9)}
        assert here.ask("GET", "backups/restore").json()["status"] == "none"
