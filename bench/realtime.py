"""Subscribers over server-sent events: what one create costs and how soon all know of it, and what an idle one weighs.

python -m bench.realtime [--subscribers …] [--idle …] [--keep FOLDER] [--database postgres://…]

PocketBase beside us. Its subscribers are asked for each record, ours are one group
where the same rule shows them the same; so a third round has a caller of its own, and
a rule about the record, for each of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import uvloop

from bench import common, ours, pair, servers, stock
from bench.systems import System

SUBSCRIBERS, IDLE = common.scaled(500), common.scaled(5000)
CREATES = common.scaled(100)
PAUSE_SECONDS = 0.05  # between two creates: each is a burst of its own
OTHERS = "others"
HOW = """{} subscribers, {} creates one after the other, {:g} s apart. A delivery is one event at one subscriber; ms are
from sending the create to the event's arrival. CPU is of the server, the creates' own included; the server has one
core, and the load generator another."""
HOW_IDLE = "Resident memory of the server with {} subscribers, less what it was without, divided by them."


@dataclass
class Round:
    """What was seen of one kind of subscribers."""

    arrived: list[float] = field(default_factory=list)  # seconds after the create was sent
    answered: list[float] = field(default_factory=list)  # when the create itself was answered
    cpu: float = 0.0


class Subscriber(asyncio.Protocol):
    """One stream: counts the events that it is told of."""

    def __init__(self, request: bytes) -> None:
        self._request, self._buffer = request, b""
        self.hello: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.told: list[float] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.hello.done():
            self._buffer += data
            if b"lientId" in self._buffer or b"client_id" in self._buffer:
                line = next(line for line in self._buffer.split(b"\n") if line.startswith(b"data:"))
                told = json.loads(line[5:])
                self.hello.set_result(told.get("clientId") or told["client_id"])
            return
        count = data.count(b"\ndata:")
        if count:
            self.told += [time.perf_counter()] * count


async def subscribe(system: System, collection: str, tokens: Sequence[str], count: int) -> list[Subscriber]:
    """That many streams of the collection, all of them told that they are connected."""
    loop = asyncio.get_running_loop()
    port = system.server.port
    found: list[Subscriber] = []
    is_ours = system.name == ours.NAME
    for number in range(count):
        token = tokens[number % len(tokens)]
        path = f"/api/v1/realtime/{collection}?token={quote(token)}" if is_ours else "/api/realtime"
        sent = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n".encode()
        _, subscriber = await loop.create_connection(lambda sent=sent: Subscriber(sent), "127.0.0.1", port)
        client_id = await subscriber.hello
        if not is_ours:
            wanted = {"clientId": client_id, "subscriptions": [f"{collection}/*"]}
            await asyncio.to_thread(servers.ask, port, "POST", "/api/realtime", wanted, token)
        found.append(subscriber)
    return found


async def measure(system: System, collection: str, tokens: Sequence[str], count: int) -> Round:
    """One round; raises RuntimeError where a subscriber was not told of a create."""
    subscribers = await subscribe(system, collection, tokens, count)
    port, seen = system.server.port, Round()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(-3, CREATES):
        for one in subscribers:
            one.told.clear()
        before, sent_at = system.server.cpu, time.perf_counter()
        record = system.shelf.record(number + 10, system.member) | {"owner": system.member}
        del record["cost"]  # only admins write hidden fields
        writer.write(system.request("POST", system.path(collection), body=record).sent)
        head = await reader.readuntil(b"\r\n\r\n")
        answered = time.perf_counter() - sent_at
        if f" {system.created} ".encode() not in head:
            raise RuntimeError(f"{system.name}: {head!r}")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        deadline = time.perf_counter() + 10
        while not all(one.told for one in subscribers):
            if time.perf_counter() > deadline:
                silent = sum(not one.told for one in subscribers)
                raise RuntimeError(f"{system.name}: {silent} of {count} subscribers were not told")
            await asyncio.sleep(0.002)
        await asyncio.sleep(PAUSE_SECONDS)
        if number >= 0:
            seen.cpu += system.server.cpu - before
            seen.answered.append(answered)
            seen.arrived += [one.told[0] - sent_at for one in subscribers]
    writer.close()
    for one in subscribers:
        one.transport.close()
    await asyncio.sleep(0.5)
    return seen


async def weigh(system: System, collection: str, tokens: Sequence[str], count: int) -> float:
    """Kilobytes of the server's memory for each idle subscriber; of a server that has had none yet."""
    await subscribe(system, collection, tokens, 10)
    before = system.server.rss_mb
    subscribers = await subscribe(system, collection, tokens, count)
    await asyncio.sleep(1)
    weight = (system.server.rss_mb - before) * 1024 / count
    for one in subscribers:
        one.transport.close()
    await asyncio.sleep(1)
    return weight


def line(system: System, what: str, seen: Round, count: int, target_us: float | None) -> list[str]:
    arrived, answered = sorted(seen.arrived), sorted(seen.answered)
    us = seen.cpu * 1e6 / (len(seen.answered) * count)
    p99 = arrived[int(len(arrived) * 0.99)] * 1000
    create = answered[len(answered) // 2] * 1000
    verdict = ["", ""]
    if system.name == ours.NAME and target_us is not None:
        good = us <= target_us and p99 <= 25 and create < 5
        verdict = [f"≤ {target_us:g} µs, p99 ≤ 25 ms, create < 5 ms", "yes" if good else "**no**"]
    median = arrived[len(arrived) // 2] * 1000
    return [f"{system.name}, {what}", f"{us:.1f}", f"{median:.1f}", f"{p99:.1f}", f"{create:.1f}", *verdict]


def distinct(system: System, count: int) -> list[str]:
    """Access tokens of so many members, made beside the server, and the collection that they listen to."""
    ended = subprocess.run(
        [sys.executable, "-m", "bench.realtime", "--members", str(count)],
        cwd=common.ROOT,
        env={**os.environ, **system.server.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(ended.stdout)
    return found


def make_members(count: int) -> None:
    """A collection whose rule asks everybody about each record, accounts, and their access tokens."""
    import django

    django.setup()
    from accounts import tokens
    from accounts.models import User
    from accounts.principals import SYSTEM
    from collections_app.schema import service

    definition = ours.definition(stock.NOTES) | {"name": OTHERS, "list_rule": "owner != @request.auth.id"}
    service.collection_create(actor=SYSTEM, payload=definition)
    found = []
    for number in range(count):
        user = User(email=f"member{number}@example.com", username=f"member{number}", verified=True, password="!")
        user.save()
        found.append(tokens.issue(user).access)
    sys.stdout.write(json.dumps(found))


def main() -> None:
    parser = pair.options(__doc__)
    parser.add_argument("--subscribers", type=int, default=SUBSCRIBERS)
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--members", type=int, help="make accounts for a round, and say their tokens")
    chosen = parser.parse_args()
    if chosen.members:
        make_members(chosen.members)
        return
    chosen.rows = min(chosen.rows, common.scaled(1000))
    count, idle, lines, weights = chosen.subscribers, chosen.idle, [], []
    with pair.running(chosen) as systems:
        for system in systems:
            one = [system.token]
            kilobytes = uvloop.run(weigh(system, stock.PRODUCTS, one, idle))
            verdict = ["≤ 80 kB", "yes" if kilobytes <= 80 else "**no**"] if system.name == ours.NAME else ["", ""]
            weights.append([system.name, f"{kilobytes:.1f}", *verdict])
            seen = uvloop.run(measure(system, stock.PRODUCTS, one, count))
            lines.append(line(system, "everybody who is signed in", seen, count, 20))
            seen = uvloop.run(measure(system, stock.NOTES, one, count))
            lines.append(line(system, "the owner", seen, count, 40))
            if system.name == ours.NAME:
                seen = uvloop.run(measure(system, OTHERS, distinct(system, count), count))
                lines.append(line(system, "a rule about each record, each its own member", seen, count, 40))
    head = ["who is told", "CPU µs per delivery", "ms", "p99 ms", "create answered, ms", "target", ""]
    common.report(
        HOW.format(f"{count:,}", CREATES, PAUSE_SECONDS),
        common.grid(head, lines),
        HOW_IDLE.format(f"{idle:,}"),
        common.grid(["", "kB per idle subscriber", "target", ""], weights),
    )


if __name__ == "__main__":
    main()
