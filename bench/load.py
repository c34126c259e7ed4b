"""The load generator: keep-alive connections that each send the next request when the last is answered.

A round starts and ends with nothing under way: after its time no request is
sent any more, and it is over when all are answered. So the CPU that the server
spent between the two moments, divided by the answers, is exact, whether a
request takes 50 µs or 50 ms.

Every status is checked, and the body of every fiftieth answer (and of the
first) in full.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvloop

CONNECTIONS = 16
CHECK_EVERY = 50
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class WrongAnswer(Exception):
    """A system answered something else than what it was asked for."""


@dataclass(frozen=True, slots=True)
class Request:
    """Its bytes, the status that must come back, and what holds for the JSON of the answer."""

    sent: bytes
    status: int = 200
    holds: Callable[[Any], bool] | None = None


# Requests without end, and on how many connections they are sent.
Flow = tuple[Iterator[Request], int]


def flow(requests: Sequence[Request], connections: int = CONNECTIONS) -> Flow:
    """These over and over; the next round goes on where the last has stopped."""
    return itertools.cycle(requests), connections


@dataclass(slots=True)
class Measured:
    """What one flow of requests saw. Times are in seconds, sorted."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.times)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def percentile_ms(self, percent: float) -> float:
        return self.times[min(self.count - 1, int(self.count * percent / 100))] * 1000


def run(port: int, *flows: Flow, seconds: float) -> list[Measured]:
    """Send each flow's requests in turn, on its number of connections, all flows at the same time.

    Raises WrongAnswer for an answer that isn't right, ConnectionError where the server hangs up.
    """
    return uvloop.run(_run(port, flows, seconds))


async def _run(port: int, flows: Sequence[Flow], seconds: float) -> list[Measured]:
    loop = asyncio.get_running_loop()
    measured = [Measured() for _ in flows]
    clients: list[_Client] = []
    for (requests, connections), seen in zip(flows, measured, strict=True):
        for _ in range(connections):
            _, client = await loop.create_connection(partial(_Client, requests, seen), "127.0.0.1", port)
            clients.append(client)
    gc.collect()
    gc.disable()  # its pauses would be taken for the server's
    began = time.perf_counter()
    for client in clients:
        client.start(began + seconds)
    try:
        await asyncio.gather(*(client.done for client in clients))
    finally:
        gc.enable()
        for client in clients:
            client.close()
    for seen in measured:
        seen.seconds = time.perf_counter() - began
        seen.times.sort()
    return measured


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[Request], measured: Measured) -> None:
        self._requests, self._times = requests, measured.times
        self._buffer = b""
        self._unchecked = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def start(self, until: float) -> None:
        self._until = until
        self._send()

    def close(self) -> None:
        self._transport.close()

    def _send(self) -> None:
        self._request = next(self._requests)
        self._sent_at = time.perf_counter()
        self._transport.write(self._request.sent)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        answer = _complete(self._buffer)
        if answer is None:
            return
        now = time.perf_counter()
        self._times.append(now - self._sent_at)
        self._unchecked -= 1
        if answer.status != self._request.status or self._unchecked < 0:
            self._unchecked = CHECK_EVERY - 1
            try:
                _check(self._request, answer.status, answer.body(self._buffer))
            except WrongAnswer as error:
                self.done.set_exception(error)
                return
        self._buffer = b""
        if now < self._until:
            self._send()
        else:
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


@dataclass(frozen=True, slots=True)
class _Answer:
    """Where the body begins in the bytes of a complete answer, and how it is written there."""

    status: int
    start: int
    chunked: bool

    def body(self, raw: bytes) -> bytes:
        rest = raw[self.start :]
        if not self.chunked:
            return rest
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if not length:
                return body
            body, rest = body + rest[:length], rest[length + 2 :]


def _complete(raw: bytes) -> _Answer | None:
    """None while some of the answer is still to come. Nothing is pipelined, so nothing follows it."""
    end = raw.find(b"\r\n\r\n")
    if end < 0:
        return None
    status, start = int(raw[9:12]), end + 4
    length = _LENGTH.search(raw, 0, end)
    if length:
        return _Answer(status, start, False) if len(raw) - start >= int(length[1]) else None
    if _CHUNKED.search(raw, 0, end):
        # The bodies are JSON on one line, so only the last chunk looks like this.
        return _Answer(status, start, True) if raw.endswith(b"\r\n0\r\n\r\n") else None
    return _Answer(status, start, False)  # 204 and 304 have no body


def _check(request: Request, status: int, body: bytes) -> None:
    if status != request.status:
        raise WrongAnswer(f"{status} instead of {request.status}\n{request.sent!r}\n{body[:500]!r}")
    if request.holds is not None and not request.holds(json.loads(body)):
        raise WrongAnswer(f"not what was asked for\n{request.sent!r}\n{body[:500]!r}")
