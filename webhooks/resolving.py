"""Names by the system's resolver, which holds a thread for as long as it takes to give up.

So the threads are our own, and nobody waits for them when the process ends; those of ``concurrent.futures``
would be waited for, and all that is still to be looked up before.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

THREADS = 64

Found = list[tuple[Any, ...]]
Resolve = Callable[[str, int, socket.AddressFamily], Found]
_Key = tuple[str, int, socket.AddressFamily]


def resolve(host: str, port: int, family: socket.AddressFamily) -> Found:
    """The addresses of a name, as the system knows them; raises OSError."""
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Resolver(AbstractResolver):
    """A name is asked for once at a time. Names that nobody answers for hold up only those who ask for them."""

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._asked: dict[_Key, asyncio.Future[list[ResolveResult]]] = {}
        self._to_look_up: SimpleQueue[tuple[_Key, Future[Found]] | None] = SimpleQueue()
        self._threads = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        key = (host, port, family)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.ensure_future(self._found(key))
            asked.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(asked)  # whoever gives up does not give up for others

    async def close(self) -> None:
        """What is being looked up goes on for itself, and is of no consequence."""
        for _ in range(self._threads):
            self._to_look_up.put(None)

    async def _found(self, key: _Key) -> list[ResolveResult]:
        host, port, _ = key
        return [
            ResolveResult(
                hostname=host,
                # With its zone, for that says that it is nobody's but the link's.
                host=address[0] if len(address) < 4 or not address[3] else f"{address[0]}%{address[3]}",
                port=port,
                family=of_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of_family, _, proto, _, address in await asyncio.wrap_future(self._look_up(key))
        ]

    def _look_up(self, key: _Key) -> Future[Found]:
        told: Future[Found] = Future()
        self._to_look_up.put((key, told))
        if self._threads < min(len(self._asked), THREADS):
            self._threads += 1
            threading.Thread(target=self._work, name=f"webhooks-dns-{self._threads}", daemon=True).start()
        return told

    def _work(self) -> None:
        while (one := self._to_look_up.get()) is not None:
            key, told = one
            if not told.set_running_or_notify_cancel():
                continue
            try:
                found = self._resolve(*key)
            except Exception as fault:  # noqa: BLE001 - it is told to those who wait for it
                told.set_exception(fault)
            else:
                told.set_result(found)

    def _forget(self, key: _Key, done: asyncio.Future[list[ResolveResult]]) -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # somebody's, or nobody's any more
