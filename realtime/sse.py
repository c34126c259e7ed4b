"""``GET /api/v1/realtime[/{collection}]``: server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

from channels.exceptions import StopConsumer

from core import ids
from core.admission import host_asked_for
from core.asgi import Headers, refusal, send_answer
from core.cors import refuse_strangers
from core.error_adapter import domain_error
from core.errors import ValidationFailed
from core.query_string import known_parameters
from realtime import frames, presence
from realtime.frames import Frame
from realtime.hub import check
from realtime.listener import Listener
from realtime.subscriptions import Subscription

PARAMETERS = frozenset({"query", "token", "user_id", "last_event_id"})
RETRY_MS = 2000
HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx would wait for more
    (b"referrer-policy", b"no-referrer"),  # the address may hold a token
]


class Stream(Listener):
    """One subscriber."""

    _subscription: Subscription
    _user_id = ""
    _past: asyncio.Task[None] | None = None  # what it is told of before it is let in
    _last = 0  # the last event that it was sent

    async def http_request(self, message: Any) -> None:
        """Answer, and stay: what follows is sent as it happens. A body that comes in pieces is let pass."""
        if self.outbox is not None:
            return
        try:
            after = await self._admitted()
        except Exception as fault:
            error = domain_error(fault)
            if error is None:
                raise
            self.leave()
            await send_answer(self.base_send, *refusal(error))
            raise StopConsumer from fault
        assert self.outbox is not None
        collection = self.scope["url_route"]["kwargs"].get("collection")
        await self.base_send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        position = self.hub.position if after is None else after
        hello = frames.connected(ids.new_id(), position, collection)
        self.outbox.put(b"retry: %d\n\n" % RETRY_MS + hello.sse)
        if not self.is_ending and not self.outbox.is_cut:
            self._past = asyncio.create_task(self.catch_up(self._subscription, position))
            self.greeted(self._user_id)

    async def http_disconnect(self, message: Any) -> None:
        raise StopConsumer

    async def _admitted(self) -> int | None:
        """Find out what they want to know; the event from which on."""
        headers = self.scope["fastcms.headers"]
        refuse_strangers(self.scope["path"], headers, host_asked_for(self.scope, headers))
        parameters = known_parameters(self.scope["query_string"].decode("latin1"), PARAMETERS)
        after = event_id(headers.get(b"last-event-id", b"").decode("latin1") or parameters.get("last_event_id", ""))
        self._user_id = presence.checked(parameters.get("user_id", ""))
        await self.enter()
        caller = await self.identify(headers, parameters.get("token", ""))
        collection, query = self.scope["url_route"]["kwargs"].get("collection"), parameters.get("query", "").strip()
        collection_id = await self.hub.in_thread(partial(check, collection, query, caller))
        self.stay(caller)
        self._subscription = Subscription(self, collection_id, query)
        return after

    def leave(self) -> None:
        super().leave()
        if self._past is not None and self._past is not asyncio.current_task():
            self._past.cancel()

    # --- for the hub ---------------------------------------------------------------------------

    def deliver(self, subscription: Subscription, frame: Frame) -> None:
        if frame.id is not None:
            self._last = frame.id
        if self.outbox is not None:
            self.outbox.put(frame.sse)

    def show(self, frame: Frame) -> None:
        if self.outbox is not None:
            self.outbox.put(frame.sse)

    def beat(self) -> None:
        """A comment that keeps the connection open, and from where the client would go on."""
        if self.outbox is not None:
            known = self.hub.known_to(self._subscription)
            self.outbox.put(b": \n\n" if known is None else b": \nid: %d\n\n" % max(known, self._last))

    def end(self) -> None:
        self.is_ending = True
        if self.outbox is not None:
            self.leave()
            self.outbox.end()

    def gone(self, subscription: Subscription, reason: str) -> None:
        self.end()

    async def write(self, piece: bytes) -> None:
        await self.base_send({"type": "http.response.body", "body": piece, "more_body": bool(piece)})


def event_id(text: str) -> int | None:
    """The number that a client comes back with; None where it brings none."""
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    raise ValidationFailed(fields={"last_event_id": ["Must be the id of an event."]})


stream = cast(Any, Stream.as_asgi())
