"""What Celery's workers do for collections."""

from __future__ import annotations

from celery import shared_task

from collections_app import event_retention
from collections_app.files import removal, uses
from collections_app.jobs import running, services


@shared_task(name=event_retention.TASK)
def trim_events() -> int:
    """Delete the events that are too old, or too many."""
    return event_retention.trim()


@shared_task(name=uses.TASK)
def remove_files() -> int:
    """Remove the bytes of files that nobody has any more."""
    return removal.remove_due()


@shared_task(name=services.TASK)
def run_jobs() -> int:
    """Run the imports that wait."""
    return running.run_due()
