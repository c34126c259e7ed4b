"""Jobs as they go on, told to whose affair they are.

They are no part of the event log. What a job has done stands in its row, written by whichever
process runs it; so while somebody here wants to know, that is looked at, once a second for all.
Whoever comes is told how things stand, and then of each change, the last one among them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from django.db.models import Q

from accounts.principals import Principal
from collections_app.jobs import services
from collections_app.jobs.models import Job
from collections_app.schema import registry
from core import clock
from core.errors import Unauthorized, ValidationFailed
from realtime.follower import breathing
from realtime.frames import Frame
from realtime.subscriptions import Subscription

NAME = "jobs"  # what clients say in place of a collection's name
JOBS = ":jobs"  # what stands in place of a collection's id, and is none
POLL_SECONDS = 1.0
LATELY = timedelta(minutes=1)  # after its end somebody who comes is still told of a job
_MARKS = ("id", "state", "total", "done", "failed", "message", "started")

logger = logging.getLogger("fastcms.realtime")

Mark = tuple[Any, ...]
T = TypeVar("T")


class House(Protocol):
    """Whose watch it is: knows who is connected, and has threads."""

    def wants(self, subscription: Subscription) -> bool: ...
    async def in_thread(self, work: Callable[[], T]) -> T: ...


class JobWatch:
    """Of one process, on its event loop."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._comers: list[Subscription] = []
        self._members: list[Subscription] = []
        self._known: dict[str, Mark] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, subscription: Subscription) -> None:
        self._comers.append(subscription)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        """Until nobody wants to know any more."""
        self._known = {}
        while True:
            self._members = [one for one in self._members if self._house.wants(one)]
            self._comers = [one for one in self._comers if self._house.wants(one)]
            if not self._members and not self._comers:
                return
            try:
                await self._look()
            except Exception:
                logger.exception("jobs could not be read; it is tried again")
            await asyncio.sleep(POLL_SECONDS)

    async def _look(self) -> None:
        comers, known = self._comers, self._known
        marks = await self._house.in_thread(lambda: _marks(known))
        changed = {job_id for job_id, mark in marks.items() if known.get(job_id) != mark}
        wanted = set(marks) if comers else changed
        found = await self._house.in_thread(lambda: _jobs(wanted)) if wanted else []
        self._comers = [one for one in self._comers if one not in comers]
        self._known = marks
        told = [one for one in found if one[0].pk in changed]
        await self._tell(self._members, told)
        await self._tell(comers, found)
        self._members += comers

    async def _tell(self, those: Iterable[Subscription], found: list[tuple[Job, Frame]]) -> None:
        def tell(one: Subscription) -> None:
            for job, frame in found:
                if self._house.wants(one) and services.is_visible(one.connection.caller.principal, job):
                    one.connection.deliver(one, frame)

        await breathing(those, tell)


def check(query: str, principal: Principal) -> None:
    """Raises Unauthorized, and ValidationFailed for a query: there is nothing to ask of jobs."""
    if principal.is_anonymous:
        raise Unauthorized()
    if query:
        raise ValidationFailed(fields={"query": ["Jobs are not filtered."]})


def _marks(known: dict[str, Mark]) -> dict[str, Mark]:
    """What is to be told of each job that goes on, or ended lately; a thread's work."""
    ours = [job_id for job_id, mark in known.items() if mark[1] in services.UNFINISHED]
    lately = Q(finished=None) | Q(finished__gte=clock.now() - LATELY) | Q(pk__in=ours)
    return {mark[0]: mark for mark in Job.objects.filter(lately).values_list(*_MARKS)}


def _jobs(wanted: set[str]) -> list[tuple[Job, Frame]]:
    """These, oldest first, as the API shows them; a thread's work."""
    snapshot = registry.latest()
    found = Job.objects.filter(pk__in=wanted).order_by("created", "pk")
    return [
        (job, Frame("job.updated", collection=NAME, record_id=job.pk, data=services.as_json(job, snapshot)))
        for job in found
    ]
