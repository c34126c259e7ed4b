"""``/api/v1/ws/realtime``: the same events over a WebSocket, for any number of collections and queries.

Messages are JSON objects with a ``type``. A client sends ``subscribe``, ``unsubscribe``,
``ping``, and ``auth`` where it brought no token; it is told ``connected``, ``subscribed``,
``unsubscribed``, ``pong``, ``authenticated``, ``error``, and the frames of its
subscriptions, each with its ``id`` and the name of its ``subscription``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, cast

from channels.exceptions import StopConsumer

from core import errors, ids, json
from core.asgi import refuse_socket
from core.error_adapter import domain_error
from core.errors import BadRequest, Conflict, NotFound, PayloadTooLarge, ValidationFailed
from core.query_string import known_parameters
from realtime import frames, presence
from realtime.callers import NOBODY
from realtime.frames import Frame
from realtime.hub import check
from realtime.jobs import JOBS
from realtime.listener import SocketListener
from realtime.sse import event_id
from realtime.subscriptions import Subscription

MAX_MESSAGE_BYTES = 64 * 1024
MAX_SUBSCRIPTIONS = 100
MAX_NAME = 100
MESSAGES_PER_SECOND, BURST = 20, 200
TOO_MANY = 4429  # why a socket is closed

Message = dict[str, Any]


class Socket(SocketListener):
    """One client with its subscriptions."""

    _user_id = ""
    _allowance, _counted = float(BURST), 0.0

    def __init__(self) -> None:
        super().__init__()
        self._subscriptions: dict[str, tuple[Subscription, bytes, asyncio.Task[None]]] = {}
        self._handlers: Mapping[str, tuple[Callable[[Message], Awaitable[None]], frozenset[str]]] = {
            "subscribe": (self._subscribe, frozenset({"collection", "query", "last_event_id"})),
            "unsubscribe": (self._unsubscribe, frozenset()),
            "ping": (self._ping, frozenset()),
            "auth": (self._auth, frozenset({"token"})),
        }

    async def websocket_connect(self, message: Any) -> None:
        try:
            parameters = known_parameters(self.scope["query_string"].decode("latin1"), {"token", "user_id"})
            self._user_id = presence.checked(parameters.get("user_id", ""))
            await self.enter()
            self.stay(await self.identify(self.scope["fastcms.headers"], parameters.get("token", "")))
        except Exception as fault:
            error = domain_error(fault)
            if error is None:
                raise
            self.leave()
            await refuse_socket(self.scope, self.base_send, error)
            raise StopConsumer from fault
        assert self.outbox is not None
        await self.base_send({"type": "websocket.accept"})
        hello = frames.connected(ids.new_id(), self.hub.position, None)
        self.outbox.put(_told(hello, b"null"))
        self.greeted(self._user_id)

    async def websocket_receive(self, message: Any) -> None:
        """One at a time; whoever sends more than the server wants to read is closed."""
        if self.is_ending:
            return
        if not self._may_speak():
            self.close(TOO_MANY)
            return
        said: Any = None
        try:
            said = _parsed(message)
            await self._do(said)
        except Exception as fault:
            error = domain_error(fault)
            if error is None:
                raise
            name = said.get("id") if isinstance(said, dict) else None
            self._say({"type": "error", "status": error.status, "id": name, **errors.body(error)})

    # --- what clients say --------------------------------------------------------------------------

    async def _do(self, said: Message) -> None:
        kind = said.get("type")
        handler, known = self._handlers.get(kind, (None, frozenset())) if isinstance(kind, str) else (None, frozenset())
        if handler is None:
            raise ValidationFailed(fields={"type": [f"Must be one of {', '.join(self._handlers)}."]})
        unknown = sorted(said.keys() - known - {"type", "id"})
        if unknown:
            raise ValidationFailed(
                fields={unknown[0][:50]: [f"Unknown; {kind} knows {', '.join(sorted(known | {'id'}))}."]}
            )
        await handler(said)

    async def _subscribe(self, said: Message) -> None:
        name, collection, query = _name(said) or ids.new_id(), _text(said, "collection"), _text(said, "query") or ""
        if name in self._subscriptions:
            raise Conflict(f"There is a subscription {name!r} already.")
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise Conflict(f"A socket has {MAX_SUBSCRIPTIONS} subscriptions at most.")
        after = _after(said)
        collection_id = await self.hub.in_thread(partial(check, collection, query.strip(), self.caller))
        subscription = Subscription(self, collection_id, query.strip(), name)
        position = self.hub.position if after is None else after
        self._say({"type": "subscribed", "id": name, "collection": collection, "query": query, "position": position})
        past = asyncio.create_task(self.catch_up(subscription, position))
        self._subscriptions[name] = subscription, json.dumps(name), past

    async def _unsubscribe(self, said: Message) -> None:
        name = _name(said)
        if name is None or name not in self._subscriptions:
            raise NotFound(f"There is no subscription {name!r}.")
        self._drop(name)
        self._say({"type": "unsubscribed", "id": name})

    async def _ping(self, said: Message) -> None:
        """``position``: with which all subscriptions may come back; None while one is told of the past."""
        logged = [one for one, _, _ in self._subscriptions.values() if one.collection_id != JOBS]
        known = [self.hub.known_to(one) for one in logged]
        told = [position for position in known if position is not None]
        position = None if len(told) < len(known) else min(told, default=self.hub.position)
        self._say({"type": "pong", "id": said.get("id"), "position": position})

    async def _auth(self, said: Message) -> None:
        if self.caller is not NOBODY or self._subscriptions:
            raise Conflict("Sign in before anything else, and once.")
        token = _text(said, "token")
        if not token:
            raise ValidationFailed(fields={"token": ["This is required."]})
        self.caller = await self.identify({}, token)
        presence.leave(self)  # as whom it was not, to come as who it is
        self.greeted(self._user_id)
        self._say({"type": "authenticated", "id": said.get("id")})

    # --- for the hub -------------------------------------------------------------------------------

    def deliver(self, subscription: Subscription, frame: Frame) -> None:
        found = self._subscriptions.get(subscription.name)
        if found is not None and self.outbox is not None:
            self.outbox.put(_told(frame, found[1]))

    def show(self, frame: Frame) -> None:
        if self.outbox is not None:
            self.outbox.put(_told(frame, b"null"))

    def gone(self, subscription: Subscription, reason: str) -> None:
        if subscription.name in self._subscriptions:
            self._drop(subscription.name)
            self._say({"type": "unsubscribed", "id": subscription.name, "reason": reason})

    # --- inside --------------------------------------------------------------------------------------

    def leave(self) -> None:
        super().leave()
        for _, _, past in self._subscriptions.values():
            if past is not asyncio.current_task():
                past.cancel()

    def _drop(self, name: str) -> None:
        subscription, _, past = self._subscriptions.pop(name)
        self.hub.unsubscribe(subscription)
        if past is not asyncio.current_task():
            past.cancel()

    def _say(self, message: Message) -> None:
        if self.outbox is not None:
            self.outbox.put(json.dumps(message))

    def _may_speak(self) -> bool:
        now = monotonic()
        self._allowance = min(self._allowance + (now - self._counted) * MESSAGES_PER_SECOND, BURST) - 1
        self._counted = now
        return self._allowance >= 0


def _told(frame: Frame, subscription: bytes) -> bytes:
    """The frame with its id and the subscription's name, which is JSON already."""
    return b'{"id":%b,"subscription":%b,%b' % (json.dumps(frame.id), subscription, frame.body[1:])


def _parsed(message: Any) -> Message:
    text = message.get("text")
    if text is None:
        raise BadRequest("Messages are text, no binary data.")
    if len(text) > MAX_MESSAGE_BYTES or len(raw := text.encode(errors="replace")) > MAX_MESSAGE_BYTES:
        raise PayloadTooLarge(f"A message may have {MAX_MESSAGE_BYTES:,} bytes.")
    said = json.loads(raw)
    if not isinstance(said, dict):
        raise BadRequest("A message is a JSON object.")
    return said


def _name(said: Message) -> str | None:
    name = _text(said, "id")
    if name is not None and not 1 <= len(name) <= MAX_NAME:
        raise ValidationFailed(fields={"id": [f"Must be 1 to {MAX_NAME} characters."]})
    return name


def _text(said: Message, field: str) -> str | None:
    value = said.get(field)
    if value is not None and (not isinstance(value, str) or "\x00" in value):
        raise ValidationFailed(fields={field: ["Must be text."]})
    return value


def _after(said: Message) -> int | None:
    value = said.get("last_event_id")
    return event_id(
        str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(said, "last_event_id") or ""
    )


socket = cast(Any, Socket.as_asgi())
