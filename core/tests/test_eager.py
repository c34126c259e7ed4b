"""Coroutines run at once, and what is left of them in tasks."""

from __future__ import annotations

import asyncio

import pytest

from core import eager


def test_one_that_waits_for_nothing_is_done_at_once():
    done = []

    async def work():
        done.append(1)

    assert eager.start(work()) is None and done == [1]


def test_what_it_raises_is_raised():
    async def work():
        raise KeyError("x")

    with pytest.raises(KeyError):
        eager.start(work())


def test_one_that_waits_goes_on_in_a_task_and_answers_there():
    async def run():
        gate, seen = asyncio.Event(), []

        async def work():
            seen.append("began")
            await gate.wait()
            await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await asyncio.sleep(0.01)
            return "done"

        async def finish(rest):
            return await rest

        rest = eager.start(work())
        assert rest is not None and seen == ["began"]
        task = asyncio.create_task(finish(rest))
        await asyncio.sleep(0)
        gate.set()
        return await task

    assert asyncio.run(run()) == "done"


def test_a_fault_after_the_wait_comes_out_of_the_task():
    async def run():
        async def work():
            await asyncio.sleep(0)
            raise KeyError("later")

        rest = eager.start(work())
        with pytest.raises(KeyError):
            await rest

    asyncio.run(run())


def test_a_cancelled_task_cancels_what_is_left():
    async def run():
        ended = []

        async def work():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        async def finish(rest):
            await rest

        task = asyncio.create_task(finish(eager.start(work())))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return ended

    assert asyncio.run(run()) == [True]
