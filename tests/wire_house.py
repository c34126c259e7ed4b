"""A served house of its own for tests of streams and sockets: it outlives a test, and so does what is in it.

Nothing is limited there, the first account is the admin's, and its database is an SQLite file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
from django.utils.crypto import salted_hmac
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.server import SECRET_KEY, Server, server
from tests.sse_client import Stream

PASSWORD = "correct-horse-7"


class Socket:
    """A WebSocket of JSON messages."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def say(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def next(self, timeout: float = 30) -> dict[str, Any]:
        return dict(json.loads(self.connection.recv(timeout)))

    def until(self, kind: str, timeout: float = 30) -> dict[str, Any]:
        while (found := self.next(timeout))["type"] != kind:
            pass
        return found

    def ask(self, **message: Any) -> dict[str, Any]:
        self.say(**message)
        return self.next()

    def quiet(self, seconds: float = 0.3) -> bool:
        try:
            self.next(seconds)
        except TimeoutError:
            return True
        return False

    def close_code(self, timeout: float = 30) -> int | None:
        """The code that the server closes with; None where it does not within that time."""
        try:
            while True:
                self.connection.recv(timeout)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


class House:
    def __init__(self, running: Server, database: Path) -> None:
        self._database = database
        self.server, self.url = running, running.url
        self.http = httpx.Client(base_url=running.url, timeout=60)
        self.token = self.register("first")["access_token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def register(self, name: str, realm: str = "") -> dict[str, Any]:
        """Another account: its tokens, its id. Of ``users``, or of an auth collection."""
        path = f"/api/v1/collections/{realm}/auth/register" if realm else "/api/v1/auth/register"
        account = {"email": f"{name}@example.com", "password": PASSWORD}
        return dict(httpx.post(f"{self.url}{path}", json=account, timeout=60).raise_for_status().json())

    def collection(self, name: str, list_rule: str | None = None, **more: Any) -> None:
        """With a text ``title``; whoever the rule says may list it, and nobody but admins may write."""
        definition = {"name": name, "schema": [{"name": "title", "type": "text"}], "list_rule": list_rule, **more}
        answer = self.http.post("/api/v1/collections", json=definition)
        assert answer.status_code == 201, answer.text

    def create(self, collection: str, title: str) -> dict[str, Any]:
        answer = self.http.post(f"/api/v1/collections/{collection}/records", json={"title": title})
        return dict(answer.raise_for_status().json())

    def repeat_last_event(self, times: int) -> int:
        """Have the log hold the last event so many times more; the id of the last. Quicker than that many writes."""
        columns = "type, collection, collection_id, record_id, revision, data, previous, actor, timestamp"
        series = f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {times})"
        with closing(sqlite3.connect(self._database, timeout=30)) as database:
            database.execute(
                f"{series} INSERT INTO events ({columns}) SELECT {columns} FROM events, n "
                "WHERE id = (SELECT max(id) FROM events)"
            )
            database.commit()
            return int(database.execute("SELECT max(id) FROM events").fetchone()[0])

    def ticket(self, token: str = "") -> str:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return str(self.http.post("/api/v1/realtime/ticket", headers=headers).raise_for_status().json()["ticket"])

    def stream(self, path: str = "", token: str | None = None, *args: Any, **options: Any) -> Stream:
        return Stream(f"{self.url}/api/v1/realtime{path}", token, *args, **options)

    @contextmanager
    def socket(self, query: str = "", path: str = "/api/v1/ws/realtime", **options: Any) -> Iterator[Socket]:
        options = {"open_timeout": 60} | options
        with connect(f"{self.url.replace('http', 'ws')}{path}{query}", **options) as connection:
            yield Socket(connection)

    @property
    def log(self) -> str:
        return self.server.log.read_text()

    def memory(self) -> int:
        """What the server takes, in bytes."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * 4096


def dying_token(token: str, seconds: float) -> str:
    """The same access token, which the server takes for so many seconds more: its clock may be 30 s off."""
    claims = jwt.decode(token, options={"verify_signature": False})
    claims["exp"] = int(time.time() + seconds) - 30
    key = salted_hmac("accounts.tokens", claims["aud"], secret=SECRET_KEY, algorithm="sha256").hexdigest()
    return jwt.encode(claims, key, "HS256")


@contextmanager
def house(folder: Path, **environ: str) -> Iterator[House]:
    with server(
        folder, DATABASE_URL=f"sqlite:///{folder / 'app.db'}", RATE_LIMIT_ENABLED="false", **environ
    ) as running:
        yield House(running, folder / "app.db")
