"""Reading sessions: one state of the database each, on a budget where others wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from core import database
from core.errors import BadRequest

pytestmark = pytest.mark.engine

# Some ten million steps of nothing, on both engines.
LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000) SELECT count(*) FROM n"
MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT i FROM n"


@pytest.fixture
def table(committed_db: None) -> Iterator[str]:
    database.execute("CREATE TABLE session_test (number integer)")
    yield "session_test"
    database.execute("DROP TABLE session_test")


@pytest.fixture(autouse=True)
def nothing_is_slow_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_slow", database._SlowStatements())


def count(table: str) -> int:
    found: int = database.rows(f"SELECT count(*) FROM {table}")[0][0]
    return found


def insert(table: str) -> None:
    """In another thread, committed at once."""
    thread = threading.Thread(target=lambda: (database.execute(f"INSERT INTO {table} VALUES (1)"), database.close()))
    thread.start()
    thread.join()


def test_what_a_session_on_sqlite_reads_is_of_one_moment(table: str) -> None:
    with database.reading() as session:
        before = count(table)
        insert(table)
        assert count(table) == (before if session.settled else before + 1)
    with database.reading():
        assert count(table) == before + 1


def test_what_was_found_out_is_kept_until_somebody_commits(table: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has no name for a state")
    with database.reading() as session:
        session.remember("answer", 42, 10)
    with database.reading() as session:
        assert session.memo["answer"] == 42
    insert(table)
    with database.reading() as session:
        assert "answer" not in session.memo


def test_what_is_kept_is_bounded(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_MAX_MEMO_BYTES", 1000)
    with database.reading() as session:
        session.remember("too large", 1, database._MAX_ENTRY_BYTES + 1)
        for number in range(100):
            session.remember(number, number, 300)
        assert len(session.memo) <= 5


def test_a_session_inside_a_transaction_sees_what_it_wrote_and_keeps_nothing(table: str) -> None:
    with transaction.atomic():
        database.execute(f"INSERT INTO {table} VALUES (1)")
        with database.reading() as session:
            assert count(table) == 1
            session.remember("answer", 42, 10)
            assert session.transient and not session.memo
        transaction.set_rollback(True)
    with database.reading():
        assert count(table) == 0


def test_a_session_within_a_session_is_the_same_one(table: str) -> None:
    with database.reading() as outer:
        with database.reading() as inner:
            assert inner is outer
        assert count(table) == 0, "the outer one is still open"


def test_a_session_can_be_left_for_a_while(table: str) -> None:
    with database.reading() as session:
        assert count(table) == 0
        with session.suspended():
            database.execute(f"INSERT INTO {table} VALUES (1)")
        assert count(table) == 1


def test_nothing_can_be_written_in_a_session(table: str) -> None:
    with database.reading(), pytest.raises(DatabaseError):
        database.rows(f"INSERT INTO {table} VALUES (1) RETURNING number")
    assert count(table) == 0


def test_a_statement_over_budget_stops_and_is_known_from_then_on(table: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("on PostgreSQL no statement is stopped for a budget")
    for _ in range(2):  # once is an accident
        with database.reading(budget=0.003), pytest.raises(database.OverBudget):
            database.rows(LONG)
    with database.reading(budget=1000), pytest.raises(database.OverBudget):
        database.rows(LONG)
    with database.reading(budget=0.003):
        assert count(table) == 0, "the session goes on"


def test_a_slow_statement_gets_another_chance_in_time(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_SLOW_SECONDS", 0)
    for _ in range(2):
        database._slow.add(f"SELECT count(*) FROM {table}", ())
    with database.reading(budget=0.5):
        assert count(table) == 0


def test_other_parameters_are_another_statement_until_it_is_slow_with_many(table: str) -> None:
    slow = database._SlowStatements()
    slow.add("page", (1000,))
    assert not slow.knows("page", (1000,)), "once is an accident"
    slow.add("page", (1000,))
    assert slow.knows("page", (1000,)) and not slow.knows("page", (1,))
    for page in range(1001, 1010):
        slow.add("page", (page,))
    assert {slow.knows("page", (1,)) for _ in range(20)} == {True, False}, "now and then it gets a chance"
    slow.was_quick("page")
    assert not slow.knows("page", (1,))


def test_many_rows_are_over_budget_too(committed_db: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("on PostgreSQL no statement is stopped for a budget")
    with database.reading(budget=10), pytest.raises(database.OverBudget):
        database.rows(MANY)
    with database.reading():
        assert len(database.rows(MANY)) == 2500


def test_a_query_beyond_the_time_limit_is_refused_with_what_to_do(table: str, settings: Any) -> None:
    settings.QUERY_TIMEOUT_MS = 50

    def ask() -> None:
        with database.reading(), pytest.raises(BadRequest, match=r"took longer than 0\.05 seconds"):
            database.rows(LONG)
        with database.reading():
            assert count(table) == 0, "the session goes on"

    with ThreadPoolExecutor(1) as pool:  # a thread of its own makes its connection with these settings
        pool.submit(ask).result()
        pool.submit(database.close).result()


def test_where_each_statement_has_a_time_of_its_own_one_that_takes_longer_stops_no_other(
    table: str,
) -> None:
    with database.reading() as session:
        session.limit_each(0.05)
        for _ in range(3):
            with pytest.raises(BadRequest):
                database.rows(LONG)
            assert count(table) == 0
        session.limit_each(None)
        assert len(database.rows(MANY)) == 2500


def test_ten_thousand_sessions_are_never_interrupted(table: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("there is nothing that could interrupt")
    session = database.new_session()
    for _ in range(10_000):
        with database.reading(session, budget=0.003):
            pass
    session.close()


def test_a_read_that_was_given_up_leaves_the_session_on_the_present(table: str) -> None:
    faults = []
    for number in range(20):
        with database.reading(budget=10) as session:
            try:
                database.rows(MANY)
            except database.OverBudget as fault:
                faults.append(fault)  # whoever holds it holds no state of the database
        insert(table)
        with database.reading() as again:
            assert again is session
            assert count(table) == number + 1
    assert len(faults) == (20 if connection.vendor == "sqlite" else 0)


def test_a_crew_ends_with_all_its_connections(table: str) -> None:
    closed: list[int] = []

    class Watched(database.Session):
        def close(self) -> None:
            closed.append(threading.get_ident())
            super().close()

    def open_one() -> None:
        with database.reading():
            count(table)
        kept = database._here.kept
        assert kept is not None
        kept.__class__ = type("Watched", (Watched, kept.__class__), {})

    crew = ThreadPoolExecutor(3)
    together = threading.Barrier(3)
    for _ in range(3):
        crew.submit(lambda: (open_one(), together.wait()))
    database.end(crew)
    assert len(set(closed)) == 3
