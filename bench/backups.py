"""A backup while somebody writes: how quick it is, and what writers feel of it.

python -m bench.backups
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import common, ours, servers
from bench.common import Row
from bench.servers import Server
from bench.stock import NOTES, Stock

ROWS = common.scaled(200_000)
FILES, SIZE = common.scaled(500), 1024 * 1024
SECONDS = max(1.0, 10 * min(1.0, common.SCALE))
ADMIN, PASSWORD = "admin@example.com", "correct-horse-battery"


def main() -> list[Row]:
    with TemporaryDirectory(prefix="fastcms-bench-") as name:
        folder = Path(name)
        ours.prepare(folder, ROWS)
        _add_files(folder)
        server = ours.system(folder, Stock(ROWS)).server
        server.start()
        os.sched_setaffinity(0, servers.LOAD_CORES)
        try:
            return _measured(server, folder)
        finally:
            server.stop()


def _measured(server: Server, folder: Path) -> list[Row]:
    login = {"email": ADMIN, "password": PASSWORD}
    token = servers.ask(server.port, "POST", "/api/v1/auth/login", login)["access_token"]
    records = f"/api/v1/collections/{NOTES}/records"
    record = servers.ask(server.port, "GET", f"{records}?per_page=1", token=token)["items"][0]["id"]
    path = f"{records}/{record}"
    with _writing(server.port, path, token) as alone:
        time.sleep(SECONDS)
    before = common.memory_mb(server.pid, "status", "VmHWM")
    with _writing(server.port, path, token) as beside:
        began = time.perf_counter()
        made = servers.ask(server.port, "POST", "/api/v1/backups", {}, token)
        took = time.perf_counter() - began
    size = ((folder / "app.db").stat().st_size + FILES * SIZE) / 1024 / 1024
    return [
        Row("database and files", size, "MB"),
        Row("archive", made["size_bytes"] / 1024 / 1024, "MB"),
        Row("backup", size / took, "MB/s"),
        Row("memory that it takes", common.memory_mb(server.pid, "status", "VmHWM") - before, "MB", 64),
        Row("a write, alone, 99 of 100 within", _percentile(alone, 99), "ms"),
        Row("a write, beside the backup, 99 of 100 within", _percentile(beside, 99), "ms"),
        Row("  the longest", max(beside), "ms", 1000),
        Row("writes a second, alone", len(alone) / SECONDS, "", more_is_better=True),
        Row("  beside the backup", len(beside) / took, "", more_is_better=True),
    ]


@contextmanager
def _writing(port: int, path: str, token: str) -> Iterator[list[float]]:
    """One client that writes all the time; how many milliseconds each write took."""
    found: list[float] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            began = time.perf_counter()
            servers.ask(port, "PATCH", path, {"title": f"note {len(found)}"}, token)
            found.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _percentile(times: list[float], percent: int) -> float:
    return sorted(times)[len(times) * percent // 100]


def _add_files(folder: Path) -> None:
    """Stored files that deflate can't make smaller, and an admin."""
    os.environ.update(ours.environment(folder))
    import django

    django.setup()
    from django.db import connections

    from accounts.models import Role, User
    from collections_app.files import facts, storage
    from collections_app.models import StoredFile
    from core import clock, ids

    User.objects.create_user(ADMIN, PASSWORD, username="admin", verified=True, role=Role.SUPERADMIN)
    for _ in range(FILES):
        name = facts.new_name("jpg")
        storage.current().new(facts.path_of(name), BytesIO(secrets.token_bytes(SIZE)))
        StoredFile.objects.create(
            id=ids.new_id(),
            name=name,
            original_name="photo.jpg",
            size=SIZE,
            mime="image/jpeg",
            sha256="0" * 64,
            state=StoredFile.State.KEPT,
            created=clock.now(),
            since=clock.now(),
        )
    connections.close_all()


if __name__ == "__main__":
    common.run(main)
