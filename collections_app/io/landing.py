"""Rows into the database: piece by piece, each row that is wrong told by its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.io import lenient
from collections_app.io.report import Report
from collections_app.records import access, modifiers, rows, validate, write
from collections_app.records.codec import Record, placeholders
from collections_app.records.unit_of_work import UnitOfWork, savepoint
from collections_app.rules import RuleEnv
from collections_app.rules.prepared import Decision, prepared
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.fields import InvalidValue
from collections_app.schema.snapshot import Snapshot
from core.errors import Conflict, DomainError


@dataclass(frozen=True, slots=True)
class Row:
    """One row by the fields' names; ``number`` is its place in the file."""

    number: int
    data: dict[str, Any]


class Landing:
    """Where the rows of one import come down. ``create`` is what is certain of the create rule for all of them."""

    def __init__(
        self,
        collection: CollectionDef,
        snapshot: Snapshot,
        env: RuleEnv,
        report: Report,
        *,
        create: bool | None,
        match: Field | None,
        skip_validation: bool,
    ) -> None:
        self._collection, self._snapshot, self._env, self._report = collection, snapshot, env, report
        self._admin, self._match = env.principal.is_admin, match
        self._bare = lenient.collection(collection) if skip_validation else collection
        rule = access.rule(collection, "create", snapshot)
        # Otherwise each record is asked about after it was inserted, or refused.
        self._in_pieces = create is True or (create is None and rule is not None and rule.local)
        self._decides: Decision | None = None  # where all depends on the record, and nothing on the row
        if create is None and rule is not None and rule.local and not rule.asks_for_body:
            self._decides = prepared(rule, self._env)
        self._anything = create is True

    def piece(self, work: UnitOfWork, piece: Sequence[Row]) -> None:
        """In the order of the file, but that new records of one piece are inserted together."""
        known = self._existing(piece)
        fresh: list[tuple[Row, Record]] = []
        pending: set[str] = set()  # keys of what is about to be inserted
        for row in piece:
            record_id = None
            if self._match is not None and (key := self._key(row)):
                if key in pending:
                    self._insert(work, self._with_targets(work, fresh))
                    fresh, pending = [], set()
                    known |= self._existing([row])
                record_id = known.get(key)
                pending.add(key)
            if record_id is not None:
                self._alone(work, row, partial(self._change, work, row, record_id))
            elif not self._in_pieces:
                self._alone(work, row, partial(self._create, work, row))
            else:
                try:
                    fresh.append((row, self._new(work, row)))
                except DomainError as error:
                    self._refuse(row, error)
        self._insert(work, self._with_targets(work, fresh))

    def _existing(self, piece: Sequence[Row]) -> dict[str, str]:
        """Key → id of the records that these rows are about."""
        if self._match is None:
            return {}
        keys = list(dict.fromkeys(key for row in piece if (key := self._key(row))))
        if not keys:
            return {}
        dialect = dialects.current()
        cleaned = {}
        for key in keys:
            try:
                cleaned[key] = self._match.kind.dump(dialect.name, self._match.kind.clean(self._match, key))
            except InvalidValue:
                continue  # no record has it, and the row will be refused for it
        if not cleaned:
            return {}
        column, table = quote(self._match.column), quote(self._collection.table)
        sql = f"SELECT {column}, id FROM {table} WHERE {column} IN ({placeholders(len(cleaned))})"
        found = dialect.execute(sql, list(cleaned.values())).fetchall()
        ids = {str(value): record_id for value, record_id in found}
        return {key: ids[str(value)] for key, value in cleaned.items() if str(value) in ids}

    def _key(self, row: Row) -> str:
        assert self._match is not None
        value = row.data.get(self._match.name)
        return "" if value is None else str(value)

    def _new(self, work: UnitOfWork, row: Row) -> Record:
        record = validate.clean_new(self._bare, row.data, admin=self._admin, moment=work.moment)
        if self._anything:
            return record
        if self._decides is not None:
            allowed = self._decides(record)
        else:
            env = replace(self._env, body=modifiers.resolved(self._collection, row.data, None))
            allowed = access.allows(self._collection, "create", record, env, self._snapshot)
        if not allowed:
            raise access.refusal(self._env)
        return record

    def _with_targets(self, work: UnitOfWork, fresh: list[tuple[Row, Record]]) -> list[tuple[Row, Record]]:
        """Without those whose related records do not exist; all are looked up at once."""
        for target in self._collection.target_fields:
            wanted = sorted({item for _, record in fresh for item in write.related_ids(record[target.name])})
            missing = validate.missing_targets(target, wanted, self._snapshot)
            if missing:
                kept = []
                for row, record in fresh:
                    gone = [item for item in write.related_ids(record[target.name]) if item in missing]
                    if gone:
                        self._tell(row, target.name, f"The record {gone[0]!r} does not exist.")
                    else:
                        kept.append((row, record))
                fresh = kept
        return fresh

    def _insert(self, work: UnitOfWork, fresh: list[tuple[Row, Record]]) -> None:
        """Together; where a value is taken, one by one, to find out whose."""
        if not fresh:
            return
        try:
            with savepoint(work):
                self._store(work, [record for _, record in fresh])
        except Conflict:
            for row, record in fresh:
                self._alone(work, row, partial(self._store, work, [record]))
        else:
            self._report.imported += len(fresh)

    def _store(self, work: UnitOfWork, records: list[Record]) -> None:
        rows.insert(self._collection, records, admin=self._admin)
        for record in records:
            work.created(self._collection, record)

    def _create(self, work: UnitOfWork, row: Row) -> None:
        write.record_create(work, self._collection, row.data, self._env, checked_as=self._bare)

    def _change(self, work: UnitOfWork, row: Row, record_id: str) -> None:
        changes = {name: value for name, value in row.data.items() if name != "id"}
        write.record_update(work, self._collection, record_id, changes, self._env, checked_as=self._bare)
        self._report.updated += 1

    def _alone(self, work: UnitOfWork, row: Row, action: Callable[[], None]) -> None:
        updated = self._report.updated
        try:
            with savepoint(work):
                action()
        except DomainError as error:
            self._report.updated = updated
            self._refuse(row, error)
        else:
            self._report.imported += 1

    def _refuse(self, row: Row, error: DomainError) -> None:
        if not error.fields:
            self._report.refuse(row.number, f"Row {row.number}: {error.message}")
            return
        for name, messages in error.fields.items():
            self._tell(row, name, " ".join(messages))
            return

    def _tell(self, row: Row, name: str, sentence: str) -> None:
        field = self._collection.by_name.get(name)
        value = row.data.get(name)
        if field is not None and isinstance(value, str) and value and not lenient.can_read(field, value):
            sentence = (
                "Invalid email format" if field.type == "email" else f"Cannot convert {value[:60]!r} to {field.type}"
            )
        self._report.refuse(row.number, f"Row {row.number}, field {name!r}: {sentence}")
