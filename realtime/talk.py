"""The sockets of conversations: ``/ws/{client_id}`` and ``/ws/chat/{room_id}``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, ClassVar, cast

from channels.exceptions import StopConsumer
from django.conf import settings

from accounts import scopes
from accounts.scopes import Keys
from core import json
from core.asgi import refuse_socket
from core.error_adapter import domain_error
from core.errors import BadRequest, Conflict, DomainError, PayloadTooLarge, Unauthorized
from core.errors import ValidationFailed as Invalid
from core.query_string import known_parameters
from realtime import names
from realtime.frames import Frame
from realtime.listener import SocketListener
from realtime.rooms import CHAT, MAX_ROOMS, ROOM, Rooms, Seat, Speaker, about, rooms
from realtime.subscriptions import Subscription

MAX_MESSAGE_BYTES = 64 * 1024
BURST_SECONDS = 4  # for how long a client may say more than it may in the long run
MAX_HELD = 1000
TAKEN = 4409  # why a socket is closed

Reply = dict[str, Any]


class Talker(SocketListener):
    """What both kinds of sockets are: a name, and messages in and out.

    In the hub it is one of those who are connected, and whose sign-ins are asked about again.
    """

    parameters: ClassVar[frozenset[str]]

    speaker: Speaker
    seat: Seat
    total = 0
    is_first = False
    _rooms: Rooms | None = None

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] | None = []  # what is said before it has been greeted
        self._allowance, self._counted = float(settings.ROOMS_MESSAGES_PER_SECOND * BURST_SECONDS), monotonic()

    async def websocket_connect(self, message: Any) -> None:
        try:
            await self._admitted()
        except Exception as fault:
            error = domain_error(fault)
            if error is None:
                raise
            self.leave()
            await refuse_socket(self.scope, self.base_send, error)
            raise StopConsumer from fault
        await self.base_send({"type": "websocket.accept"})
        await self.greet()

    async def websocket_receive(self, message: Any) -> None:
        """One message at a time; who says too much is read more slowly."""
        await self._paced()
        text = message.get("text")
        try:
            if text is None:
                raise BadRequest("Messages are text, no binary data.")
            if len(text) > MAX_MESSAGE_BYTES or len(raw := text.encode()) > MAX_MESSAGE_BYTES:
                raise PayloadTooLarge(f"A message may have {MAX_MESSAGE_BYTES:,} bytes.")
            try:
                said = json.loads(raw)
            except BadRequest:
                self.put(b"Echo: " + raw)
                return
            known = self.handlers().get(_type_of(said))
            if known is None:
                self.reply(type="echo", message=said)
            else:
                await known(said)
        except DomainError as fault:
            lines = [line for lines in fault.fields.values() for line in lines]
            self.reply(type="error", message=" ".join(lines) or fault.message, code=fault.code)

    # --- what the two kinds are ------------------------------------------------------------------

    def handlers(self) -> Mapping[str, Callable[[Any], Awaitable[None]]]:
        """By the type of a message; all others are echoed."""
        raise NotImplementedError

    def seat_for(self, parameters: Mapping[str, str]) -> tuple[str, str | None]:
        """The name that the client asks for, which may be empty, and the chat room."""
        raise NotImplementedError

    async def greet(self) -> None:
        """Say the :meth:`first` thing."""
        raise NotImplementedError

    # --- speaking --------------------------------------------------------------------------------

    def reply(self, **message: Any) -> None:
        self.put(json.dumps(message))

    def first(self, **message: Any) -> None:
        """Say the first thing; what was said in its rooms meanwhile comes after it."""
        held, self._held = self._held or (), None
        for text in (json.dumps(message), *held):
            self.put(text)

    def put(self, text: bytes) -> None:
        if self._held is not None:
            if len(self._held) < MAX_HELD:
                self._held.append(text)
        elif self.outbox is not None:
            self.outbox.put(text)

    def turn_out(self) -> None:
        self.close(TAKEN)

    # --- for the hub -------------------------------------------------------------------------------

    def deliver(self, subscription: Subscription, frame: Frame) -> None:
        """Nothing: it subscribes to nothing."""

    def gone(self, subscription: Subscription, reason: str) -> None: ...

    def show(self, frame: Frame) -> None:
        """Nothing: presence is for those who listen to events."""

    def leave(self) -> None:
        super().leave()
        if self._rooms is not None:
            self._rooms.go(self.seat)

    # --- inside ----------------------------------------------------------------------------------

    async def _admitted(self) -> None:
        parameters = known_parameters(self.scope["query_string"].decode("latin1"), self.parameters)
        wanted, chat = self.seat_for(parameters)
        await self.enter()
        caller = await self.identify(self.scope["fastcms.headers"], parameters.get("token", ""))
        if caller.principal.scope is not None:
            scopes.check(caller.principal.scope, "POST", Keys.WHOLE)
        if caller.principal.is_authenticated:
            self.speaker = Speaker(names.id_of(caller.principal), caller.principal)
        elif settings.ROOMS_REQUIRE_TOKEN:
            raise Unauthorized
        else:
            self.speaker = Speaker(names.checked(wanted, "client_id"))
        self._rooms, self.seat = rooms(), Seat(self, chat)
        outcome = await self._rooms.come(self.seat)
        if outcome.is_refused:
            raise Conflict(f"Somebody else is called {self.speaker.client_id!r} at the moment.")
        self.total, self.is_first = outcome.total, outcome.number == 1
        self.stay(caller)

    async def _paced(self) -> None:
        rate, now = settings.ROOMS_MESSAGES_PER_SECOND, monotonic()
        self._allowance = min(self._allowance + (now - self._counted) * rate, rate * BURST_SECONDS) - 1
        self._counted = now
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / rate)


class Client(Talker):
    """``/ws/{client_id}[?room=]``: joins and leaves rooms, speaks there, to all, and to one."""

    parameters = frozenset({"room", "token"})
    first_room = ""

    def handlers(self) -> Mapping[str, Callable[[Any], Awaitable[None]]]:
        return {
            "join_room": self.join_room,
            "leave_room": self.leave_room,
            "room_message": self.room_message,
            "broadcast": self.broadcast,
            "private": self.private,
            "members": self.members,
        }

    def seat_for(self, parameters: Mapping[str, str]) -> tuple[str, str | None]:
        self.first_room = parameters.get("room", "")
        if self.first_room:
            names.checked(self.first_room, "room")
        return self.scope["url_route"]["kwargs"]["client_id"], None

    async def greet(self) -> None:
        welcome = f"Welcome {self.speaker.client_id}! You are connected."
        self.first(type="connection", message=welcome, total_connections=self.total)
        if self.first_room:
            await self.join_room({"room": self.first_room})

    async def join_room(self, said: Reply) -> None:
        room = _room(said)
        if room not in self.seat.rooms:
            if len(self.seat.rooms) >= MAX_ROOMS:
                raise Conflict(f"You are in {MAX_ROOMS} rooms already. Leave one first.")
            await self._there.join(self.seat, ROOM, room)
        self.reply(type="room_joined", room=room, message=f"You joined room {room}.")

    async def leave_room(self, said: Reply) -> None:
        room = self._own_room(said)
        await self._there.leave(self.seat, room)
        self.reply(type="room_left", room=room, message=f"You left room {room}.")

    async def room_message(self, said: Reply) -> None:
        room, content = self._own_room(said), _content(said)
        message = {"type": "room_message", **self.speaker.signature(), "content": content, "room": room}
        self._there.say(ROOM, room, message)

    async def broadcast(self, said: Reply) -> None:
        message = {"type": "broadcast", **self.speaker.signature(), "content": _content(said)}
        self._there.broadcast(message, but=self.seat)

    async def private(self, said: Reply) -> None:
        to, content = names.checked(said.get("to"), "to", MAX_MESSAGE_BYTES), _content(said)
        message = {"type": "private", **self.speaker.signature(), "content": content}
        if not await self._there.whisper(to, message):
            raise Invalid(fields={"to": [f"Nobody who is connected is called {to[:100]!r}."]})

    async def members(self, said: Reply) -> None:
        room = self._own_room(said)
        self.reply(type="members", room=room, members=await self._there.members(ROOM, room))

    @property
    def _there(self) -> Rooms:
        assert self._rooms is not None
        return self._rooms

    def _own_room(self, said: Reply) -> str:
        room = _room(said)
        if room not in self.seat.rooms:
            raise Invalid(fields={"room": [f"You are not in room {room!r}."]})
        return room


class Guest(Talker):
    """``/ws/chat/{room_id}?client_id=``: in one room, from the first moment to the last."""

    parameters = frozenset({"client_id", "token"})

    def handlers(self) -> Mapping[str, Callable[[Any], Awaitable[None]]]:
        return {"message": self.message}

    def seat_for(self, parameters: Mapping[str, str]) -> tuple[str, str | None]:
        room = names.checked(self.scope["url_route"]["kwargs"]["room_id"], "room_id")
        return parameters.get("client_id", ""), room

    async def greet(self) -> None:
        assert self._rooms is not None and self.seat.chat is not None
        room = self.seat.chat
        await self._rooms.join(self.seat, CHAT, room)
        members = await self._rooms.members(CHAT, room)
        self.first(type="joined_room", room=room, members=sorted({*members, self.speaker.client_id}))
        if self.is_first:
            self._rooms.say(CHAT, room, about("user_joined", room, self.speaker.as_member()), but=self.seat)

    async def message(self, said: Reply) -> None:
        assert self._rooms is not None and self.seat.chat is not None
        room, content = self.seat.chat, _content(said)
        message = {"type": "message", **self.speaker.signature(), "content": content, "room": room}
        self._rooms.say(CHAT, room, message)


def _type_of(said: Any) -> str:
    kind = said.get("type") if isinstance(said, dict) else None
    return kind if isinstance(kind, str) else ""


def _room(said: Reply) -> str:
    return names.checked(said.get("room"), "room")


def _content(said: Reply) -> Any:
    if "content" not in said:
        raise Invalid(fields={"content": ["A message needs content."]})
    return said["content"]


client, guest = cast(Any, Client.as_asgi()), cast(Any, Guest.as_asgi())
