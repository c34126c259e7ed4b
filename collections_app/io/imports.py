"""Records in: a file's rows through the write path, with every row that is wrong told by its number.

A file is read first (:func:`looked`), with no lock held. The rows that are right are then created or
changed in one transaction (:func:`run_rows`; a job has one for each part of its rows); what is wrong
with the others is collected. With ``atomic`` one wrong row undoes them all, and a dry run undoes them
in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, Any

from collections_app.io import reading
from collections_app.io.columns import Columns, InvalidCell
from collections_app.io.landing import Landing, Row
from collections_app.io.options import Options
from collections_app.io.reading import KINDS, NumberedRow
from collections_app.io.report import Report
from collections_app.io.spool import Spool
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
Rows = Spool | Sequence[NumberedRow]


class _Undone(Exception):
    """Nothing of it shall stay."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a file would be imported into, and its rows, which have been read."""

    collection: CollectionDef
    rows: Spool


@contextmanager
def looked(
    call: Call,
    name: str,
    kind: str,
    file: IO[bytes],
    chosen: Options,
    *,
    most: int | None = None,
    meanwhile: Callable[[], None] = reading.at_once,
) -> Iterator[Looked]:
    """Read the file, as far as ``most`` rows and one more; ``meanwhile`` is called now and then.

    Raises what can be known before the rows are tried: NotFound, Unauthorized, Forbidden, BadRequest
    (an unreadable file), ValidationFailed (a bad header).
    """
    if kind not in KINDS:
        raise NotFound(f"There is no import of {kind[:20]!r}; there are {', '.join(KINDS)}.")
    collection, columns = with_schema(lambda snapshot: _Import(call, name, snapshot, chosen, kind).about())
    with Spool() as spool:
        with closing(reading.rows(file, kind, columns.check)) as rows:
            spool.fill(columns.checked(rows if most is None else islice(rows, most + 1)), meanwhile)
        if spool.count and (most is None or spool.count <= most):
            columns.check_key()
        yield Looked(collection, spool)


def run(call: Call, name: str, kind: str, file: IO[bytes], chosen: Options) -> Report:
    """Import the file. Raises what :func:`looked` and :func:`run_rows` raise."""
    with looked(call, name, kind, file, chosen) as found:
        return run_rows(call, name, kind, found.rows, chosen)


def run_rows(
    call: Call,
    name: str,
    kind: str,
    rows: Rows,
    chosen: Options,
    *,
    earlier: Report | None = None,
    within: Note | None = None,
    after_each: Note | None = None,
) -> Report:
    """Import some rows in one transaction; the answer is the report of these and the ``earlier`` ones.

    Raises NotFound, Unauthorized, Forbidden, ValidationFailed (a column that is no field; with ``atomic`` any bad
    row, the report in ``extra``). ``within`` is called at the end of the transaction, if that is to be committed;
    ``after_each`` now and then.
    """

    def unit(snapshot: Snapshot) -> Report:
        report = replace(earlier, errors=list(earlier.errors)) if earlier else Report()
        return _Import(call, name, snapshot, chosen, kind, report).run(rows, within, after_each)

    return with_schema(unit)


class _Import:
    """One import, on one snapshot."""

    def __init__(
        self,
        call: Call,
        name: str,
        snapshot: Snapshot,
        chosen: Options,
        kind: str,
        report: Report | None = None,
    ) -> None:
        collection = snapshot.get(name)
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

    def about(self) -> tuple[CollectionDef, Columns]:
        return self._collection, self.columns

    def run(self, rows: Rows, within: Note | None, after_each: Note | None) -> Report:
        """All of it in one transaction; passwords are hashed before it begins."""
        hashed = self._hashed(rows) if self._passwords else {}
        given = self._as_data(rows, hashed)
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

    def _as_data(self, rows: Rows, hashed: Mapping[int, dict[str, Any]]) -> Iterator[Row]:
        for number, row in rows:
            try:
                yield Row(number, hashed.get(number) or self.columns.data(row))
            except InvalidCell as fault:
                self._report.total += 1
                self._report.refuse(number, f"Row {number}, field {fault.field!r}: {fault.sentence}")

    def _hashed(self, rows: Rows) -> dict[int, dict[str, Any]]:
        """The rows that set a password, with its hash."""
        found = {}
        for number, row in rows:
            try:
                data = self.columns.data(row)
            except InvalidCell:
                continue  # told when its turn comes
            if any(data.get(name) for name in self._passwords):
                most = 1 if self._env.principal.is_anonymous else MAX_PASSWORDS  # of nobody as in a batch
                if self._report.hashed >= most:
                    raise ValidationFailed(fields={"file": [f"At most {most} rows may set a password."]})
                self._report.hashed += 1
                env = replace(self._env, body=data)
                found[number] = dict(passwords.ahead(self._collection, "create", data, env, self._snapshot))
        return found
