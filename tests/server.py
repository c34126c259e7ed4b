"""``manage.py serve`` in processes of its own, on the test's database, to be killed at will."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from collections_app.tests.other_process import ROOT, environment

SECRET_KEY = "of-a-server-under-test-" * 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server. ``url`` is its address, ``log`` the file that its output goes to."""

    def __init__(self, data_dir: Path, **environ: str) -> None:
        self._data_dir, self._environ = data_dir, environ
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--port", str(self.port)],
                cwd=ROOT,
                env=environment(self._data_dir, **self._given()),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_it_answers()

    def _given(self) -> dict[str, str]:
        return {"LOG_LEVEL": "WARNING", "SECRET_KEY": SECRET_KEY, "BASE_URL": self.url} | self._environ

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=60).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text()[-5000:])

    def kill(self) -> None:
        """``kill -9`` to all of it at once, as when the power of the process goes."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def leave(self) -> int:
        """Ask it to go, as a service manager does; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def workers(self) -> list[int]:
        """The processes under the one that we started; none where that one answers itself."""
        assert self._process is not None
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        children = [int(child) for thread in threads for child in thread.read_text().split()]
        return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def kill_a_worker(self) -> None:
        """``kill -9`` to one of those who answer; the supervisor lives and makes a new one."""
        os.kill(self.workers()[0], signal.SIGKILL)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self.is_alive():
            self.kill()


@contextmanager
def server(data_dir: Path, **environ: str) -> Iterator[Server]:
    running = Server(data_dir, **environ)
    try:
        running.start()
        yield running
    finally:
        running.stop()
