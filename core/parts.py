"""Answers in pieces: of open files, which the kernel copies to the client where it can, and of whatever else comes so.

No thread waits for a slow reader: each piece is fetched by whichever thread of a crew is free, and
what lies in memory already by none.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import IO, Any

from core.asgi import ClientGone, Headers, send_answer
from core.line import Line, line_of

PIECE = 256 * 1024
SMALL = 128 * 1024  # bytes that are sooner copied than left to the kernel
STALL_SECONDS = 60  # a client must take the next piece within this time
# Whether a read would wait for the disk can be asked on Linux alone.
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


class Part:
    """The bytes of an open file from ``start`` up to ``stop``: an iterator of pieces, which closes it at its end."""

    def __init__(self, file: IO[bytes], start: int, stop: int) -> None:
        self.file, self.start, self.stop = file, start, stop

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        count = min(self.stop - self.start, PIECE)
        piece = os.pread(self.file.fileno(), count, self.start) if count > 0 else b""
        if not piece:
            self.close()
            raise StopIteration
        self.start += len(piece)
        return piece

    def close(self) -> None:
        self.file.close()
        self.start = self.stop

    def now(self) -> bytes | None:
        """All of it, where it is small and in memory; None where a thread or the kernel is to do it."""
        count = self.stop - self.start
        if _NOWAIT is None or count > SMALL:
            return None
        found = bytearray(count)
        try:
            got = os.preadv(self.file.fileno(), [found], self.start, _NOWAIT) if count else 0
        except OSError:  # it is on the disk, or there is no telling
            return None
        return bytes(found) if got == count else None


async def send_pieces(
    scope: Any,
    send: Any,
    status: int,
    headers: Headers,
    pieces: Iterator[bytes],
    crew: Executor,
    is_gone: Callable[[], bool] = bool,
) -> None:
    """Send an answer whose length stands in its headers, and close the pieces. Raises ClientGone."""
    line = line_of(scope)
    try:
        if isinstance(pieces, Part):
            content = pieces.now()
            if content is not None:
                await send_answer(send, status, headers, content)
                return
        start = {"type": "http.response.start", "status": status, "headers": headers, "trailers": False}
        if isinstance(pieces, Part) and line is not None and line.takes_files and _NOWAIT is not None:
            await _by_the_kernel(line, send, start, pieces, crew)
        else:
            await send(start)
            await _by_hand(line, send, pieces, crew, is_gone)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


async def _by_the_kernel(line: Line, send: Any, start: Any, part: Part, crew: Executor) -> None:
    await line.send_at_once(send, start)
    loop, file = asyncio.get_running_loop(), part.file.fileno()
    while part.start < part.stop:
        count = min(part.stop - part.start, 4 * PIECE)
        if not _is_in_memory(file, part.start, count):
            count = min(count, PIECE)
            await loop.run_in_executor(crew, os.pread, file, count, part.start)
        sent = await line.send_file(file, part.start, count, STALL_SECONDS)
        if not sent:
            await line.break_off()  # the file has become shorter than it is said to be
        part.start += sent
        if part.start < part.stop:
            await asyncio.sleep(0)  # others have their turn


async def _by_hand(
    line: Line | None, send: Any, pieces: Iterator[bytes], crew: Executor, is_gone: Callable[[], bool]
) -> None:
    loop = asyncio.get_running_loop()
    while (piece := await loop.run_in_executor(crew, next, pieces, None)) is not None:
        if is_gone() or (line is not None and line.is_lost):
            raise ClientGone
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError as fault:
            if line is not None:
                await line.break_off()
            raise ClientGone from fault


def _is_in_memory(file: int, start: int, count: int) -> bool:
    """Whether this can be read without waiting for the disk, by its first and last byte."""
    try:
        return all(os.preadv(file, [bytearray(1)], at, _NOWAIT or 0) for at in (start, start + count - 1))
    except OSError:
        return False
