"""What is done in the background for monitoring."""

from __future__ import annotations

from celery import shared_task

from monitoring import heartbeat, request_log


@shared_task(name=heartbeat.TASK)
def beat() -> None:
    """Note that somebody works."""
    heartbeat.beat()


@shared_task(name=request_log.TASK)
def trim() -> int:
    """Delete old requests from the log."""
    return request_log.trim()
