"""Running a coroutine at once, as far as it goes without waiting.

Nearly always a client takes what is sent to it, and ``send`` waits for nothing. A
task for each of five hundred such calls would cost as much again as the calls
(``asyncio.eager_task_factory`` does the same from Python 3.12 on).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Rest:
    """What is left of a coroutine that began to wait; to be awaited, once, in a task."""

    __slots__ = ("_awaited", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaited: Any) -> None:
        self._coroutine, self._awaited = coroutine, awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited = self._awaited
        step: Callable[[Any], Any]
        given: Any
        while True:
            try:
                sent = yield awaited
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as fault:  # noqa: BLE001 - it is the coroutine's: a cancellation, say
                step, given = self._coroutine.throw, fault
            else:
                step, given = self._coroutine.send, sent
            try:
                awaited = step(given)
            except StopIteration as end:
                return end.value


def start(coroutine: Coroutine[Any, Any, Any]) -> Rest | None:
    """Run it until it waits; answers what is left, None where nothing is. Raises what it raises."""
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return None
    return Rest(coroutine, awaited)
