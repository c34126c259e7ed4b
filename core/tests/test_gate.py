"""Who wants to be alone is, when all who are inside have gone, in whatever process."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from core import background
from core import gate as gates
from core.errors import ServiceUnavailable
from core.gate import Gate, closed, passing


@pytest.fixture(autouse=True)
def own_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_path", lambda which: tmp_path / which)
    monkeypatch.setattr(gates, "LOOK_SECONDS", 0.01)


async def until(holds: Callable[[], Any]) -> None:
    latest = monotonic() + 30
    while not holds():
        assert monotonic() < latest
        await asyncio.sleep(0.005)


class Alone(threading.Thread):
    """Closes the gate in a thread, and opens it when told."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.is_in, self.leave = threading.Event(), threading.Event()
        self.refused: ServiceUnavailable | None = None

    def run(self) -> None:
        try:
            with closed():
                self.is_in.set()
                assert self.leave.wait(30)
        except ServiceUnavailable as fault:
            self.refused = fault


def test_who_is_inside_comes_to_an_end_and_nobody_else_comes_in() -> None:
    async def story() -> None:
        one, other = Gate(), Gate()
        await one.start()
        await other.start()
        one.inside = 1
        alone = Alone()
        alone.start()
        await until(lambda: not one.is_open and not other.is_open)
        await asyncio.sleep(0.1)
        assert not alone.is_in.is_set(), "somebody is still inside"
        one.inside = 0
        await until(alone.is_in.is_set)
        with passing() as may:
            assert not may
        alone.leave.set()
        await until(lambda: one.is_open and other.is_open)
        await one.stop()
        await other.stop()

    asyncio.run(story())
    with passing() as may:
        assert may


def test_who_stays_too_long_keeps_the_gate_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "DRAIN_SECONDS", 0.2)

    async def story() -> None:
        gate = Gate()
        await gate.start()
        gate.inside = 1
        alone = Alone()
        alone.start()
        await until(lambda: alone.refused)
        await until(lambda: gate.is_open)
        await gate.stop()

    asyncio.run(story())


class Busy:
    """A worker with a task under way that lasts until it is told."""

    def __init__(self) -> None:
        self.is_running, self.leave, self.starts = True, threading.Event(), 0

    def stop(self) -> None:
        assert self.leave.wait(30)
        self.is_running = False

    def start(self) -> None:
        self.is_running, self.starts = True, self.starts + 1


def test_a_task_that_lasts_keeps_nobody_out_once_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Busy()
    monkeypatch.setattr(background, "worker", worker)
    monkeypatch.setattr(gates, "DRAIN_SECONDS", 0.2)

    async def story() -> None:
        gate = Gate()
        await gate.start()
        alone = Alone()
        alone.start()
        await until(lambda: alone.refused)
        await until(lambda: gate.is_open)
        assert worker.is_running and not worker.starts, "the task is still under way"
        worker.leave.set()
        await until(lambda: worker.starts == 1)
        second = Alone()
        second.start()
        await until(second.is_in.is_set)
        assert not gate.is_open and not worker.is_running
        second.leave.set()
        await until(lambda: gate.is_open and worker.starts == 2)
        await gate.stop()

    asyncio.run(story())


def test_a_fault_on_the_way_back_leaves_no_process_open_without_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, faults = Busy(), [OSError("no locks available")]
    worker.leave.set()
    monkeypatch.setattr(background, "worker", worker)
    lock = gates._try

    def failing(file: Any, how: int) -> bool:
        if faults and not gate._holds and file is gate._gate:
            raise faults.pop()
        return lock(file, how)

    gate = Gate()

    async def story() -> None:
        await gate.start()
        alone = Alone()
        alone.start()
        await until(alone.is_in.is_set)
        monkeypatch.setattr(gates, "_try", failing)
        alone.leave.set()
        await until(lambda: gate.is_open and worker.starts == 1)
        assert not faults, "the fault has come"
        with gates._opened("gate") as whole:
            assert not lock(whole, fcntl.LOCK_EX), "its lock is held"
        await gate.stop()

    asyncio.run(story())


def test_a_server_that_starts_waits_until_the_gate_is_open() -> None:
    async def story() -> None:
        alone = Alone()
        alone.start()
        await until(alone.is_in.is_set)
        gate = Gate()
        starting = asyncio.create_task(gate.start())
        await asyncio.sleep(0.1)
        assert not starting.done()
        alone.leave.set()
        await starting
        await gate.stop()

    asyncio.run(story())


def test_one_at_a_time_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "OTHERS_SECONDS", 0.1)
    with closed(), pytest.raises(ServiceUnavailable), closed():
        pass


def test_work_outside_of_a_server_keeps_the_gate_open_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "DRAIN_SECONDS", 0.1)
    with passing() as may:
        assert may
        with pytest.raises(ServiceUnavailable, match="did not come to its end"), closed():
            pass
    with closed():
        pass
