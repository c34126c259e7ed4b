"""What one process writes, a server, one of its workers or a command, reaches the streams of all the others."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from collections_app.models import Event
from collections_app.tests.other_process import ROOT, environment
from collections_app.tests.threads import at_once, faults
from tests.server import SECRET_KEY, Server, server
from tests.sse_client import Stream

pytestmark = [pytest.mark.engine, pytest.mark.slow]

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
NOTES = "/api/v1/collections/notes/records"
SECONDS = 20.0  # that a change may take to get there, on the slowest machine


@pytest.fixture
def notes(make_collection: Any) -> None:
    make_collection("notes", title="text", **OPEN)


@pytest.fixture
def two(notes: None, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with server(tmp_path / "one") as one, server(tmp_path / "two") as two:
        yield one, two


def listen(running: Server, last_event_id: str | None = None) -> Stream:
    stream = Stream(f"{running.url}/api/v1/realtime/notes", last_event_id=last_event_id)
    assert stream.next().type == "connected"
    return stream


def create(running: Server, title: str) -> None:
    assert httpx.post(running.url + NOTES, json={"title": title}).status_code == 201


def take(stream: Stream, *titles: str) -> None:
    """The next events are of these records."""
    found = stream.take(len(titles), SECONDS + len(titles) / 10)
    assert [(frame.type, frame.data["data"]["title"]) for frame in found] == [
        ("record.created", title) for title in titles
    ]


def told_after(stream: Stream, title: str) -> float:
    """How long after it happened the stream was told of that record (seconds)."""
    take(stream, title)
    happened = datetime.fromisoformat(stream.frames[-1].data["timestamp"])
    return (datetime.now(UTC) - happened).total_seconds()


def run_command(data_dir: Path, *arguments: str, **environ: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=environment(data_dir, SECRET_KEY=SECRET_KEY, **environ), capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


WRITE = """
from accounts.principals import SYSTEM
from collections_app.records import operations
from collections_app.records.operations import Call
operations.record_create(Call(principal=SYSTEM, method="POST", path="notes"), "notes", {"title": "by a command"})
"""


def test_a_change_reaches_the_streams_of_every_server(two: tuple[Server, Server], tmp_path: Path) -> None:
    one, other = two
    with listen(one) as here, listen(other) as there:
        waits = []
        for number in range(11):
            create(one, f"from one {number}")
            waits.append(told_after(there, f"from one {number}"))
            take(here, f"from one {number}")
        assert statistics.median(waits) < SECONDS, waits
        create(other, "from the other")
        for stream in (here, there):
            take(stream, "from the other")

        run_command(tmp_path, "shell", "-c", WRITE)
        for stream in (here, there):
            assert told_after(stream, "by a command") < SECONDS

        one.kill()
        create(other, "while one is dead")
        take(there, "while one is dead")
        one.start()
        create(one, "after its death")
        take(there, "after its death")
        with listen(one, here.last_event_id) as again:
            take(again, "while one is dead", "after its death")
            create(other, "to the end")
            take(again, "to the end")
            take(there, "to the end")
    for running in two:
        assert "Traceback" not in running.log.read_text()
    assert Event.objects.filter(type="record.created").count() == 16


def test_servers_that_share_redis_too_tell_of_each_change_once(notes: None, tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        server(tmp_path / "one", REDIS_URL=redis_url) as one,
        server(tmp_path / "two", REDIS_URL=redis_url) as other,
        listen(one) as here,
        listen(other) as there,
    ):
        for number in range(5):
            create(one, str(number))
            create(other, f"other {number}")
        expected = [title for number in range(5) for title in (str(number), f"other {number}")]
        for stream in (here, there):
            take(stream, *expected)
            assert stream.quiet()


def test_every_worker_of_a_server_tells_of_what_the_others_wrote(notes: None, tmp_path: Path) -> None:
    """All come at once, so either worker gets some of them."""
    with server(tmp_path, WORKERS="2") as running:
        streams = at_once(*[lambda: listen(running)] * 12)
        titles = [str(number) for number in range(12)]
        assert not faults([*streams, *at_once(*[partial(create, running, title) for title in titles])])
        told = [[frame.data["data"]["title"] for frame in stream.take(len(titles), SECONDS + 1)] for stream in streams]
        assert sorted(told[0]) == sorted(titles)
        assert all(one == told[0] for one in told)
        running.kill_a_worker()
        ended = [stream for stream in streams if stream.ended(0.2)]
        eventually_create(running, "after its death")
        for stream in streams:
            if stream in ended:
                with listen(running, stream.last_event_id) as again:
                    take(again, "after its death")
            else:
                take(stream, "after its death")
            stream.close()


def eventually_create(running: Server, title: str) -> None:
    """Once; where the dead worker had the connection, nothing was written."""
    latest = time.monotonic() + 30
    while time.monotonic() < latest:
        try:
            create(running, title)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(running.log.read_text()[-3000:])
