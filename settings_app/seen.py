"""What this process has seen of the settings: for those who answer every request and can't ask the database.

``look`` takes a new picture: after a change that this process has made, at once; after one of
another process when word of it comes (cms_project/settings_watch.py). Secrets are not in it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from settings_app import registry, signals, values

_lock = threading.Lock()
_picture: Mapping[str, Any] = {}
_versions: frozenset[tuple[str, datetime]] | None = None  # of all that was set, when the picture was taken


def value(key: str) -> Any:
    """The value of a declared setting as it was last seen, else its default. Costs no I/O."""
    return _picture.get(key, registry.known[key].standard)


def chosen(key: str) -> Any:
    """The value that somebody has set, as it was last seen; None where nobody has."""
    return _picture.get(key)


def look() -> None:
    """See how the settings are now, in any thread that may ask the database."""
    global _versions
    with _lock:  # the later picture is the later state
        _versions = values.versions()  # first: what is set in between is seen by the next look
        _show(values.overrides(key for key, setting in registry.known.items() if not setting.secret))


def look_if_changed() -> None:
    """The same where something was set or removed since the last look, for a fraction of the cost where nothing was."""
    if values.versions() != _versions:
        look()


def forget() -> None:
    """As nobody had set anything, as after another database was put in place."""
    global _versions
    with _lock:
        _versions = None
        _show({})


def _show(picture: Mapping[str, Any]) -> None:
    global _picture
    if picture != _picture:
        _picture = picture
        signals.seen.send(sender=None)
