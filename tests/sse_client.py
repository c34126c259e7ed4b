"""A reader of server-sent events over a socket of its own, as a browser's ``EventSource`` is one.

with Stream(f"{server.url}/api/v1/realtime/posts", token) as stream:
    assert stream.next().type == "connected"
    frame = stream.until("record.created")
    assert frame.data["record_id"] == "one"
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Event(NamedTuple):
    """``id`` is "" for an event without one; ``data`` is the whole frame, parsed."""

    type: str
    id: str
    data: Any


class Refused(Exception):
    """The server answered something else than a stream."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"{status}: {body[:500]!r}")
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


class Ended(Exception):
    """The server ended the stream, or the connection broke."""


class Stream:
    """One subscription. ``frames`` are all events so far, ``last_event_id`` is what to come back with,
    ``comments`` counts heartbeats, ``retry`` is what the server said, in milliseconds.

    Raises Refused where the answer is no stream.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        last_event_id: str | int | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 60,
        receive_buffer: int | None = None,
    ) -> None:
        parts = urlsplit(url)
        sent = {"Host": parts.netloc, "Accept": "text/event-stream", **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if last_event_id is not None:
            sent["Last-Event-ID"] = str(last_event_id)
        self.frames: list[Event] = []
        self.last_event_id = "" if last_event_id is None else str(last_event_id)
        self.comments = 0
        self.retry: int | None = None
        self._unparsed = self._lines = b""
        self._waiting: list[Event] = []
        self._fields: dict[str, str] = {}
        self._data: list[str] = []
        self._is_chunked = self._is_over = False
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect((parts.hostname or "127.0.0.1", parts.port or 80))
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
            self._socket.sendall(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode("latin1"))
            self._read_head(monotonic() + timeout)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what comes ------------------------------------------------------------------------------

    def next(self, timeout: float = 30) -> Event:
        """The next event; TimeoutError, or Ended."""
        until = monotonic() + timeout
        while not self._waiting:
            self._read(until)
        found = self._waiting.pop(0)
        self.frames.append(found)
        return found

    def until(self, kind: str, timeout: float = 30) -> Event:
        """The next event of that type; those before it are in ``frames``."""
        until = monotonic() + timeout
        while (found := self.next(max(0.0, until - monotonic()))).type != kind:
            pass
        return found

    def take(self, count: int, timeout: float = 30) -> list[Event]:
        """The next so many events."""
        until = monotonic() + timeout
        return [self.next(max(0.0, until - monotonic())) for _ in range(count)]

    def quiet(self, seconds: float = 0.3) -> bool:
        """Whether no event comes for so long."""
        try:
            self.next(seconds)
        except TimeoutError:
            return True
        return False

    def ended(self, timeout: float = 30) -> bool:
        """Whether the server ends the stream within that time; events before that are in ``frames``."""
        until = monotonic() + timeout
        try:
            while True:
                self.next(max(0.0, until - monotonic()))
        except TimeoutError:
            return False
        except Ended:
            return True

    # --- the end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Go, as a browser does when its page is closed."""
        self._socket.close()

    def abort(self) -> None:
        """Go without a word: the server gets a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    # --- the wire ------------------------------------------------------------------------------------

    def _receive(self, until: float) -> bytes:
        self._socket.settimeout(max(0.001, until - monotonic()))
        try:
            found = self._socket.recv(65536)
        except TimeoutError:
            raise
        except OSError as fault:
            raise Ended(str(fault)) from fault
        if not found:
            raise Ended("the connection was closed")
        return found

    def _read_head(self, until: float) -> None:
        while b"\r\n\r\n" not in self._unparsed:
            self._unparsed += self._receive(until)
        head, _, self._unparsed = self._unparsed.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._is_chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        if self.status == 200 and self.headers.get("content-type", "").startswith("text/event-stream"):
            return
        length = int(self.headers.get("content-length", 0))
        while len(self._unparsed) < length:
            self._unparsed += self._receive(until)
        raise Refused(self.status, self.headers, self._unparsed)

    def _read(self, until: float) -> None:
        """Whatever has come already, or the next piece of it."""
        if not self._take_in() and not self._is_over:
            self._unparsed += self._receive(until)
        if self._is_over and not self._waiting:
            raise Ended("the server ended the stream")

    def _take_in(self) -> bool:
        """Body bytes out of the chunks that are complete; whether there were any."""
        if not self._is_chunked:
            body, self._unparsed = self._unparsed, b""
            self._parse(body)
            return bool(body)
        size, mark, rest = self._unparsed.partition(b"\r\n")
        length = int(size, 16) if mark else 0
        if not mark or len(rest) < length + 2:
            return False
        self._is_over = length == 0
        self._unparsed = rest[length + 2 :]
        self._parse(rest[:length])
        return True

    def _parse(self, body: bytes) -> None:
        *lines, self._lines = (self._lines + body).split(b"\n")
        for raw in lines:
            line = raw.decode()
            if not line:
                self._dispatch()
            elif line.startswith(":"):
                self.comments += 1
            else:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "data":
                    self._data.append(value)
                elif name == "retry":
                    self.retry = int(value)
                else:
                    self._fields[name] = value

    def _dispatch(self) -> None:
        """At an empty line (WHATWG HTML, 9.2.6): an id counts even where no data came with it."""
        fields, self._fields, data, self._data = self._fields, {}, self._data, []
        if "id" in fields:
            self.last_event_id = fields["id"]
        if data:
            self._waiting.append(
                Event(fields.get("event", "message"), fields.get("id", ""), json.loads("\n".join(data)))
            )
