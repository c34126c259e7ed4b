"""Records in: a file's rows through the write path, with every row that is wrong told by its number.

The rows that are right are created or changed in one transaction (:func:`run`; of a job, in
many: :func:`run_part`); what is wrong with the others is collected. With ``atomic`` one wrong
row undoes them all, and a dry run undoes them in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import IO, Any

from collections_app.io import reading
from collections_app.io.columns import Columns
from collections_app.io.landing import Landing, Row
from collections_app.io.options import Options
from collections_app.io.reading import KINDS, NumberedRow
from collections_app.io.report import Report
from collections_app.records import access, passwords
from collections_app.records.operations import Call
from collections_app.records.unit_of_work import unit_of_work
from collections_app.rules import RuleEnv
from collections_app.schema import statistics
from collections_app.schema.definition import CollectionDef
from collections_app.schema.registry import with_schema
from collections_app.schema.service import require_writable
from collections_app.schema.snapshot import Snapshot
from core import database
from core.errors import Forbidden, NotFound, ValidationFailed

MAX_PASSWORDS = 100  # rows of auth collections that set one: each takes as long as thousands of records
PIECE = 500

Note = Callable[[Report], None]


class _Undone(Exception):
    """Nothing of it shall stay."""


def look(call: Call, name: str, kind: str, file: IO[bytes], chosen: Options, most: int) -> tuple[CollectionDef, int]:
    """What the file would be imported into, and how many rows it has, as far as ``most`` and one more.

    Raises what can be known before the rows are tried: what :func:`run` raises for who asks, for the kind,
    for the file and its header.
    """
    _check_kind(kind)

    def unit(snapshot: Snapshot) -> tuple[CollectionDef, int]:
        file.seek(0)
        collection = snapshot.get(name)
        one = _Import(call, collection, snapshot, chosen, kind)
        count = 0
        with closing(reading.rows(file, kind, one.columns.check)) as rows:
            for _, row in islice(rows, most + 1):
                if not count:
                    one.check(row)
                count += 1
        return collection, count

    found = with_schema(unit)
    file.seek(0)
    return found


def run(
    call: Call,
    name: str,
    kind: str,
    file: IO[bytes],
    chosen: Options,
    *,
    within: Note | None = None,
    after_each: Note | None = None,
) -> Report:
    """Import the file. Raises NotFound, Unauthorized, Forbidden, BadRequest (an unreadable file),
    ValidationFailed (a bad header; with ``atomic`` any bad row, the report in ``extra``).

    ``within`` is called at the end of its transaction, if that is to be committed; ``after_each`` now and then.
    """
    _check_kind(kind)

    def unit(snapshot: Snapshot) -> Report:
        file.seek(0)
        one = _Import(call, snapshot.get(name), snapshot, chosen, kind)
        return one.run(reading.rows(file, kind, one.columns.check), within, after_each)

    return with_schema(unit)


def run_part(
    call: Call,
    name: str,
    kind: str,
    rows: Sequence[NumberedRow],
    chosen: Options,
    earlier: Report,
    *,
    within: Note,
) -> Report:
    """Import some rows in a transaction of their own; the answer is the report of all so far.

    Raises what :func:`run` raises.
    """

    def unit(snapshot: Snapshot) -> Report:
        report = replace(earlier, errors=list(earlier.errors))
        return _Import(call, snapshot.get(name), snapshot, chosen, kind, report).run(iter(rows), within, None)

    return with_schema(unit)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise NotFound(f"There is no import of {kind[:20]!r}; there are {', '.join(KINDS)}.")


class _Import:
    """One import, on one snapshot."""

    def __init__(
        self,
        call: Call,
        collection: CollectionDef,
        snapshot: Snapshot,
        chosen: Options,
        kind: str,
        report: Report | None = None,
    ) -> None:
        require_writable(collection)
        self._report = report or Report()
        self._call, self._collection, self._snapshot, self._options = call, collection, snapshot, chosen
        self._env = RuleEnv(principal=call.principal, method=call.method)
        admin = call.principal.is_admin
        create = self._verdict("create")
        if create is False and (not chosen.match or self._verdict("update") is False):
            raise access.refusal(self._env)
        if chosen.skip_validation and not admin:
            raise Forbidden("Only admins may skip the validation.")
        self.columns = Columns(collection, chosen, kind, admin=admin)
        self._landing = Landing(
            collection,
            snapshot,
            self._env,
            self._report,
            create=create,
            match=self.columns.match,
            skip_validation=chosen.skip_validation,
        )
        self._passwords = passwords.names(collection)

    def _verdict(self, action: str) -> bool | None:
        """What is certain for all rows, whatever they hold."""
        rule = access.rule(self._collection, action, self._snapshot)
        if not self._call.principal.is_admin and rule is not None and rule.asks_for_body:
            return None if access.within_scope(self._collection, action, self._env) else False
        with database.reading():
            return access.verdict(self._collection, action, self._env, self._snapshot)

    def check(self, row: Mapping[str, Any]) -> None:
        """That its columns are fields; ValidationFailed."""
        self.columns.data(row)

    def run(self, rows: Iterator[NumberedRow], within: Note | None, after_each: Note | None) -> Report:
        """All of it in one transaction; passwords are hashed before it begins."""
        given: Iterator[Row] = (Row(number, self.columns.data(row)) for number, row in rows)
        if self._passwords:
            given = iter([self._hashed(row) for row in given])
        before = self._report.imported
        try:
            with unit_of_work(self._snapshot, self._call.principal) as work:
                while piece := list(islice(given, PIECE)):
                    self._report.total += len(piece)
                    self._landing.piece(work, piece)
                    if after_each is not None:
                        after_each(self._report)
                if self._options.dry_run or (self._options.atomic and self._report.failed):
                    raise _Undone
                if within is not None:
                    within(self._report)
                statistics.loaded(self._collection, self._report.imported - before)
        except _Undone:
            if not self._options.dry_run:
                self._report.imported = self._report.updated = 0
                raise ValidationFailed(
                    f"{self._report.failed} of {self._report.total} rows are not right; nothing was imported.",
                    extra=self._report.as_json(),
                ) from None
        return self._report

    def _hashed(self, row: Row) -> Row:
        if not any(row.data.get(name) for name in self._passwords):
            return row
        if self._report.hashed >= MAX_PASSWORDS:
            raise ValidationFailed(fields={"file": [f"At most {MAX_PASSWORDS} rows may set a password."]})
        self._report.hashed += 1
        env = replace(self._env, body=row.data)
        return Row(row.number, dict(passwords.ahead(self._collection, "create", row.data, env, self._snapshot)))
