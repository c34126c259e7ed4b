"""What everybody who listens has in common, over whichever protocol: a way in, a way out, and a line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from django.conf import settings

from core.errors import ServiceUnavailable
from core.line import Line, line_of
from realtime import callers, presence
from realtime.callers import NOBODY, Caller
from realtime.frames import Frame
from realtime.hub import Hub, hub
from realtime.outbox import Outbox
from realtime.subscriptions import Subscription
from settings_app import seen
from settings_app.declared import MAINTENANCE

GHOST_SECONDS = 50  # until a connection is known to be dead whose other end has vanished

logger = logging.getLogger("fastcms.realtime")


class Listener(AsyncConsumer):
    """A connection, from its beginning until either side ends it.

    What is sent goes through ``outbox``, which is there once the client has been let in.
    """

    channel_layer_alias = ""  # none: what it is told comes from the hub

    caller: Caller = NOBODY
    hub: Hub
    line: Line | None = None
    outbox: Outbox | None = None
    is_ending = False
    is_greeted = False  # nothing is told before the first thing
    _is_in = _is_cut = False
    _task: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._task, self.line = asyncio.current_task(), line_of(scope)
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            if not self._is_cut:
                raise
        finally:
            self._task = None
            self.leave()
            if self.line is not None and self.line.when_ending == self.end:
                self.line.when_ending = None

    # --- coming and going ------------------------------------------------------------------------

    async def enter(self) -> None:
        """Be one of those who are connected; ServiceUnavailable where there are too many."""
        self.hub = hub()
        await self.hub.ready()
        await presence.ready()
        self.hub.enter(self)
        self._is_in = True

    async def identify(self, headers: Mapping[bytes, bytes], token: str) -> Caller:
        return await self.hub.in_thread(partial(callers.identify, headers, token))

    def stay(self, caller: Caller) -> None:
        """Somebody who may; ServiceUnavailable where the server is about to end."""
        self.caller = caller
        if self.line is not None:
            self.line.when_ending = self.end
            self.line.notice_silence(max(10, GHOST_SECONDS - settings.REALTIME_HEARTBEAT_SECONDS))
        if self.is_ending or (self.line is not None and self.line.is_ending):
            raise ServiceUnavailable(retry_after=1)
        self.outbox = Outbox(self.write, self.cut)

    def leave(self) -> None:
        """Be told nothing more."""
        if self._is_in:
            self._is_in = False
            self.hub.leave(self)
            presence.leave(self)

    def cut(self) -> None:
        """Break the connection: ASGI has no word for that, so where the server has none either, go."""
        self.leave()
        self._is_cut = True
        if self.line is not None:
            self.line.abort()
        elif self._task is not None:
            self._task.cancel()

    async def catch_up(self, subscription: Subscription, position: int) -> None:
        """Have the subscription told of all after that position; a client for whom that fails comes back."""
        if not self._is_in:
            return
        try:
            await self.hub.subscribe(subscription, position)
        except Exception:
            logger.exception("a subscriber could not be let in; it will come back")
            self.cut()

    def greeted(self, user_id: str) -> None:
        """It has been sent the first thing; with a ``user_id`` it makes somebody present."""
        self.is_greeted = True
        if self._is_in:
            presence.join(self, user_id)

    # --- what the protocols are --------------------------------------------------------------------

    async def write(self, piece: bytes) -> None:
        """Put it on the wire; an empty one is the end."""
        raise NotImplementedError

    def show(self, frame: Frame) -> None:
        """Send a frame that belongs to no subscription."""
        raise NotImplementedError

    def tell(self, frame: Frame) -> None:
        if self.is_greeted:
            self.show(frame)

    def end(self) -> None:
        """Tell the client that this is the end."""
        raise NotImplementedError

    async def drained(self) -> None:
        if self.outbox is not None:
            await self.outbox.drained()


RESTART, SIGNED_OUT = 1012, 4401  # why a socket is closed


class SocketListener(Listener):
    """What all WebSockets do alike at their end."""

    _close_code = SIGNED_OUT

    async def websocket_disconnect(self, message: Any) -> None:
        raise StopConsumer

    def beat(self) -> None:
        """The server itself sends pings."""

    def end(self) -> None:
        is_restart = self.hub.is_closing or (self.line is not None and self.line.is_ending) or seen.value(MAINTENANCE)
        self.close(RESTART if is_restart else SIGNED_OUT)

    def close(self, code: int) -> None:
        """Say why, and go; who has not been let in yet is refused instead."""
        self.is_ending = True
        if self.outbox is not None:
            self._close_code = code
            self.leave()
            self.outbox.end()

    async def write(self, piece: bytes) -> None:
        if piece:
            await self.base_send({"type": "websocket.send", "text": piece.decode()})
        else:
            await self.base_send({"type": "websocket.close", "code": self._close_code})
