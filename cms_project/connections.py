"""uvicorn's protocols, with a word for those who stream: the line, and the news that the server ends.

Files go by the line too: the kernel copies them, and uvicorn is told how much went.

A stream has no end that a server could wait for. Whoever holds one is told, and a
client that does not take the end of its stream is left behind.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from core import background
from core.line import KEY, Line

LINGER_SECONDS = 2.0


class HttpProtocol(HttpToolsProtocol):
    """Requests find their line in ``scope["state"]``, and so do WebSockets, which begin as requests."""

    line: Line
    answering: Any  # uvicorn's, of the answer under way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.line = Line(transport, self._note_sent)
        self.app_state = {**self.app_state, KEY: self.line}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.line.lose()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def _note_sent(self, count: int) -> None:
        self.answering.expected_content_length -= count

    def shutdown(self) -> None:
        super().shutdown()
        if self.line.when_ending is not None:
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        self.line.end()
        background.worker.end()  # now, and not when the last request is answered, for which the server waits


class SocketProtocol(WebSocketsSansIOProtocol):
    """Clients are told to come back (1012), and have a moment to take that."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # else uvicorn takes each refusal for a fault of ours, and logs it

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        background.worker.end()
