"""Numbers about deliveries, for Prometheus: from the table, so they are right whoever sends."""

from __future__ import annotations

from django.db.models import Count, Max, Min

from core import clock, metrics
from webhooks.models import Delivery

LATEST = 10_000  # deliveries that are counted by their status; the rest would take long


def tell() -> None:
    """Declare them; done in ``AppConfig.ready()``."""
    metrics.facts("webhook_deliveries", f"The latest {LATEST:,} deliveries, by status.", _by_status, ["status"])
    metrics.facts("webhook_deliveries_waiting", "Deliveries that are not done yet.", _waiting)
    metrics.facts("webhook_delivery_overdue_seconds", "For how long the first that is due has been.", _overdue)


def _by_status() -> dict[tuple[str, ...], float]:
    newest = Delivery.objects.aggregate(newest=Max("pk"))["newest"] or 0
    counts = Delivery.objects.filter(pk__gt=newest - LATEST).order_by().values_list("status").annotate(Count("pk"))
    return {(status,): 0.0 for status in Delivery.Status.values} | {(status,): count for status, count in counts}


def _waiting() -> float:
    return Delivery.objects.filter(next_attempt_at__isnull=False).count()


def _overdue() -> float:
    first = Delivery.objects.filter(next_attempt_at__isnull=False).aggregate(first=Min("next_attempt_at"))["first"]
    return max((clock.now() - first).total_seconds(), 0.0) if first else 0.0
