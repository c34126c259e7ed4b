"""What this installation is called, for those who know nothing of its settings."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings


def _of_environment() -> str:
    return str(settings.PROJECT_NAME)


name: Callable[[], str] = _of_environment


def call_it(by: Callable[[], str]) -> None:
    """Have it asked for here; done where an app is set up."""
    global name
    name = by
