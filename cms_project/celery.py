"""The Celery application: ``celery -A cms_project worker``, ``celery -A cms_project beat``."""

from __future__ import annotations

import os
from typing import Any

import celery
from celery import Celery
from celery.beat import PersistentScheduler
from celery.signals import worker_ready
from kombu.entity import Exchange, Queue

from core import background
from core.gate import passing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cms_project.settings")


class Task(celery.Task):
    """Done by a worker on this machine while the gate is open; the next round makes up for what was left."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with passing() as may:
            return super().__call__(*args, **kwargs) if may else None


app = Celery("cms_project", task_cls=Task)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class Rounds(PersistentScheduler):
    """Calls no task of which a call waits already: while no worker is there, nothing piles up."""

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        if not background.is_called(self.app, entry.task):
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        return None


@app.on_after_finalize.connect
def make_rounds(sender: Celery, **kwargs: object) -> None:
    """What ``celery beat`` calls, what the thread of ``serve`` does without a broker; and what workers listen to."""
    names = [sender.conf.task_default_queue, *background.tasks]
    sender.conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in names]
    for name, task in background.tasks.items():
        sender.add_periodic_task(task.every, sender.signature(name), name=name, queue=name)


@worker_ready.connect
def begin(**kwargs: object) -> None:
    """A worker begins with what has become due while none was there, as ``serve`` does without a broker."""
    for name in background.tasks:
        background.call(name)
