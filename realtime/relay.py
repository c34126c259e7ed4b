"""What one process tells the others at once: who came and went, and what is said in rooms.

It goes through the Channels layer, at most once: whatever must not be lost is in the
event log, which does not pass here. All processes are in one group; what a message is
about stands in the message, so no name that a client chose is ever that of a group.
Without Redis there is nobody to tell.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings

from core import json

GROUP = "fastcms.relay"
TIMEOUT_SECONDS = 2.0
PAUSE_SECONDS = 5.0  # before Redis is tried again
STAY_SECONDS = 10.0  # how often we enter the group again: it may have been forgotten
BATCH, BATCH_BYTES = 200, 256 * 1024  # what goes together
MAX_WAITING_BYTES = 16 * 1024 * 1024

logger = logging.getLogger("fastcms.realtime")

Listener = Callable[[dict[str, Any]], None]


class Relay:
    """Of one process, on its event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._me = secrets.token_hex(8)
        self._listeners: dict[str, Listener] = {}
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._sending: asyncio.Task[None] | None = None
        self._is_away = False
        self._entered = asyncio.Event()
        self._layer: Any = get_channel_layer() if settings.REDIS_URL else None
        self._staying = None if self._layer is None else self.loop.create_task(self._stay())

    def listen(self, subject: str, listener: Listener) -> None:
        """Be told what the other processes have to say about it."""
        self._listeners[subject] = listener

    async def ready(self) -> None:
        """Wait until we are told what the others say, or Redis is known to be away."""
        if self._staying is not None:
            await self._entered.wait()

    def tell(self, subject: str, **message: Any) -> None:
        """Tell the others, in the order of the calls; lost where Redis is away or does not keep up."""
        if self._layer is None or self._is_away:
            return
        raw = json.dumps({"subject": subject, **message})
        if self._bytes + len(raw) > MAX_WAITING_BYTES:
            logger.warning("Redis does not keep up, what is said here is not heard in other processes")
            return
        self._waiting.append(raw)
        self._bytes += len(raw)
        if self._sending is None:
            self._sending = self.loop.create_task(self._send())

    async def close(self) -> None:
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=TIMEOUT_SECONDS)
        if self._staying is not None:
            self._staying.cancel()
            await asyncio.gather(self._staying, return_exceptions=True)

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch: list[bytes] = []
                size = 0
                while self._waiting and len(batch) < BATCH and size < BATCH_BYTES:
                    batch.append(self._waiting.popleft())
                    size += len(batch[-1])
                self._bytes -= size
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._layer.group_send(GROUP, {"type": "relay", "from": self._me, "messages": batch})
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with Redis, this process goes on
            self._lose(fault)
        finally:
            self._sending = None

    async def _stay(self) -> None:
        """Be in the group, and listen."""
        while True:
            channel = await self._layer.new_channel("relay")
            hearing: asyncio.Task[None] | None = None
            pause = PAUSE_SECONDS
            try:
                while True:
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        await self._layer.group_add(GROUP, channel)
                    hearing = hearing or self.loop.create_task(self._hear(channel))
                    if self._is_away:
                        logger.warning("Redis is back, the processes hear of each other")
                    self._is_away = False
                    self._entered.set()
                    done, _ = await asyncio.wait([hearing], timeout=STAY_SECONDS)
                    for task in done:
                        task.result()
            except Exception as fault:  # noqa: BLE001 - as above
                pause = PAUSE_SECONDS if self._is_away else 0.1  # it may be but the connection
                self._lose(fault)
            finally:
                if hearing is not None:
                    hearing.cancel()
                    await asyncio.gather(hearing, return_exceptions=True)
            self._entered.set()
            await asyncio.sleep(pause)

    async def _hear(self, channel: str) -> None:
        while True:
            heard = await self._layer.receive(channel)
            if heard["from"] == self._me:
                continue
            for raw in heard["messages"]:
                message = json.loads(raw)
                listener = self._listeners.get(message["subject"])
                if listener is not None:
                    listener(message)
            await asyncio.sleep(0)

    def _lose(self, fault: Exception) -> None:
        if not self._is_away:
            logger.warning("Redis is away, each process hears only of itself: %r", fault)
        self._is_away = True
        self._waiting.clear()
        self._bytes = 0


known: Relay | None = None


def relay() -> Relay:
    """This process's, made on its event loop."""
    global known
    if known is None or known.loop is not asyncio.get_running_loop():
        known = Relay()
    return known
