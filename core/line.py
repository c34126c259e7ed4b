"""The connection that a stream runs on, for what ASGI has no words for.

``serve`` puts one into the ``state`` of every scope (cms_project/connections.py); other
servers don't, and those who stream do without.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

KEY = "fastcms.line"


class Line:
    """``when_ending`` is called when the server is about to end; ``is_ending`` says that it is."""

    __slots__ = ("_transport", "is_ending", "when_ending")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.is_ending = False
        self.when_ending: Callable[[], None] | None = None

    def abort(self) -> None:
        """Break the connection at once: what is still to be sent is dropped, also by the kernel."""
        self._set(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

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


def line_of(scope: Any) -> Line | None:
    """The line that this scope came on, where the server tells."""
    return (scope.get("state") or {}).get(KEY)
