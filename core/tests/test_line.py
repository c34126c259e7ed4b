"""What a line does to its connection, on loopback and under both event loops."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
import uvloop

from core.line import Line, line_of


def connected(loop_factory, act):
    """Run ``act(line, reader of the other end, the line's socket)`` on a connection."""

    async def run():
        lines = asyncio.Queue()

        class Server(asyncio.Protocol):
            def connection_made(self, transport):
                lines.put_nowait((Line(transport), transport))

        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        line, transport = await lines.get()
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same:
            await act(line, reader, same)
        writer.close()
        server.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loops(request):
    return request.param


def test_the_kernel_is_told_how_long_silence_may_last(loops):
    async def act(line, reader, same):
        line.notice_silence(40)
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 40_000

    connected(loops, act)


def test_an_aborted_connection_is_broken_not_closed(loops):
    async def act(line, reader, same):
        line.abort()
        same.close()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        line.abort()
        line.notice_silence(1)

    connected(loops, act)


def test_who_streams_is_told_of_the_end():
    told = []
    line = Line(None)
    line.end()
    line.when_ending = lambda: told.append(line.is_ending)
    line.end()
    assert told == [True]


def test_other_servers_give_no_line():
    assert line_of({}) is None and line_of({"state": {}}) is None
