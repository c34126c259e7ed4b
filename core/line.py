"""The connection that an answer runs on, for what ASGI has no words for.

``serve`` puts one into the ``state`` of every scope (cms_project/connections.py); other
servers don't, and those who stream or send files do without.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from core.asgi import ClientGone

KEY = "fastcms.line"


class Line:
    """``when_ending`` is called when the server is about to end; ``is_ending`` says that it is.

    ``note_sent`` learns of bytes of the answer under way that went past the server.
    """

    __slots__ = ("_note_sent", "_transport", "_waiting", "is_ending", "is_lost", "takes_files", "when_ending")

    def __init__(self, transport: asyncio.Transport, note_sent: Callable[[int], None] | None = None) -> None:
        self._transport = transport
        self._note_sent = note_sent
        self._waiting: asyncio.Future[None] | None = None
        self.is_ending = self.is_lost = False
        self.takes_files = (
            note_sent is not None and sys.platform == "linux" and transport.get_extra_info("sslcontext") is None
        )
        self.when_ending: Callable[[], None] | None = None

    def abort(self) -> None:
        """Break the connection at once: what is still to be sent is dropped, also by the kernel."""
        self._set(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def lose(self) -> None:
        """The connection is gone."""
        self.is_lost = True
        _wake(self._waiting)

    async def break_off(self) -> NoReturn:
        """Break an answer in the middle; raises ClientGone when the server knows of it."""
        self.abort()
        while not self.is_lost:
            await asyncio.sleep(0)
        raise ClientGone

    async def send_at_once(self, send: Any, message: Any) -> None:
        """Send a message so that its bytes are with the kernel afterwards. Raises ClientGone."""
        self._transport.set_write_buffer_limits(0)
        try:
            await send(message)
        finally:
            self._transport.set_write_buffer_limits()
        while self._transport.get_write_buffer_size() and not self.is_lost:
            await asyncio.sleep(0)  # at most what earlier answers have left
            if self._transport.get_write_buffer_size():
                await self._room(60)

    async def send_file(self, file: int, start: int, count: int, patience: float) -> int:
        """Have the kernel send up to ``count`` bytes of an open file; answers how many it took.

        Waits for room, and breaks off when there is none for ``patience`` seconds. Raises ClientGone.
        """
        while not self.is_lost:
            ours = self._transport.get_extra_info("socket")
            try:
                sent = os.sendfile(ours.fileno(), file, start, count)
            except BlockingIOError:
                await self._room(patience)
                continue
            except OSError:
                await self.break_off()
            if self._note_sent is not None:
                self._note_sent(sent)
            return sent
        raise ClientGone

    async def _room(self, patience: float) -> None:
        """Wait until the kernel takes more. Raises ClientGone."""
        loop, ours = asyncio.get_running_loop(), self._transport.get_extra_info("socket")
        if self.is_lost or ours is None or ours.fileno() < 0:
            raise ClientGone
        waiting = self._waiting = loop.create_future()
        same = os.dup(ours.fileno())  # the loop watches its own by itself
        loop.add_writer(same, _wake, waiting)
        try:
            async with asyncio.timeout(patience):
                await waiting
        except TimeoutError:
            await self.break_off()
        finally:
            self._waiting = None
            loop.remove_writer(same)
            os.close(same)

    def notice_silence(self, seconds: float) -> None:
        """Have the kernel give up when nothing of what was sent is acknowledged for so long.

        Else it waits a quarter of an hour for a machine that has lost its power. Linux only.
        """
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self._set(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    def _set(self, level: int, option: int, value: int | bytes) -> None:
        ours = self._transport.get_extra_info("socket")
        if ours is None or ours.fileno() < 0:
            return  # closed already
        with (
            socket.socket(fileno=os.dup(ours.fileno())) as same,  # the loop's own socket object sets no options
            suppress(OSError),  # a Unix socket has no such thing
        ):
            same.setsockopt(level, option, value)

    def end(self) -> None:
        """The server is about to end."""
        self.is_ending = True
        if self.when_ending is not None:
            self.when_ending()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def line_of(scope: Any) -> Line | None:
    """The line that this scope came on, where the server tells."""
    return (scope.get("state") or {}).get(KEY)
