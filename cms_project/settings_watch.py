"""How a server comes to see settings that another process has changed.

Word comes by the database (``event_bell``): on PostgreSQL with a NOTIFY, on SQLite by a number that
every commit moves, so most of what it says is not about settings: then one cheap question is asked. It is
not relied upon: every few seconds there is a look anyway.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from django.db import Error, close_old_connections

from collections_app import event_bell
from core import database
from settings_app import seen

ROUND_SECONDS = 5.0
SPACING_SECONDS = 0.05  # between two looks: there are more commits than changes of settings

logger = logging.getLogger("fastcms.settings")


class Watch:
    """A thread that looks at the settings when they may have changed."""

    def __init__(self) -> None:
        self._rung, self._ending = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for the first time, then from the thread."""
        _try(seen.look)
        database.close()
        self._ending.clear()
        self._thread = threading.Thread(target=self._work, name="settings-watch", daemon=True)
        self._thread.start()
        event_bell.listen(self._rung.set)

    def stop(self) -> None:
        event_bell.unlisten(self._rung.set)
        self._ending.set()
        self._rung.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        whole = monotonic()
        while not self._ending.wait(SPACING_SECONDS):
            self._rung.wait(ROUND_SECONDS)
            self._rung.clear()  # first: what comes from here on is seen by the next look
            if monotonic() - whole < ROUND_SECONDS:
                _try(seen.look_if_changed)
            else:
                _try(seen.look)
                whole = monotonic()
        database.close()


def _try(look: Callable[[], None]) -> None:
    try:
        close_old_connections()
        look()
    except Error as fault:
        logger.warning("the settings could not be read; those seen last go on: %s", fault)
