"""Whether somebody works in the background: a task that does nothing but note when it ran.

It takes the way that all tasks take (Celery's beat, broker and worker, or the threads of ``serve``),
so a fresh note says that all of it works, and nobody who asks has to ask a broker.
"""

from __future__ import annotations

from datetime import timedelta

from core import clock
from monitoring.models import Heartbeat

TASK = "monitoring.beat"
EVERY_SECONDS = 10
LATEST = timedelta(seconds=60)


def beat() -> None:
    """Note that somebody works, now."""
    Heartbeat.objects.update_or_create(pk=1, defaults={"at": clock.now()})


def is_fresh() -> bool:
    """Whether somebody did within the last minute; a note from the future, by a clock since set back, is none."""
    noted = Heartbeat.objects.filter(pk=1).values_list("at", flat=True).first()
    return noted is not None and abs(clock.now() - noted) <= LATEST
