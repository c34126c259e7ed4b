"""The log is cut from the front, never through what somebody needs, and whoever comes back too late is told."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.principals import SYSTEM
from collections_app import dialects, event_retention, events, tasks
from collections_app.event_retention import Limits
from collections_app.events import Change
from collections_app.models import Event, EventLogState
from collections_app.records.unit_of_work import unit_of_work
from collections_app.schema import registry
from collections_app.tests.threads import at_once, faults, held_open
from core import background, clock
from core.errors import ValidationFailed
from settings_app import services, values

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("schema_db")]

FOREVER = Limits(days=365, rows=10**9)


def log(ages: list[int]) -> list[int]:
    """Empty the log and write one event for each age in days, oldest first; answers their ids."""
    Event.objects.all().delete()
    EventLogState.objects.all().delete()
    now = clock.now()
    for age in ages:
        with transaction.atomic():
            events.append([Change("record.created", "notes", "notes", "r", 1, {})], "", now - timedelta(days=age))
    return ids()


def ids() -> list[int]:
    return list(Event.objects.order_by("id").values_list("id", flat=True))


def trimmed_through() -> int:
    state = EventLogState.objects.first()
    return state.trimmed_through if state else 0


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """``needs(7)``: somebody needs the events from 7 on."""
    monkeypatch.setattr(event_retention, "_needs", {})
    return lambda first: event_retention.keep_from("reader", lambda: first)


def test_what_is_too_old_goes_and_the_rest_stays(needs: Any) -> None:
    known = log([100, 95, 91, 89, 3, 0])
    assert event_retention.trim(Limits(90, 10**6)) == 3
    assert ids() == known[3:] and trimmed_through() == known[2]
    assert event_retention.trim(Limits(90, 10**6)) == 0
    assert ids() == known[3:] and trimmed_through() == known[2]


def test_what_is_too_many_goes_oldest_first(needs: Any) -> None:
    known = log([0] * 10)
    assert event_retention.trim(Limits(90, 4)) == 6
    assert ids() == known[6:] and trimmed_through() == known[5]


def test_the_newest_event_stays_however_old(needs: Any) -> None:
    known = log([100, 99, 98])
    event_retention.trim(Limits(1, 1))
    assert ids() == known[2:]
    assert events.settled_id() == known[2]
    log([])
    assert event_retention.trim(Limits(1, 1)) == 0


def test_an_old_event_behind_a_younger_one_waits_for_it(needs: Any) -> None:
    known = log([100, 3, 100, 0])
    assert event_retention.trim(Limits(90, 10**6)) == 1
    assert ids() == known[1:]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_batches_of_any_size_come_to_the_same(needs: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(event_retention, "FEWEST", size)
    monkeypatch.setattr(event_retention, "MOST", size)
    known = log([100] * 4 + [0] * 3)
    assert event_retention.trim(Limits(90, 10**6), dry_run=True) == 4
    assert ids() == known and trimmed_through() == 0
    assert event_retention.trim(Limits(90, 10**6)) == 4
    assert ids() == known[4:] and trimmed_through() == known[3]


def test_what_somebody_needs_stays_but_for_twice_as_long_at_most(needs: Any, caplog: pytest.LogCaptureFixture) -> None:
    def said() -> list[str]:
        return [record.message for record in caplog.records if record.levelname == "ERROR"]

    known = log([300, 200, 170, 120, 100, 3, 0])
    needs(known[2])
    assert event_retention.trim(Limits(150, 10**6)) == 2
    assert ids() == known[2:] and not said()
    assert event_retention.trim(Limits(60, 10**6)) == 2
    assert ids() == known[4:]
    (message,) = said()
    assert f"reader still needs events from {known[2]} on" in message
    needs(None)
    assert event_retention.trim(Limits(60, 10**6)) == 1
    assert ids() == known[5:]


def test_a_reader_that_is_stuck_keeps_twice_as_many_rows(needs: Any) -> None:
    known = log([0] * 10)
    needs(known[0])
    assert event_retention.trim(Limits(90, 5)) == 0
    assert event_retention.trim(Limits(90, 3)) == 4
    assert ids() == known[4:]


@settings(max_examples=60, deadline=None)
@given(
    ages=st.lists(st.integers(0, 12), max_size=14),
    days=st.integers(1, 8),
    rows=st.integers(1, 16),
    need=st.none() | st.integers(0, 14),
    size=st.integers(1, 5),
)
def test_whatever_the_limits_a_front_goes_and_all_that_may_stay_stays(
    ages: list[int], days: int, rows: int, need: int | None, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(event_retention, "FEWEST", size)
        patched.setattr(event_retention, "_needs", {})
        known = log(ages)
        needed = None if need is None or not known else known[0] + need
        event_retention.keep_from("reader", lambda: needed)

        def front(gone: int, days: int, rows: int) -> int:
            """How many are gone when those have gone who have to by these limits alone."""
            gone = max(gone, len(ages) - rows)
            while gone < len(ages) and ages[gone] >= days:
                gone += 1
            return gone

        expected = front(0, days, rows)
        if needed is not None and expected > (unneeded := needed - known[0]):
            expected = front(unneeded, 2 * days, 2 * rows)
        expected = max(0, min(expected, len(ages) - 1))
        would = event_retention.trim(Limits(days, rows), dry_run=True)
        assert ids() == known
        got = event_retention.trim(Limits(days, rows))
        assert got == would == expected
        assert ids() == known[expected:]
        assert trimmed_through() == (known[expected - 1] if expected else 0)


def test_ids_never_come_again(needs: Any) -> None:
    known = log([100, 0])
    event_retention.trim(Limits(90, 1))
    Event.objects.all().delete()
    with transaction.atomic():
        events.append([Change("record.created", "notes", "notes", "r", 1, {})], "", clock.now())
    assert ids()[0] > known[-1]


def test_whoever_knows_less_than_the_log_has_left_can_tell(needs: Any) -> None:
    known = log([100, 100, 0, 0])
    event_retention.trim(Limits(90, 10**6))
    assert not events.reaches_back_to(known[0])
    assert events.reaches_back_to(known[1])
    assert [event.id for event in events.read(known[1])] == known[2:]


def test_nothing_goes_that_is_behind_an_event_still_to_be_committed(needs: Any) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("there is one writer at a time")

    def slow() -> Any:
        return unit_of_work(registry.latest(), SYSTEM)

    known = log([100, 99])

    class Open:
        def __enter__(self) -> None:
            self.work = slow()
            self.work.__enter__()
            events.append([Change("record.created", "slow", "slow", "s", 1, {})], "", clock.now())

        def __exit__(self, *fault: Any) -> None:
            self.work.__exit__(None, None, None)

    with held_open(Open):
        for age in (98, 97):
            with transaction.atomic():
                moment = clock.now() - timedelta(days=age)
                events.append([Change("record.created", "notes", "notes", "r", 1, {})], "", moment)
        event_retention.trim(Limits(1, 1))
        assert trimmed_through() == known[0]
    assert [event.collection for event in events.read(known[0])] == ["notes", "slow", "notes", "notes"]


def test_several_who_trim_at_once_do_it_once(needs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_retention, "FEWEST", 3)
    monkeypatch.setattr(event_retention, "MOST", 3)
    known = log([100] * 30 + [0] * 3)
    answers = at_once(*[lambda: event_retention.trim(Limits(90, 10**6))] * 4)
    assert not faults(answers)
    assert sum(answers) == 30
    assert ids() == known[30:]


def test_a_cut_that_fails_leaves_the_log_whole(needs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = log([100, 100, 0])

    def fail(*_: Any) -> int:
        raise OSError("in the middle")

    real = event_retention._delete
    monkeypatch.setattr(event_retention, "_delete", lambda *cut: (real(*cut), fail())[0])
    with pytest.raises(OSError, match="in the middle"):
        event_retention.trim(Limits(90, 10**6))
    assert ids() == known and trimmed_through() == 0


def test_a_process_that_ends_leaves_the_rest_to_the_next(needs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = log([100, 0])
    monkeypatch.setattr(background.worker, "is_ending", True)
    assert event_retention.trim(Limits(90, 10**6)) == 0
    assert ids() == known


def test_the_task_goes_by_the_settings(needs: Any) -> None:
    known = log([100, 20, 0])
    assert background.tasks[event_retention.TASK].every == 3600
    assert tasks.trim_events() == 1
    services.put(event_retention.DAYS, 10, by="")
    assert tasks.trim_events() == 1
    assert ids() == known[2:]
    for key, value in ((event_retention.DAYS, 0), (event_retention.DAYS, 10**6), (event_retention.ROWS, 0)):
        with pytest.raises(ValidationFailed):
            services.put(key, value, by="")
    assert values.get(event_retention.DAYS) == 10


def test_the_command_says_what_goes_and_deletes_it(needs: Any) -> None:
    known = log([100, 20, 10, 0])

    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("trim_events", *arguments, stdout=out)
        return out.getvalue()

    assert run("--days", "15", "--dry-run") == "2 events would go.\n"
    assert ids() == known
    assert run() == "1 event deleted.\n"
    assert run("--rows", "2", "--days", "99999999") == "1 event deleted.\n"
    assert ids() == known[2:]
    for wrong in ("0", "-1", "x", "1e3", "9" * 30):
        with pytest.raises(CommandError):
            run("--days", wrong)
    assert ids() == known[2:]


def test_the_log_is_cut_by_its_key_alone() -> None:
    log([0] * 3)
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        cursor.execute(f"{explain} DELETE FROM events WHERE id > 1 AND id <= 3")
        plan = " ".join(str(row[-1]) for row in cursor.fetchall())
        if connection.vendor == "postgresql":
            cursor.execute("RESET enable_seqscan; RESET enable_bitmapscan")
    assert "USING INTEGER PRIMARY KEY" in plan or "Index Scan using events_pkey" in plan


def test_a_long_log_is_cut_in_bounded_memory_and_short_transactions(
    needs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_retention, "sleep", lambda seconds: None)
    log([0])
    dialect = dialects.current()
    series = {
        "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) SELECT",
        "postgresql": "SELECT",
    }[dialect.name]
    dialect.execute(
        "INSERT INTO events (type, collection, collection_id, record_id, revision, data, actor, timestamp)"
        f" {series} 'record.created', 'notes', 'notes', 'r', 1, '{{}}', '', {dialect.placeholder}"
        f" FROM {'s' if dialect.name == 'sqlite' else 'generate_series(1, 20000)'}",
        [dialect.moment(clock.now() - timedelta(days=100))],
    )
    cuts: list[int] = []
    real = event_retention._delete

    def delete(after: int, through: int) -> int:
        cuts.append(real(after, through))
        return cuts[-1]

    monkeypatch.setattr(event_retention, "_delete", delete)
    tracemalloc.start()
    try:
        assert event_retention.trim(Limits(90, 5)) == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert Event.objects.count() == 1
    assert max(cuts) <= event_retention.MOST
    assert peak < 3_000_000
