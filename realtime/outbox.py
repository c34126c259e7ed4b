"""What is on its way to one client: bounded, so that one who does not read costs nobody else anything."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from core import eager

MAX_PIECES = 2000
MAX_BYTES = 1024 * 1024
STALLED_SECONDS = 30.0  # as long as one who is waited for may take nothing
LINGER_SECONDS = 2.0  # as long as one may take to be told of the end

logger = logging.getLogger("fastcms.realtime")


class Outbox:
    """``send`` puts one piece on the wire, an empty one is the end; ``cut`` is called once, when the client
    is too slow or gone."""

    __slots__ = ("_bytes", "_cut", "_idle", "_is_ended", "_pieces", "_send", "_task", "is_cut")

    def __init__(self, send: Callable[[bytes], Coroutine[Any, Any, None]], cut: Callable[[], None]) -> None:
        self._send, self._cut = send, cut
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Event | None = None
        self.is_cut = self._is_ended = False

    def put(self, piece: bytes) -> None:
        """Send it at once, or after what is waiting."""
        if self.is_cut or self._is_ended:
            return
        if self._task is None:
            try:
                rest = eager.start(self._send(piece))
            except Exception:  # noqa: BLE001 - whatever a server raises for a client that has gone away
                self.cut()
                return
            if rest is not None:
                self._task = asyncio.get_running_loop().create_task(self._go_on(rest))
            return
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes > MAX_BYTES or len(self._pieces) > MAX_PIECES:
            logger.info("a subscriber reads too slowly and is cut off; it may come back to where it was")
            self.cut()

    def end(self) -> None:
        """Nothing comes after what is waiting but the end; one who does not take that is cut."""
        if self._is_ended:
            return
        self.put(b"")
        self._is_ended = True
        if self._task is not None and not self.is_cut:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._give_up)

    async def drained(self) -> None:
        """Wait until nothing is waiting to be sent; one who takes nothing for a long time is cut."""
        while self._task is not None and not self.is_cut:
            self._idle = self._idle or asyncio.Event()
            left = len(self._pieces)
            try:
                async with asyncio.timeout(STALLED_SECONDS):
                    await self._idle.wait()
            except TimeoutError:
                if len(self._pieces) >= left:
                    self.cut()

    def cut(self) -> None:
        """Send nothing more."""
        if self.is_cut:
            return
        self.is_cut = True
        self._pieces.clear()
        if self._task is not None:
            self._task.cancel()
        self._wake()
        self._cut()

    def _give_up(self) -> None:
        if self._task is not None:
            self.cut()

    async def _go_on(self, rest: eager.Rest) -> None:
        try:
            await rest
            while self._pieces:
                piece = self._pieces.popleft()
                self._bytes -= len(piece)
                await self._send(piece)
        except Exception:  # noqa: BLE001 - as above
            self._task = None
            self.cut()
        else:
            self._task = None
            self._wake()

    def _wake(self) -> None:
        if self._idle is not None:
            self._idle.set()
            self._idle = None
