"""Collections and the event log in a database that was put back: a time line of its own.

Others know the schema by its epoch and the log by the ids of events. Those that the state before has given
since the backup mean other things in the new time line, so neither is given again: the new line begins
beyond both, and whoever comes with an id from before is told that the log does not go on from there.
"""

from __future__ import annotations

from django.db import connection

from collections_app import dialects, events
from collections_app.events import Change
from collections_app.models import EventLogState, IdempotencyKey, Job, SchemaEpoch
from collections_app.schema import registry
from core import clock
from core.restored import Restoration

RESTORED = "database.restored"  # the event that a time line begins with; its record is the restore
LEAP = 1_000_000  # beyond what is written between a look at the present state and its end
MESSAGE = "The database was restored from a backup before this was done."


def present() -> dict[str, int]:
    return {"last_event": _last_event(), "epoch": registry.read_version()}


def settle(restoration: Restoration, present: dict[str, int] | None) -> None:
    known = present or {"last_event": 0, "epoch": 0}
    own_epoch = registry.read_version()
    SchemaEpoch.objects.update_or_create(
        pk=1, defaults={"version": registry.next_time_line(max(own_epoch, known["epoch"]))}
    )
    _begin_log(max(_last_event(), known["last_event"]) + LEAP, restoration)
    # An answered key belongs to a record that is restored with it; one in flight has nobody to answer.
    IdempotencyKey.objects.filter(status=None).delete()
    Job.objects.filter(state__in=(Job.State.QUEUED, Job.State.RUNNING)).update(
        state=Job.State.FAILED, finished=clock.now(), message=MESSAGE, lease_key=""
    )


def check() -> None:
    """Read all definitions: one that this version can't read would fail each request."""
    registry.load()


def is_done(restoration_id: str) -> bool:
    """Whether the database is the one that this restore has put in place."""
    mark = dialects.current().placeholder
    sql = f"SELECT 1 FROM events WHERE collection_id = '' AND record_id = {mark} AND type = '{RESTORED}'"
    return bool(dialects.current().rows(sql, [restoration_id], keyed=True))


def _last_event() -> int:
    """The last id that was ever given, also to an event that is gone."""
    execute = dialects.current().execute
    if connection.vendor == "sqlite":
        found = execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    else:
        found = execute("SELECT last_value FROM events_id_seq").fetchone()
    return int(found[0]) if found else 0


def _begin_log(first: int, restoration: Restoration) -> None:
    """Let the log go on with an event of that id, which says what has happened."""
    _go_on_from(first - 1)
    change = Change(RESTORED, "", "", restoration.id, 0, None)
    events.append([change], restoration.by, clock.now())
    EventLogState.objects.update_or_create(pk=1, defaults={"begins_after": first})


def _go_on_from(event_id: int) -> None:
    execute = dialects.current().execute
    if connection.vendor == "sqlite":
        execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
        execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", [event_id])
    else:
        execute("SELECT setval('events_id_seq', %s)", [event_id])
