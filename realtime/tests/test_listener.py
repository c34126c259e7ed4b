"""A stream on a server that gives no line: what is left to do with a client that does not read."""

from __future__ import annotations

import asyncio

import pytest

from accounts.principals import ANONYMOUS
from realtime import hub as hubs
from realtime import outbox
from realtime.frames import Frame
from realtime.sse import stream

pytestmark = [pytest.mark.usefixtures("committed_db")]


def scope():
    return {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/realtime",
        "query_string": b"",
        "headers": [],
        "fastcms.headers": {b"host": b"localhost"},
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "url_route": {"args": (), "kwargs": {"collection": None}},
    }


class Client:
    def __init__(self):
        self.sent, self.reads, self.gone = [], asyncio.Event(), asyncio.Event()
        self.greeted = asyncio.Event()
        self._requests = [{"type": "http.request", "body": b"", "more_body": True}] * 2

    async def receive(self):
        if self._requests:
            return self._requests.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if b"connected" in self.sent[-1].get("body", b"") if self.sent else False:
            await self.reads.wait()
        self.sent.append(message)
        if b"connected" in message.get("body", b""):
            self.greeted.set()


def listen(act):
    async def run():
        client = Client()
        task = asyncio.create_task(stream(scope(), client.receive, client.send))
        try:
            async with asyncio.timeout(10):
                await client.greeted.wait()
                await act(client, task)
        finally:
            await hubs.hub().close()

    asyncio.run(run())


def test_who_does_not_read_is_left():
    async def act(client, task):
        frame = Frame("record.created", data={})
        while not hubs.hub()._followers[0].groups:
            await asyncio.sleep(0.01)
        for _ in range(outbox.MAX_PIECES + 2):
            hubs.hub().tell(frame, lambda caller: caller.principal is ANONYMOUS)
        await task
        assert len(client.sent) == 2 and not hubs.hub()._connections

    listen(act)


def test_who_goes_is_left_and_a_body_in_pieces_is_one_request():
    async def act(client, task):
        assert len(hubs.hub()._connections) == 1
        client.gone.set()
        await task
        assert [message["type"] for message in client.sent] == ["http.response.start", "http.response.body"]
        assert not hubs.hub()._connections

    listen(act)


def test_a_cancelled_server_cancels_its_streams():
    async def act(client, task):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not hubs.hub()._connections

    listen(act)
