"""Rows into the database: piece by piece, each row that is wrong told by its number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.io import lenient
from collections_app.io.report import Report
from collections_app.records import access, modifiers, rows, validate, write
from collections_app.records.codec import Record, codec, placeholders
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
        keys = {row.number: self._key(row) for row in piece} if self._match is not None else {}
        known = self._existing(keys.values())
        fresh: list[tuple[Row, Record]] = []
        pending: set[Any] = set()  # keys of what is about to be inserted
        for row in piece:
            record_id = None
            key = keys.get(row.number)
            if key is not None:
                if key in pending:
                    self._insert(work, self._with_targets(fresh))
                    fresh, pending = [], set()
                    known |= self._existing([key])
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
        self._insert(work, self._with_targets(fresh))

    def _existing(self, keys: Iterable[Any]) -> dict[Any, str]:
        """Key → id of the records that have these values."""
        wanted = dict.fromkeys(key for key in keys if key is not None)
        if self._match is None or not wanted:
            return {}
        dialect, field = dialects.current(), self._match
        reader = codec(self._collection, tuple({self._collection.by_id["id"], field}))
        sql = (
            f"SELECT {reader.columns} FROM {quote(self._collection.table)} t "
            f"WHERE t.{quote(field.column)} IN ({placeholders(len(wanted))})"
        )
        found = dialect.execute(sql, [field.kind.dump(dialect.name, key) for key in wanted]).fetchall()
        return {record[field.name]: record["id"] for record in reader.records(found)}

    def _key(self, row: Row) -> Any:
        """The value that tells which record a row is about, as records hold it: 5, 5.0 and 05 are one number.
        None where there is none, or one that no record has, and that the row will be refused for."""
        assert self._match is not None
        raw = row.data.get(self._match.name)
        field = self._bare.by_name[self._match.name]
        if raw is None or raw == "":
            return None
        try:
            return field.kind.clean(field, raw)
        except InvalidValue:
            return None

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

    def _with_targets(self, fresh: list[tuple[Row, Record]]) -> list[tuple[Row, Record]]:
        """Without those whose related records do not exist; all are looked up at once. A record may refer to
        itself, and to those that stand before it."""
        targets = self._collection.target_fields
        missing = {}
        for target in targets:
            wanted = sorted({item for _, record in fresh for item in write.related_ids(record[target.name])})
            missing[target.name] = set(validate.missing_targets(target, wanted, self._snapshot))
        if not any(missing.values()):
            return fresh
        kept: list[tuple[Row, Record]] = []
        ours: set[str] = set()  # ids of what is kept
        for row, record in fresh:
            for target in targets:
                there = {*ours, record["id"]} if target.target == self._collection.id else set()
                lacking = missing[target.name] - there
                gone = [item for item in write.related_ids(record[target.name]) if item in lacking]
                if gone:
                    self._tell(row, target.name, f"The record {gone[0]!r} does not exist.")
                    break
            else:
                kept.append((row, record))
                ours.add(record["id"])
        return kept

    def _insert(self, work: UnitOfWork, fresh: list[tuple[Row, Record]]) -> None:
        """Together; where a value is taken, one by one, to find out whose."""
        if not fresh:
            return
        try:
            with savepoint(work):
                self._store(work, [record for _, record in fresh])
        except Conflict:
            for row, record in fresh:
                self._alone(work, row, partial(self._store_one, work, record))
        else:
            self._report.imported += len(fresh)

    def _store(self, work: UnitOfWork, records: list[Record]) -> None:
        rows.insert(self._collection, records, admin=self._admin)
        for record in records:
            work.created(self._collection, record)

    def _store_one(self, work: UnitOfWork, record: Record) -> None:
        # What it refers to may have been to come with it, and have been refused.
        validate.check_targets(self._collection, record, self._snapshot, record["id"])
        self._store(work, [record])

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
