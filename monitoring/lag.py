"""Numbers about the event log and who reads it, for Prometheus."""

from __future__ import annotations

from datetime import UTC, datetime

from collections_app import dialects, event_retention, events
from core import clock, metrics


def tell() -> None:
    """Declare them; done in ``AppConfig.ready()``."""
    metrics.facts("changes", "The newest id of the event log: how many changes there were.", _newest)
    metrics.facts("last_change_age_seconds", "How long ago the newest event is.", _age)
    metrics.facts("event_readers_behind", "Events that are still to be read, by reader.", _behind, ["reader"])


def _newest() -> float:
    return float(events.extent()[1])


def _age() -> float:
    rows = dialects.current().rows("SELECT timestamp FROM events ORDER BY id DESC LIMIT 1")
    if not rows:
        return 0.0
    found = rows[0][0]
    moment = found if isinstance(found, datetime) else datetime.fromisoformat(found)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return float((clock.now() - moment).total_seconds())


def _behind() -> dict[tuple[str, ...], float]:
    newest = _newest()
    needs = event_retention.needs()
    return {(name,): max(newest - first + 1, 0.0) if first else 0.0 for name, first in needs.items()}
