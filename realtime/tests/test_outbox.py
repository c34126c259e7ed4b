"""What is sent to a client at once, what waits, and when one is given up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from realtime import outbox
from realtime.outbox import Outbox


class Client:
    """Takes a piece at a time while ``reads`` is set; ``gone`` is what the server raises for it."""

    def __init__(self):
        self.got, self.cuts = [], 0
        self.reads, self.gone = asyncio.Event(), None
        self.reads.set()
        self.outbox = Outbox(self.send, self.cut)

    async def send(self, piece):
        await self.reads.wait()
        if self.gone is not None:
            raise self.gone
        self.got.append(piece)

    def cut(self):
        self.cuts += 1


def with_client(act):
    async def run():
        client = Client()
        await act(client)
        await asyncio.sleep(0)

    asyncio.run(run())


def test_who_reads_gets_it_before_put_returns():
    async def act(client):
        client.outbox.put(b"a")
        client.outbox.put(b"b")
        assert client.got == [b"a", b"b"]

    with_client(act)


def test_who_does_not_read_for_a_while_gets_all_in_order():
    async def act(client):
        client.reads.clear()
        for piece in (b"a", b"b", b"c"):
            client.outbox.put(piece)
        assert client.got == []
        client.reads.set()
        await client.outbox.drained()
        client.outbox.put(b"d")
        assert client.got == [b"a", b"b", b"c", b"d"] and not client.cuts

    with_client(act)


@pytest.mark.parametrize("piece", [b"x", b"x" * 10_000])
def test_who_does_not_read_at_all_is_cut_once(piece):
    async def act(client):
        client.reads.clear()
        for _ in range(outbox.MAX_PIECES + 10):
            client.outbox.put(piece)
        assert client.cuts == 1 and client.outbox.is_cut
        client.outbox.put(b"more")
        client.outbox.end()
        client.outbox.cut()
        client.reads.set()
        await asyncio.sleep(0.01)
        assert client.got == [] and client.cuts == 1

    with_client(act)


def test_who_has_gone_is_cut_whenever_that_shows():
    async def act(client):
        client.gone = OSError("gone")
        client.outbox.put(b"a")
        assert client.cuts == 1

    async def later(client):
        client.reads.clear()
        client.outbox.put(b"a")
        client.gone = OSError("gone")
        client.reads.set()
        await client.outbox.drained()
        assert client.cuts == 1

    with_client(act)
    with_client(later)


def test_the_end_comes_after_what_is_waiting_and_nothing_after_it():
    async def act(client):
        client.reads.clear()
        client.outbox.put(b"a")
        client.outbox.end()
        client.outbox.end()
        client.outbox.put(b"late")
        client.reads.set()
        await client.outbox.drained()
        assert client.got == [b"a", b""] and not client.cuts

    with_client(act)


def test_who_does_not_take_the_end_is_cut(monkeypatch):
    monkeypatch.setattr(outbox, "LINGER_SECONDS", 0.02)

    async def act(client):
        client.reads.clear()
        client.outbox.put(b"a")
        client.outbox.end()
        await asyncio.sleep(0.05)
        assert client.cuts == 1

    with_client(act)


def test_who_is_waited_for_is_cut_only_when_taking_nothing(monkeypatch):
    async def slow(client):
        monkeypatch.setattr(outbox, "STALLED_SECONDS", 1000)
        loop, turns, ahead = asyncio.get_running_loop(), asyncio.Semaphore(0), 0
        on_time = loop.time
        monkeypatch.setattr(loop, "time", lambda: on_time() + ahead)
        client.reads = SimpleNamespace(wait=turns.acquire)
        for _ in range(5):
            client.outbox.put(b"a")

        async def read():
            nonlocal ahead
            for number in range(1, 6):
                ahead += 600
                turns.release()
                for _ in range(10):
                    await asyncio.sleep(0)
                assert len(client.got) == number

        reader = asyncio.create_task(read())
        await client.outbox.drained()
        await reader
        assert len(client.got) == 5 and not client.cuts

    async def stalled(client):
        monkeypatch.setattr(outbox, "STALLED_SECONDS", 0.05)
        client.reads.clear()
        client.outbox.put(b"a")
        await client.outbox.drained()
        assert client.cuts == 1

    with_client(slow)
    with_client(stalled)
