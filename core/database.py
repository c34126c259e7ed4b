"""This thread's connections below Django: raw statements, and sessions that only read.

A reading session is what one request reads. On SQLite it is one transaction on a
connection that can't write: whatever is read in it, the caller's account, the
page, its total, belongs to one state of the database, and what was found out
about that state is remembered (``memo``) until somebody commits another. On
PostgreSQL it is a read-only connection in autocommit; nothing holds still there
(``settled`` is False), and the memo lasts for one session.

A session that must not hold up others runs on a budget: a statement that takes
longer ends in :class:`OverBudget`, to be run again where it may take its time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from time import monotonic, thread_time
from types import TracebackType
from typing import Any, NoReturn

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from core.errors import BadRequest

_STEPS = 500  # of SQLite's machine, between two looks at the clock
_CHUNK = 50  # rows, likewise
_MAX_MEMO = 8000
_MAX_MEMO_BYTES = 8_000_000
_MAX_ENTRY_BYTES = 40_000
_MAX_SLOW = 1000
_MAX_TOLD = 1000  # characters of a slow query
_MAX_ROWS = 2000  # of one session with a budget: they still have to become an answer
_SLOW_SECONDS = 60.0  # until a slow statement gets another chance
_STRIKES = 4
_TOO_SLOW = (
    "The query took longer than {:g} seconds. Narrow it, or give the collection an index or search field for it."
)

slow_log = logging.getLogger("core.slow")

Row = tuple[Any, ...]

# Words of SQL that make each row dear, so that a look at the clock between rows comes too late.
never_on_budget: set[str] = set()


class OverBudget(Exception):
    """What was to be read takes longer than this session may; nothing came of it."""


def execute(sql: str, params: Sequence[Any] | None = ()) -> Any:
    """Run one statement on Django's connection of this thread; answers the driver's cursor.

    Django's proxies cost 1 µs each time one of their attributes is read, so the
    connection is looked up once, and the driver's errors are made Django's only
    where there are any.
    """
    wrapper = _django()
    try:
        return _raw(wrapper).execute(sql, params)
    except wrapper.Database.Error:
        with wrapper.wrap_database_errors:
            raise


def executemany(sql: str, rows: Sequence[Sequence[Any]]) -> Any:
    """Run one statement for each row of parameters, on Django's connection."""
    wrapper = _django()
    try:
        cursor = _raw(wrapper).cursor()
        cursor.executemany(sql, rows)
        return cursor
    except wrapper.Database.Error:
        with wrapper.wrap_database_errors:
            raise


def rows(sql: str, params: Sequence[Any] | None = (), *, keyed: bool = False) -> list[Row]:
    """All rows of a SELECT, on the reading session under way, else on Django's connection.

    ``keyed``: it looks for one row by its key, and if that ever takes long, that is not its fault.
    """
    session = _here.open
    started = monotonic()
    found: list[Row]
    if session is not None:
        found = session.rows(sql, params, keyed=keyed)
    else:
        found = execute(sql, params).fetchall()
    if monotonic() - started > settings.SLOW_QUERY_MS / 1000:
        tell_slow(sql, monotonic() - started)
    return found


def tell_slow(sql: str, seconds: float) -> None:
    """A note in the log; without parameters, which are somebody's data."""
    slow_log.warning("a query took %.2f s: %s", seconds, " ".join(sql.split())[:_MAX_TOLD])


def reading(kept: Session | None = None, budget: float | None = None) -> AbstractContextManager[Session]:
    """The reading session of this thread, to be entered; the one under way if there is one.

    ``kept`` is a session of the caller's own, ``budget`` the seconds that its reads may
    take. Where Django's connection is in a transaction, the session is on that
    connection, and sees what the transaction has written.
    """
    if _here.open is not None:
        return nullcontext(_here.open)
    if kept is None:
        wrapper: Any = connections[DEFAULT_DB_ALIAS]
        if wrapper.in_atomic_block:
            return _Borrowed(wrapper)
        kept = _here.kept = _here.kept or new_session()
    kept.budget = budget
    return kept


def new_session() -> Session:
    """A session of one's own, connected. It may be used in any thread, by one at a time."""
    session = _SQLite() if connections[DEFAULT_DB_ALIAS].vendor == "sqlite" else _PostgreSQL()
    session.connect()
    return session


def close() -> None:
    """Close this thread's connections, Django's and ours."""
    if _here.kept is not None:
        _here.kept.close()
        _here.kept = None
    connections.close_all()


def renew() -> None:
    """The database has ended our connections, or may have: each thread lets go of its own before its next work."""
    global _generation
    _generation += 1


def fresh(**_: Any) -> None:
    """Let go of this thread's connections where they are known to be ended; at the beginning of a piece of work."""
    if _here.generation != _generation:
        _here.generation = _generation
        close()
    elif _here.django is not None:
        raw = _here.django.connection
        if raw is not None and getattr(raw, "closed", False) and not _here.django.in_atomic_block:
            _here.django.close()


def end(crew: ThreadPoolExecutor) -> None:
    """Let a crew finish what it was given, and end its threads, each with its connections."""
    size: int = crew._max_workers
    together = threading.Barrier(size)  # or a quick thread would do it for others too

    def leave() -> None:
        together.wait()
        close()

    for _ in range(size):
        crew.submit(leave)
    crew.shutdown(wait=True)


class Session:
    """A connection for reads; a context manager, entered for one request at a time."""

    settled = True  # whether what is read stays as it is while the session lasts
    transient = False  # whether it may never have been, after a rollback

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper
        self.memo: dict[Any, Any] = {}
        self.memo_bytes = 0
        self.budget: float | None = None

    def __enter__(self) -> Session:
        self.begin()
        _here.open = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        _here.open = None
        self.end()

    def remember(self, key: Any, value: Any, size: int) -> None:
        """Keep what takes ``size`` bytes in the memo, if there is a next session that it holds for."""
        if self.settled and not self.transient and size <= _MAX_ENTRY_BYTES:
            if self.memo_bytes > _MAX_MEMO_BYTES or len(self.memo) > _MAX_MEMO:
                self.forget()
            self.memo[key] = value
            self.memo_bytes += size

    def forget(self) -> None:
        self.memo, self.memo_bytes = {}, 0

    def connect(self) -> None:
        self.wrapper.ensure_connection()

    def begin(self) -> None:
        """Take hold of the present state of the database."""

    def end(self) -> None:
        """Let go of it."""

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Leave the session for a while, to come back to it in the state that the database then has."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()

    def rows(self, sql: str, params: Sequence[Any] | None, *, keyed: bool = False) -> list[Row]:
        try:
            found: list[Row] = _raw(self.wrapper).execute(sql, params).fetchall()
            return found
        except self.wrapper.Database.Error:
            with self.wrapper.wrap_database_errors:
                raise

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Have this thread read on a session that :meth:`begin` has put into a state which lasts."""
        outer, _here.open = _here.open, self
        try:
            yield
        finally:
            _here.open = outer

    def limit_each(self, seconds: float | None) -> None:
        """From here on each statement may take that long, however long all take together; None: as usual.

        A statement that takes longer ends in BadRequest. To be taken back before the session
        ends; not for sessions with a budget.
        """

    def stream(self, sql: str, params: Sequence[Any] | None, size: int, *, patient: bool = True) -> Iterator[list[Row]]:
        """The rows of a SELECT in pieces, however many they are and however long it takes.

        Unless ``patient``, each piece may take as long as a statement may.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the connection, from whichever thread, an event loop's too."""
        raw, self.wrapper.connection = self.wrapper.connection, None
        if raw is not None:
            raw.close()


class _Borrowed(Session):
    """Django's own connection, in whose transaction may be what nobody else sees yet."""

    transient = True


class _SQLite(Session):
    def __init__(self) -> None:
        wrapper = connections[DEFAULT_DB_ALIAS].copy()
        wrapper.settings_dict["OPTIONS"]["init_command"] += ";PRAGMA query_only=1"
        super().__init__(wrapper)
        self._state = -1
        self._latest = self._latest_cpu = 0.0
        self._each: float | None = None  # seconds for each statement, instead of for all together
        self._running = self._late = False
        self._fetched = 0

    def connect(self) -> None:
        super().connect()
        self.wrapper.connection.set_progress_handler(self._interrupts, _STEPS)

    def begin(self) -> None:
        if self.budget is None:
            self._latest = monotonic() + settings.QUERY_TIMEOUT_MS / 1000
        else:
            self._latest = 0.0  # until the first statement
        self._late = False
        self._fetched = 0
        raw = self.wrapper.connection
        try:
            raw.execute("BEGIN")
            # What the transaction sees, it sees from here on. The number belongs to this connection.
            state = raw.execute("PRAGMA data_version").fetchone()[0]
            if state != self._state:
                self.forget()
                # A changed schema is read again by the first statement, which is not slow for that.
                raw.execute("SELECT 0 FROM sqlite_master LIMIT 0")
                self._state = state
        except self.wrapper.Database.Error:
            self.end()
            with self.wrapper.wrap_database_errors:
                raise

    def end(self) -> None:
        raw = self.wrapper.connection
        if raw.in_transaction:
            try:
                raw.execute("COMMIT")
            except self.wrapper.Database.Error:
                raw.rollback()
                with self.wrapper.wrap_database_errors:
                    raise

    def rows(self, sql: str, params: Sequence[Any] | None, *, keyed: bool = False) -> list[Row]:
        if self.budget is not None and (any(word in sql for word in never_on_budget) or _slow.knows(sql, params)):
            raise OverBudget
        if self.budget is not None and not self._latest:
            self._latest, self._latest_cpu = monotonic() + self.budget, thread_time() + self.budget
        if self._each is not None:
            self._latest = monotonic() + self._each
        self._running = True
        try:
            # A statement that is not at its end would hold on to this state of the database.
            with closing(self.wrapper.connection.execute(sql, params)) as cursor:
                found: list[Row] = cursor.fetchmany(_CHUNK)
                if len(found) == _CHUNK:
                    while not self._is_late() and (more := cursor.fetchmany(_CHUNK)):
                        found += more
        except self.wrapper.Database.Error as fault:
            if self._late:
                self._refuse(sql, params, fault)
            with self.wrapper.wrap_database_errors:
                raise
        finally:
            self._running = False
        self._fetched += len(found)
        if self._is_late() or (self.budget is not None and self._fetched > _MAX_ROWS):
            self._refuse(sql, params, None)
        if self.budget is not None:
            _slow.was_quick(sql)
        return found

    def stream(self, sql: str, params: Sequence[Any] | None, size: int, *, patient: bool = True) -> Iterator[list[Row]]:
        with self.wrapper.wrap_database_errors, closing(self.wrapper.connection.cursor()) as cursor:
            with self._piece(sql, params, patient):
                cursor.execute(sql, params or ())
                found = cursor.fetchmany(size)
            while found:
                yield found
                with self._piece(sql, params, patient):
                    found = cursor.fetchmany(size)

    @contextmanager
    def _piece(self, sql: str, params: Sequence[Any] | None, patient: bool) -> Iterator[None]:
        self._latest = monotonic() + settings.QUERY_TIMEOUT_MS / 1000
        self._late, self._running = False, not patient
        try:
            yield
        except self.wrapper.Database.Error as fault:
            if self._late:
                self._refuse(sql, params, fault)
            raise
        finally:
            self._running = False

    def limit_each(self, seconds: float | None) -> None:
        if seconds is None and self._each is not None:
            self._latest = monotonic() + settings.QUERY_TIMEOUT_MS / 1000
        self._each = seconds

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._latest = monotonic() + settings.QUERY_TIMEOUT_MS / 1000
        with super().at_work():
            yield

    def _refuse(self, sql: str, params: Sequence[Any] | None, fault: Exception | None) -> NoReturn:
        if self.budget is None:
            raise BadRequest(_TOO_SLOW.format(self._each or settings.QUERY_TIMEOUT_MS / 1000)) from fault
        _slow.add(sql, params)
        raise OverBudget from fault

    def _is_late(self) -> bool:
        """Whether the time is up. A budget is not of time that passes, for this thread may be
        waiting for a processor; but the clock on the wall is the cheaper one to look at."""
        self._late = monotonic() > self._latest and (self.budget is None or thread_time() > self._latest_cpu)
        return self._late

    def _interrupts(self) -> bool:
        """Asked by SQLite, which counts the steps of all statements, also of those that only begin or end."""
        return self._running and self._is_late()


class _PostgreSQL(Session):
    settled = False

    def __init__(self) -> None:
        wrapper = connections[DEFAULT_DB_ALIAS].copy()
        options = wrapper.settings_dict["OPTIONS"]
        options["options"] = (
            f"{options.get('options', '')} -c default_transaction_read_only=on"
            f" -c statement_timeout={settings.QUERY_TIMEOUT_MS}"
        )
        super().__init__(wrapper)
        self._limit = settings.QUERY_TIMEOUT_MS  # of this connection's statements

    def begin(self) -> None:
        self.forget()

    def limit_each(self, seconds: float | None) -> None:
        limit = settings.QUERY_TIMEOUT_MS if seconds is None else round(seconds * 1000)
        raw = self.wrapper.connection
        if limit != self._limit and raw is not None and not raw.closed:
            self._rows(f"SELECT set_config('statement_timeout', '{limit}', false)", None)
            self._limit = limit

    def rows(self, sql: str, params: Sequence[Any] | None, *, keyed: bool = False) -> list[Row]:
        if self.budget is None or keyed:
            return self._rows(sql, params)
        if _slow.knows(sql, params):
            raise OverBudget
        started = monotonic()
        found = self._rows(sql, params)
        if monotonic() - started > self.budget:
            _slow.add(sql, params)  # no statement is stopped, but the next one goes elsewhere
        return found

    def stream(self, sql: str, params: Sequence[Any] | None, size: int, *, patient: bool = True) -> Iterator[list[Row]]:
        raw = self.wrapper.connection
        with self.wrapper.wrap_database_errors, raw.transaction():
            raw.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            raw.execute(f"SET LOCAL statement_timeout = {0 if patient else settings.QUERY_TIMEOUT_MS}")
            with raw.cursor(name="stream") as cursor:
                cursor.execute(sql, params or None)  # without any, a % in the text is just that
                while found := cursor.fetchmany(size):
                    yield found

    def _rows(self, sql: str, params: Sequence[Any] | None) -> list[Row]:
        raw = self.wrapper.connection
        try:
            found: list[Row]
            if raw is not None:
                try:
                    found = raw.execute(sql, params).fetchall()
                    return found
                except self.wrapper.Database.Error:
                    if not raw.closed:
                        raise
                    self.wrapper.close()  # the server let go of it meanwhile; a read may be done again
            self.wrapper.ensure_connection()
            self._limit = settings.QUERY_TIMEOUT_MS
            found = self.wrapper.connection.execute(sql, params).fetchall()
            return found
        except self.wrapper.Database.Error as fault:
            if getattr(fault, "sqlstate", "") == "57014":
                raise BadRequest(_TOO_SLOW.format(settings.QUERY_TIMEOUT_MS / 1000)) from fault
            with self.wrapper.wrap_database_errors:
                raise


class _Here(threading.local):
    django: Any = None
    generation = 0
    open: Session | None = None
    kept: Session | None = None


_generation = 0
_here = _Here()


class _SlowStatements:
    """Which statements, with which parameters, were over budget lately; the same for all sessions.

    A first page is quick where the thousandth is not. So a statement is known with its
    parameters, from the second time on, and by itself only when it was slow several times
    running; then one time in a few it is tried again.
    """

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._strikes: dict[int, int] = {}

    def knows(self, sql: str, params: Sequence[Any] | None) -> bool:
        if not self._until:
            return False
        until = self._until.get(hash((sql, *(params or ()))))
        if until and monotonic() < until:
            return True
        strikes = self._strikes.get(hash(sql), 0)
        if strikes < _STRIKES:
            return False
        self._strikes[hash(sql)] = strikes + 1
        return strikes % _STRIKES != 0

    def add(self, sql: str, params: Sequence[Any] | None) -> None:
        if len(self._until) >= _MAX_SLOW:
            self._until.clear()
            self._strikes.clear()
        key = hash((sql, *(params or ())))
        # Once is an accident: garbage may have been collected meanwhile.
        self._until[key] = monotonic() + _SLOW_SECONDS if key in self._until else 0.0
        self._strikes[hash(sql)] = self._strikes.get(hash(sql), 0) + 1

    def was_quick(self, sql: str) -> None:
        if self._strikes:
            self._strikes.pop(hash(sql), None)


_slow = _SlowStatements()


def _django() -> Any:
    """Django's wrapper of this thread's connection, which stays the same while connections come and go."""
    if _here.django is None:
        _here.django = connections[DEFAULT_DB_ALIAS]
    return _here.django


def _raw(wrapper: Any) -> Any:
    if wrapper.connection is None:
        wrapper.ensure_connection()
    return wrapper.connection
