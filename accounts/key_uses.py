"""When each API key was last used: kept in memory, written once a minute by a thread of its own.

So a read with a key stays a read. What a crash loses is less than a minute of it.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from accounts.models import ApiKey
from core import clock, database

logger = logging.getLogger(__name__)


class Uses:
    """``note`` may be called anywhere, also on an event loop: it never waits for the database."""

    def __init__(self, every: float = 60) -> None:
        self._every = every
        self._noted: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def note(self, key_id: str) -> None:
        self._noted[key_id] = clock.now()
        if self._timer is None:
            with self._lock:
                if self._timer is None:
                    self._timer = threading.Timer(self._every, self._round)
                    self._timer.daemon = True
                    self._timer.start()

    def latest(self, key: ApiKey) -> datetime | None:
        """When the key was last used, as far as this process knows."""
        known = [moment for moment in (self._noted.get(str(key.pk)), key.last_used_at) if moment is not None]
        return max(known, default=None)

    def flush(self) -> None:
        """Write what has been noted."""
        with self._lock:
            noted, self._noted = self._noted, {}
        for key_id, moment in noted.items():
            ApiKey.objects.filter(pk=key_id).update(last_used_at=moment)

    def close(self) -> None:
        """Write what is left, at the end of the process."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._round()

    def _round(self) -> None:
        self._timer = None
        try:
            self.flush()
        except Exception:
            logger.exception("when API keys were last used could not be written")
        finally:
            database.close()


uses = Uses()
