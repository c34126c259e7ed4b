"""Webhooks through one worker: deliveries a second, and how long they take with dead receivers among many.

python -m bench.webhooks

Receivers are HTTP servers in a process of their own. The worker is this process: the writer writes
records by the product's own functions, as a request would, and the task sends.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import statistics
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench import common
from bench.common import Row

RECEIVERS = 100
EVENTS = 100  # for all receivers, in a row
PER_SECOND = 3  # events while the latency is measured
SECONDS = 20


class _Receiver(asyncio.Protocol):
    """Answers each request with 200 at once, or never; notes when its first delivery of each event came."""

    came: list[tuple[str, float]] = []
    dead = False

    def connection_made(self, transport: Any) -> None:
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
            length = int(fields[b"content-length"])
            if len(rest) < length:
                return
            self._received = rest[length:]
            if not self.dead:
                self.came.append((fields[b"webhook-id"].decode(), time.time()))
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class _Dead(_Receiver):
    dead = True


def _receive(sockets: list[socket.socket], dead: socket.socket, told: Connection) -> None:
    """The process of the receivers; tells what came when it is asked."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for one in sockets:
            await loop.create_server(_Receiver, sock=one)
        await loop.create_server(_Dead, sock=dead)
        told.send("ready")
        while await asyncio.to_thread(told.recv):
            told.send(list(_Receiver.came))
            _Receiver.came.clear()

    asyncio.run(run())


def _listener() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0), backlog=1024)
    made.setblocking(False)
    return made


class _Bench:
    def __init__(self, folder: Path) -> None:
        from accounts.principals import SYSTEM
        from collections_app import builtin
        from collections_app.schema import service

        builtin.ensure_builtin(None, "default")
        self.collection = service.collection_create(
            actor=SYSTEM, payload={"name": "notes", "schema": [{"name": "title", "type": "text"}]}
        )
        listeners, dead = [_listener() for _ in range(RECEIVERS)], _listener()
        self.urls = [f"http://127.0.0.1:{one.getsockname()[1]}/" for one in listeners]
        self.dead = f"http://127.0.0.1:{dead.getsockname()[1]}/"
        self.told, theirs = multiprocessing.Pipe()
        fork = multiprocessing.get_context("fork")
        self.process = fork.Process(target=_receive, args=(listeners, dead, theirs), daemon=True)
        self.process.start()
        for one in (*listeners, dead):
            one.close()
        self.told.recv()
        self.written: dict[str, float] = {}

    def webhooks(self, good: int, dead: int) -> None:
        from collections_app import events
        from webhooks.models import Webhook

        Webhook.objects.all().delete()
        after = events.settled_id()
        for url in [*self.urls[:good], *[self.dead] * dead]:
            Webhook.objects.create(
                url=url, collection_id=self.collection.id, events=["create"], after_event=after, secret=""
            )

    def write(self) -> None:
        from accounts.principals import SYSTEM
        from collections_app import events
        from collections_app.records import operations
        from collections_app.records.operations import Call

        call = Call(principal=SYSTEM, method="POST", path="notes")
        operations.record_create(call, "notes", {"title": "what a receiver is told of, a line or so"})
        self.written[f"evt_{events.settled_id()}"] = time.time()

    def came(self) -> list[tuple[str, float]]:
        self.told.send("?")
        found: list[tuple[str, float]] = self.told.recv()
        return found

    def throughput(self) -> tuple[float, float]:
        """Deliveries a second, and CPU milliseconds for each, when much is due."""
        from webhooks import planning, sending

        self.webhooks(RECEIVERS, 0)
        for _ in range(common.scaled(EVENTS)):
            self.write()
        planning.make_deliveries()
        began, cpu = time.monotonic(), time.process_time()
        count = sending.send_due()
        took = time.monotonic() - began
        assert len(self.came()) == count
        return count / took, (time.process_time() - cpu) * 1000 / count

    def latencies(self, dead: int) -> list[float]:
        """Seconds from each commit to each good receiver, at a few events a second."""
        from core import background

        self.webhooks(RECEIVERS - dead, dead)
        background.worker.start()
        try:
            until = time.monotonic() + max(SECONDS * common.SCALE, 1)
            while time.monotonic() < until:
                self.write()
                time.sleep(1 / PER_SECOND)
            time.sleep(2)
        finally:
            background.worker.stop()
        found = self.came()
        return sorted(at - self.written[event] for event, at in found)

    def close(self) -> None:
        self.process.kill()
        self.process.join()


def main() -> list[Row]:
    with common.start(WEBHOOK_ALLOW_PRIVATE="true", LOG_LEVEL="ERROR") as folder:
        bench = _Bench(folder)
        try:
            common.say(f"process {os.getpid()}, {threading.active_count()} threads")
            per_second, cpu = bench.throughput()
            rows = [
                Row("deliveries a second through one worker", per_second, "/s", 300, more_is_better=True),
                Row("CPU of a delivery", cpu, "ms"),
            ]
            for dead in (1, 20):
                found = bench.latencies(dead)
                what = f"from commit to good receivers, {dead} of {RECEIVERS} dead"
                p95 = found[int(len(found) * 0.95)]
                rows += [
                    Row(f"{what}: median", statistics.median(found) * 1000, "ms"),
                    Row(f"{what}: p95", p95 * 1000, "ms", 2000),
                ]
            return rows
        finally:
            bench.close()


if __name__ == "__main__":
    common.run(main)
