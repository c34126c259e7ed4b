"""PostgreSQL: the dump is loaded into a schema of its own, and tables change their schemas in one transaction.

A dump names its schema, ``public``, in every statement. So while it is loaded the live tables are aside, and come
back before the transaction ends: nobody else ever sees that, though all wait for it. What was loaded stands in
``restored`` then, where it is migrated and settled, and nobody reads it. The swap waits for every transaction
that has touched one of the live tables, moves them to ``before_restore`` and what is in ``restored`` to ``public``,
and ends the sessions of all others, who connect anew.

Only our tables move (``backups/ours.py``), and only they are read from a dump. What others have made stays as
it is; where it depends on one of our tables nothing is restored, since it would follow the old one.

Tables move, and not schemas their names: we own the tables, but not always the schema ``public``, and never the
functions of extensions in it.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from django.db import Error, connection, transaction

from backups import ours, postgres_tools
from backups.archive import BadArchive
from backups.restoring import preparing
from backups.verifying import Contents
from collections_app.dialects import quote
from collections_app.schema.change import ADVISORY_LOCK
from core.errors import DomainError, ServiceUnavailable
from core.restored import Restoration

LIVE, RESTORED, KEPT, ASIDE = "public", "restored", "before_restore", "live_aside"
LOCK_TIMEOUT = "30s"
PIECE = 1024 * 1024
MOST_NAMED = 10
_NEEDS = ";\tdepends on:"
# Of what depends on one of our tables, or on one that is kept of before: what is not of those tables themselves.
_DEPENDENTS = """
  WITH here AS (SELECT c.oid, c.reltype FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (c.relname = ANY(%s) AND n.nspname = %s OR n.nspname = %s)),
  types AS (SELECT reltype AS oid FROM here UNION SELECT t.oid FROM pg_type t JOIN here ON t.typelem = here.reltype)
  SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
  WHERE d.deptype = 'n' AND (d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM here)
      OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT oid FROM types))
    AND coalesce(
      CASE d.classid
        WHEN 'pg_class'::regclass THEN d.objid
        WHEN 'pg_constraint'::regclass THEN (SELECT conrelid FROM pg_constraint WHERE oid = d.objid)
        WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = d.objid)
        WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = d.objid)
        WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = d.objid)
        WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = d.objid)
      END, 0) NOT IN (SELECT oid FROM here)
  ORDER BY 1"""
# What is loaded of a dump: what says in its place in the list of contents which table it is of …
_OF_TABLES = ("TABLE DATA", "TABLE", "DEFAULT", "CHECK CONSTRAINT", "FK CONSTRAINT", "CONSTRAINT")
# … and what tells it by what it depends on. Schemas and extensions are there already, and are ours to place.
_OF_THOSE = ("SEQUENCE OWNED BY", "SEQUENCE SET", "SEQUENCE", "INDEX", "STATISTICS DATA", "STATISTICS")

logger = logging.getLogger("fastcms.backups")


class Entangled(DomainError):
    """Something that is not ours depends on our tables; the message names it."""

    status, code = 422, "VALIDATION_ERROR"


def safety_copy() -> str:
    """Where the state before is kept, for people."""
    return f"the schema {KEPT} of the same database"


class Restoring:
    """One restore, step by step; before :meth:`swap` nothing of it can be seen."""

    def __init__(self, folder: Path) -> None:
        self._own = folder

    def load(self, folder: Path, found: Contents) -> None:
        """Load the dump into the schema ``restored``; BadArchive where it is none of ours."""
        if _rows("SELECT current_schema()") != [(LIVE,)]:
            raise ServiceUnavailable(f"The tables have to be in the schema {LIVE}, where a backup's are too.")
        dump = folder / found.database.name
        check_surroundings()
        listed = _listed(dump)
        entries, tables = _entries(listed, _collections(dump))
        live, _ = ours.tables(_rows, LIVE)
        if _needs_extension(listed):
            self._install()
        with tempfile.NamedTemporaryFile("w", dir=self._own) as chosen:
            chosen.writelines(f"{line}\n" for line in entries)
            chosen.flush()
            before = (
                "SET client_min_messages = warning",
                "BEGIN",
                f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'",
                f"DROP SCHEMA IF EXISTS {RESTORED} CASCADE",
                f"CREATE SCHEMA {ASIDE}",
                *_move(live, LIVE, ASIDE),
            )
            after = (
                f"CREATE SCHEMA {RESTORED}",
                *_move(tables, LIVE, RESTORED),
                *_move(live, ASIDE, LIVE),
                f"DROP SCHEMA {ASIDE}",
                "COMMIT",
            )
            _load(dump, chosen.name, before, after)

    def prepare(self, restoration: Restoration) -> None:
        preparing.prepare(RESTORED, restoration)

    def keep(self) -> None:
        """It is kept by the swap itself, which moves it."""

    def swap(self, *, at_start: bool) -> None:
        """The one moment that counts."""
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
                check_surroundings()  # it may have been made since the copy was loaded
                cursor.execute(f"DROP SCHEMA IF EXISTS {KEPT} CASCADE")
                cursor.execute(f"CREATE SCHEMA {KEPT}")
                (live, _), (restored, others) = ours.tables(_rows, LIVE), ours.tables(_rows, RESTORED)
                for statement in (*_move(live, LIVE, KEPT), *_move([*restored, *others], RESTORED, LIVE)):
                    cursor.execute(statement)
                cursor.execute(f"DROP SCHEMA {RESTORED}")
                # Whoever is connected knows the tables of before by their numbers, and may be in the middle of work.
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND usename = current_user AND backend_type = 'client backend'"
                )
        except Error as fault:
            if getattr(fault.__cause__, "sqlstate", "") in ("55P03", "40P01"):  # somebody else had a lock
                raise ServiceUnavailable(f"The tables were in use for {LOCK_TIMEOUT}; nothing was restored.") from fault
            raise

    def tidy(self) -> None:
        """Nothing is left over."""

    def give_up(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {RESTORED} CASCADE")

    def _install(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE EXTENSION IF NOT EXISTS {quote(ours.EXTENSION)} SCHEMA {LIVE}")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of a dump's contents: its number, what it is, its schema, its name and owner, and what it needs."""

    line: str
    number: str
    words: list[str]
    needs: frozenset[str]


def _listed(dump: Path) -> list[_Entry]:
    ran = subprocess.run(  # noqa: S603
        [postgres_tools.tool("pg_restore"), "--list", "--verbose", str(dump)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ran.returncode:
        raise BadArchive(f"Its database is no dump that can be read: {postgres_tools.last_words(ran.stderr)}")
    found: list[_Entry] = []
    for line in ran.stdout.splitlines():
        if line.startswith(_NEEDS) and found:
            found[-1] = replace(found[-1], needs=frozenset(line.removeprefix(_NEEDS).split()))
        elif line and not line.startswith(";"):
            number, _, rest = line.partition(";")
            found.append(_Entry(line, number, rest.split(" ")[3:], frozenset()))
    return found


def _rows(sql: str, given: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _collections(dump: Path) -> set[str]:
    """The tables of the collections that the dump defines."""
    ran = subprocess.run(  # noqa: S603
        [postgres_tools.tool("pg_restore"), "--data-only", f"--schema={LIVE}", f"--table={ours.DEFINITIONS}",
         "--file=-", str(dump)],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if ran.returncode:
        raise BadArchive(f"Its database is no dump that can be read: {postgres_tools.last_words(ran.stderr)}")
    found: set[str] = set()
    lines = iter(ran.stdout.splitlines())
    for line in lines:
        if line.startswith(f"COPY {LIVE}.{ours.DEFINITIONS} ("):
            columns = line[line.index("(") + 1 : line.index(")")].split(", ")
            for row in lines:
                if row == "\\.":
                    break
                told = dict(zip(columns, row.split("\t"), strict=False))
                which, name = told.get("id", ""), told.get("name", "")
                found.add(ours.of_collection(which, name, system=told.get("system") == "t"))
    return found


def check_dump(dump: Path) -> None:
    """BadArchive where the dump can't be read, or has no table of ours."""
    _entries(_listed(dump), _collections(dump))


def check_surroundings() -> None:
    """Entangled where a swap of our tables would harm what others have made in this database."""
    live, _ = ours.tables(_rows, LIVE)
    _, strangers = ours.tables(_rows, KEPT)
    found = [f"table {KEPT}.{name}" for name in strangers]
    found += [str(row[0]) for row in _rows(_DEPENDENTS, [live, LIVE, KEPT])]
    if found:
        more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise Entangled(
            f"What is not ours depends on our tables or stands in the schema {KEPT}, and would be lost: "
            f"{', '.join(found[:MOST_NAMED])}{more}. Drop or move it, restore, and make it anew."
        )


def _needs_extension(entries: Sequence[_Entry]) -> bool:
    return any(entry.words[:3] == ["EXTENSION", "-", ours.EXTENSION] for entry in entries)


def _entries(listed: Sequence[_Entry], of_collections: set[str]) -> tuple[list[str], list[str]]:
    """The lines of those entries that are to be loaded, our tables and what is of them; and the tables' names."""
    tables: dict[str, str] = {}
    chosen: set[str] = set()
    for entry in listed:
        kind = next((kind for kind in _OF_TABLES if " ".join(entry.words).startswith(f"{kind} ")), None)
        if kind is None:
            continue
        schema, name = entry.words[len(kind.split(" ")) :][:2]
        if schema == LIVE and ours.is_ours(name, of_collections):
            chosen.add(entry.number)
            if kind == "TABLE":
                tables[entry.number] = name
    if not tables:
        raise BadArchive("Its database has no table that is ours.")
    rest = [entry for entry in listed if " ".join(entry.words).startswith(tuple(f"{kind} " for kind in _OF_THOSE))]
    known = set(tables)
    while found := {one.number for one in rest if one.number not in known and known & one.needs}:
        known |= found
    return [entry.line for entry in listed if entry.number in chosen | known], list(tables.values())


def _move(names: Sequence[str], source: str, target: str) -> Iterator[str]:
    """Statements that move tables to another schema; their indexes, constraints and sequences of ids go with them."""
    for name in names:
        yield f"ALTER TABLE {source}.{quote(name)} SET SCHEMA {target}"


def _load(dump: Path, chosen: str, before: Iterable[str], after: Iterable[str]) -> None:
    """One transaction of psql, which commits only after pg_restore has written all of it and was content."""
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as complained:
        writing = postgres_tools.start(
            [postgres_tools.tool("pg_restore"), "--no-owner", "--no-privileges", f"--use-list={chosen}",
             "--file=-", str(dump)],
            told,
        )  # fmt: skip
        running = subprocess.Popen(  # noqa: S603
            [postgres_tools.tool("psql"), "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1",
             "--output=/dev/null", "--file=-"],
            env=postgres_tools.environment() | {"PGOPTIONS": "-c statement_timeout=0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complained,
        )  # fmt: skip
        try:
            failed = _pump(writing, running, before, after)
            code = running.wait()
        finally:
            for process in (writing, running):
                process.kill()
                process.wait()
        if failed or code:
            told.seek(0)
            complained.seek(0)
            words = postgres_tools.last_words(complained.read() or told.read())
            raise BadArchive(f"Its database could not be loaded: {words}")


def _pump(
    writing: subprocess.Popen[bytes], running: subprocess.Popen[bytes], before: Iterable[str], after: Iterable[str]
) -> bool:
    """Have psql do what comes before, what pg_restore writes, and what comes after; whether that went wrong."""
    assert writing.stdout is not None and running.stdin is not None
    into: IO[bytes] = running.stdin
    try:
        with into:
            into.write("".join(f"{statement};\n" for statement in before).encode())
            while piece := writing.stdout.read(PIECE):
                into.write(piece)
            if writing.wait():
                return True  # without a COMMIT there was nothing
            into.write("".join(f"{statement};\n" for statement in after).encode())
    except BrokenPipeError:  # psql has complained, and gone
        return True
    return False
