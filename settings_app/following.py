"""What stands below this app and follows its settings: told, since it can't ask."""

from __future__ import annotations

from typing import Any

from core import project, ratelimit
from settings_app import seen, signals
from settings_app.declared import APP_NAME, RATE_LIMIT, RATE_WINDOW


def follow() -> None:
    """From here on, in this process; done once, where the app is set up."""
    project.call_it(_name)
    signals.seen.connect(_limit_requests, dispatch_uid="settings.limit_requests")


def _name() -> str:
    return str(seen.value(APP_NAME))  # pages that say that the database is away say it too


def _limit_requests(**_: Any) -> None:
    ratelimit.choose(seen.chosen(RATE_LIMIT), seen.chosen(RATE_WINDOW))
