"""A server under measurement: a process on one core, and what it costs.

CPU and memory are those of the process and its children, as the kernel counts
them: CPU in ticks of ``TICK`` seconds, so a window of 2 s is right within 1 %.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from bench import common, postgres

TICK = 1 / os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES, LOAD_CORES = {CORES[0]}, {CORES[-1]}
START_SECONDS = 60


@dataclass
class Server:
    """``command`` listening on ``port``, once started; it logs into ``folder``."""

    command: Sequence[str]
    port: int
    folder: Path
    health: str
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: Iterable[int] = frozenset(SERVER_CORES)

    def start(self) -> float:
        """Start it and wait for its first answer; how many seconds that took."""
        began = time.perf_counter()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=common.ROOT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
            )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                self._process.kill()
                raise RuntimeError(f"{self.command} does not answer:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.002)
        return time.perf_counter() - began

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        try:
            ask(self.port, "GET", self.health)
        except OSError:
            return False
        return True

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def cpu(self) -> float:
        """CPU seconds until now, of the process and its children."""
        return cpu_seconds(family(self.pid))

    @property
    def database_cpu(self) -> float:
        """The same of PostgreSQL's processes that serve it."""
        return cpu_seconds(postgres.backends())

    @property
    def rss_mb(self) -> float:
        """Resident memory now, of the process and its children together."""
        return sum(common.rss_mb(pid) for pid in family(self.pid))

    @property
    def peak_mb(self) -> float:
        """The most that was ever resident."""
        return sum(common.memory_mb(pid, "status", "VmHWM") for pid in family(self.pid))


def family(pid: int) -> list[int]:
    """The process and its children."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for thread in os.listdir(f"/proc/{one}/task"):
            waiting += map(int, Path(f"/proc/{one}/task/{thread}/children").read_text().split())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes with all their threads."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total * TICK


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, body: Any = None, token: str = "") -> Any:
    """The parsed answer to one request, for preparations. Raises as :func:`fetch`."""
    raw = fetch(port, method, path, body, token)[1]
    return json.loads(raw) if raw else None


def fetch(port: int, method: str, path: str, body: Any = None, token: str = "") -> tuple[Message, bytes]:
    """Headers and body. Raises OSError while nobody listens, RuntimeError for a refusal."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {raw[:500]!r}")
    return answer.headers, raw


def finish(command: Sequence[str]) -> None:
    """Run a command to its end. Raises RuntimeError with what it said if it fails."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{ended.stdout}{ended.stderr}")
