"""What the server needs, and whether it answers: asked in threads of their own, for two seconds at most.

A check that hangs has one thread, whoever asks and however often; until it ends, and that may be
never, the answer is no. An answer is kept for a moment, so nobody can keep the database busy by asking.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import monotonic

from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from cms_project import ephemeral
from core import background, database
from core.gate import gate

SECONDS = 2.0

logger = logging.getLogger("fastcms.health")


class Check:
    """One thing that is needed. ``ask`` answers whether it is there; what it raises is a no.

    Without those that are ``vital`` the server can't answer requests; without others some of what it does waits.
    """

    def __init__(self, name: str, ask: Callable[[], bool], *, vital: bool = False, kept: float = 0.25) -> None:
        self.name, self.ask, self.vital, self._kept = name, ask, vital, kept
        self._lock = threading.Lock()
        self._run: _Run | None = None

    def begin(self) -> None:
        """Have it asked, unless it is being asked, or was just now."""
        with self._lock:
            run = self._run
            if run is None or (run.done.is_set() and monotonic() > run.ended + self._kept):
                self._run = run = _Run(self)
                threading.Thread(target=run.go, name=f"check {self.name}", daemon=True).start()

    def answers(self) -> bool:
        """Waits for the answer, at most until :data:`SECONDS` after it was asked for."""
        self.begin()
        run = self._run
        assert run is not None
        run.done.wait(max(run.began + SECONDS - monotonic(), 0))
        return run.done.is_set() and run.answer


class _Run:
    def __init__(self, check: Check) -> None:
        self._check = check
        self.began, self.ended = monotonic(), 0.0
        self.answer, self.done = False, threading.Event()

    def go(self) -> None:
        try:
            self.answer = self._check.ask()
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with it, that is the answer
            logger.warning("%s does not answer: %r", self._check.name, fault)
        finally:
            self.ended = monotonic()
            self.done.set()
            database.close()


def ask(wanted: Sequence[Check]) -> dict[str, bool]:
    """All of these at the same time, by name."""
    for check in wanted:
        check.begin()
    return {check.name: check.answers() for check in wanted}


def _database() -> bool:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def _cache() -> bool:
    cache.set("health", "1", 5)
    return bool(cache.get("health") == "1")


def _channel_layer() -> bool:
    """Redis, where the layer is there; a layer in this process is always there."""
    hosts = settings.CHANNEL_LAYERS["default"].get("CONFIG", {}).get("hosts", [])
    if not hosts:
        return True
    from redis import Redis  # most do without

    with Redis.from_url(hosts[0]["address"], socket_timeout=SECONDS, socket_connect_timeout=SECONDS) as redis:
        return bool(redis.ping())


def _worker() -> bool:
    from monitoring import heartbeat  # an app that may be left out

    return heartbeat.is_fresh()


def _disk() -> bool:
    return shutil.disk_usage(settings.DATA_DIR).free >= settings.HEALTH_MIN_DISK_MB * 1024 * 1024


@lru_cache(1)
def _newest_migrations() -> frozenset[tuple[str, str]]:
    """Of the code, which stays as it is."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.leaf_nodes())


def _migrations() -> bool:
    newest = _newest_migrations()
    needed = {"default": newest}
    if ephemeral.ALIAS in connections:
        needed[ephemeral.ALIAS] = frozenset(one for one in newest if one[0] in ephemeral.APPS)
    return all(
        wanted <= MigrationRecorder(connections[alias]).applied_migrations().keys() for alias, wanted in needed.items()
    )


def _open() -> bool:
    return gate.is_open


DATABASE = Check("database", _database, vital=True)
CACHE = Check("cache", _cache)
CHANNEL_LAYER = Check("channel_layer", _channel_layer)
WORKER = Check("worker", _worker, kept=2)
DISK = Check("disk", _disk, kept=2)
MIGRATIONS = Check("migrations", _migrations, vital=True, kept=10)
OPEN = Check("open", _open, vital=True)  # no backup is being restored


def all_checks() -> list[Check]:
    """Those that there is something to ask for here."""
    found = [DATABASE, MIGRATIONS, OPEN, CACHE, CHANNEL_LAYER, DISK]
    # Without a broker the tasks are run by the threads of serve, and under other servers by nobody.
    has_worker = background.has_broker() or background.worker.is_running
    return [*found, WORKER] if has_worker and apps.is_installed("monitoring") else found
