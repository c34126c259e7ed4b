"""What stands below this app and follows its settings: told, since it can't ask."""

from __future__ import annotations

from core import project
from settings_app import seen
from settings_app.declared import APP_NAME


def follow() -> None:
    """From here on, in this process; done once, where the app is set up."""
    project.call_it(_name)


def _name() -> str:
    return str(seen.value(APP_NAME))  # pages that say that the database is away say it too
