"""Records in: a file's rows through the write path, with every row that is wrong told by its number.

The rows that are right are created or changed in one transaction (:func:`run`; of a job, in
many: :func:`run_part`); what is wrong with the others is collected. With ``atomic`` one wrong
row undoes them all, and a dry run undoes them in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import IO, Any

import orjson

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.io import lenient, reading
from collections_app.io.reading import NumberedRow
from collections_app.records import access, modifiers, passwords, rows, validate, write
from collections_app.records.codec import Record, placeholders
from collections_app.records.operations import Call
from collections_app.records.query import flag
from collections_app.records.unit_of_work import UnitOfWork, savepoint, unit_of_work
from collections_app.rules import RuleEnv
from collections_app.rules.prepared import Decision, prepared
from collections_app.schema import statistics
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.fields import InvalidValue
from collections_app.schema.registry import with_schema
from collections_app.schema.service import require_writable
from collections_app.schema.snapshot import Snapshot
from core import database
from core.errors import Conflict, DomainError, Forbidden, NotFound, PayloadTooLarge, ValidationFailed
from settings_app import values
from settings_app.registry import Setting, declare

KINDS = ("csv", "json", "xlsx")
PARAMETERS = frozenset({"skip_validation", "dry_run", "atomic", "match", "map", "background"})
MAX_ERRORS = 1000  # that are told one by one
MAX_PASSWORDS = 100  # rows of auth collections that set one: each takes as long as thousands of records
PIECE = 500
MAX_BYTES = "import_max_bytes"
NO_FILES = "Files can't be imported. Leave the column out, or empty, and send them as multipart/form-data."
IGNORED = frozenset({"id", "created", "updated", "collection"})


@dataclass(frozen=True, slots=True)
class Options:
    """How to import. ``names`` are the fields that columns of other names mean; ``match`` is the field
    whose value tells which record a row is about, empty where each row is a new one."""

    skip_validation: bool = False
    dry_run: bool = False
    atomic: bool = False
    match: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What became of the rows."""

    imported: int = 0
    updated: int = 0
    total: int = 0
    failed: int = 0
    hashed: int = 0  # passwords
    errors: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, number: int, sentence: str) -> None:
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"row": number, "error": sentence})

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Report:
        """What :meth:`stored` has told."""
        return cls(**{**stored, "errors": list(stored["errors"])}) if stored else cls()

    def stored(self) -> dict[str, Any]:
        return {**self.as_json(), "hashed": self.hashed}

    def as_json(self) -> dict[str, Any]:
        return {
            "imported": self.imported,
            "total": self.total,
            "errors": sorted(self.errors, key=lambda error: error["row"]),
            "updated": self.updated,
            "failed": self.failed,
        }


Note = Callable[[Report], None]


def declare_settings() -> None:
    declare(
        Setting(MAX_BYTES, "integer", 100 * 1024 * 1024, "import", "Bytes that an imported file may have.", least=1)
    )


class _Undone(Exception):
    """Nothing of it shall stay."""


def options(raw: Mapping[str, str]) -> Options:
    """Checked query parameters; ValidationFailed says what is wrong with them."""
    problems: dict[str, list[str]] = {}
    names = _names(raw.get("map", ""), problems)
    found = Options(
        **{key: flag(raw, key, problems) for key in ("skip_validation", "dry_run", "atomic")},
        match=raw.get("match", ""),
        names=names,
    )
    flag(raw, "background", problems)
    if problems:
        raise ValidationFailed(fields=problems)
    return found


def in_background(raw: Mapping[str, str]) -> bool | None:
    """What the caller wants of that; None where that is for us to say."""
    return flag(raw, "background", {}) if raw.get("background") else None


def _names(text: str, problems: dict[str, list[str]]) -> dict[str, str]:
    """``Name:title,Price:price``, or the same as a JSON object."""
    if not text:
        return {}
    if text.startswith("{"):
        try:
            given = orjson.loads(text)
        except orjson.JSONDecodeError:
            given = None
        if isinstance(given, dict) and all(isinstance(name, str) for name in given.values()):
            return given
    else:
        pairs = [part.rpartition(":") for part in text.split(",")]
        if all(column and name for column, _, name in pairs):
            return {column.strip(): name.strip() for column, _, name in pairs}
    problems["map"] = ['Expected pairs as in "Column:field,Other:field", or a JSON object of them.']
    return {}


def file_of(files: Mapping[str, Any], fields: Iterable[Any]) -> IO[bytes]:
    """The uploaded file of a form; ValidationFailed, or PayloadTooLarge beyond ``import_max_bytes``."""
    problems = {str(name)[:100]: ["Unknown field."] for name in {*files, *fields} if name != "file"}
    sent = files.get("file")
    if sent is None:
        problems["file"] = ["Send the file as multipart/form-data under this name."]
    if sent is None or problems:
        raise ValidationFailed(fields=problems)
    most = values.get(MAX_BYTES)
    if sent.size > most:
        raise PayloadTooLarge(f"The file has {sent.size:,} bytes; at most {most:,} are taken (import_max_bytes).")
    found: IO[bytes] = sent.file
    return found


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
        with closing(reading.rows(file, kind, one.check_header)) as rows:
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
        return one.run(reading.rows(file, kind, one.check_header), within, after_each)

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


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    data: dict[str, Any]


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
        self._kind, self._report = kind, report or Report()
        self._call, self._collection, self._snapshot, self._options = call, collection, snapshot, chosen
        self._env = RuleEnv(principal=call.principal, method=call.method)
        self._admin = call.principal.is_admin
        create = self._verdict("create")
        if create is False and (not chosen.match or self._verdict("update") is False):
            raise access.refusal(self._env)
        if chosen.skip_validation and not self._admin:
            raise Forbidden("Only admins may skip the validation.")
        self._bare = lenient.collection(collection) if chosen.skip_validation else collection
        self._match = self._matched(chosen.match) if chosen.match else None
        rule = access.rule(collection, "create", snapshot)
        # Otherwise each record is asked about after it was inserted, or refused.
        self._in_pieces = create is True or (create is None and rule is not None and rule.local)
        self._decides: Decision | None = None  # where all depends on the record, and nothing on the row
        if create is None and rule is not None and rule.local and not rule.asks_for_body:
            self._decides = prepared(rule, self._env)
        self._anything = create is True
        self._passwords = passwords.names(collection)
        self._fields: dict[str, str] = {}  # of the columns; empty where a column is not the caller's affair
        self._plain: dict[str, str] = {}  # of columns whose cells are values as they are

    def _verdict(self, action: str) -> bool | None:
        """What is certain for all rows, whatever they hold."""
        rule = access.rule(self._collection, action, self._snapshot)
        if not self._admin and rule is not None and rule.asks_for_body:
            return None if access.within_scope(self._collection, action, self._env) else False
        with database.reading():
            return access.verdict(self._collection, action, self._env, self._snapshot)

    def _matched(self, name: str) -> Field:
        found = self._collection.by_name.get(name)
        if found is None or found.secret or (found.hidden and not self._admin):
            raise ValidationFailed(fields={"match": [f"There is no field {name[:80]!r}."]})
        if found.id != "id" and found.id not in self._collection.unique_ids:
            raise ValidationFailed(fields={"match": [f"{name!r} must be id, or a unique field."]})
        return found

    def check_header(self, names: Sequence[str]) -> None:
        """That all columns are fields; ValidationFailed with all that are none."""
        problems: dict[str, list[str]] = {}
        for name in names:
            try:
                self._field_of(name)
            except ValidationFailed as error:
                problems |= error.fields
        if problems:
            raise ValidationFailed(fields=problems)

    def check(self, row: Mapping[str, Any]) -> None:
        """That its columns are fields; ValidationFailed."""
        self._data(row)

    def run(self, rows: Iterator[NumberedRow], within: Note | None, after_each: Note | None) -> Report:
        """All of it in one transaction; passwords are hashed before it begins."""
        given: Iterator[_Row] = (_Row(number, self._data(row)) for number, row in rows)
        if self._passwords:
            given = iter([self._hashed(row) for row in given])
        before = self._report.imported
        try:
            with unit_of_work(self._snapshot, self._call.principal) as work:
                while piece := list(islice(given, PIECE)):
                    self._report.total += len(piece)
                    self._piece(work, piece)
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

    # --- rows as data ----------------------------------------------------------------------------

    def _data(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row by the fields' names; ValidationFailed where a column is no field."""
        plain = self._plain
        try:
            return {plain[column]: value for column, value in row.items()}
        except KeyError:
            return dict(pair for column, value in row.items() for pair in self._pair(column, value))

    def _pair(self, column: str, value: Any) -> list[tuple[str, Any]]:
        """The field's name and the value of one cell; nothing where the column is not the caller's affair."""
        name = self._fields.get(column)
        if name is None:
            name = self._fields[column] = self._field_of(column)
        if not name:
            return []
        field = self._collection.by_name[name]
        if field.type == "file":
            if value not in (None, "", "[]", []):
                raise ValidationFailed(fields={column[:100]: [NO_FILES]})
            return []  # the files that a record has stay with it
        if field.value == "json" and self._kind != "json":
            return [(name, _parsed(value) if isinstance(value, str) else value)]
        self._plain[column] = name
        return [(name, value)]

    def _field_of(self, column: str) -> str:
        name = self._options.names.get(column, column)
        if name in IGNORED and not (self._match is not None and name == self._match.name):
            return ""
        field = self._collection.by_name.get(name)
        concealed = field is not None and not self._admin and field.hidden and field.id in self._collection.unique_ids
        if field is None or concealed:
            raise ValidationFailed(
                fields={column[:100]: ["There is no such field. Leave the column out, or say with map= what it is."]}
            )
        return name

    def _hashed(self, row: _Row) -> _Row:
        if not any(row.data.get(name) for name in self._passwords):
            return row
        if self._report.hashed >= MAX_PASSWORDS:
            raise ValidationFailed(fields={"file": [f"At most {MAX_PASSWORDS} rows may set a password."]})
        self._report.hashed += 1
        env = replace(self._env, body=row.data)
        return _Row(row.number, dict(passwords.ahead(self._collection, "create", row.data, env, self._snapshot)))

    # --- rows into the database --------------------------------------------------------------------

    def _piece(self, work: UnitOfWork, piece: Sequence[_Row]) -> None:
        """In the order of the file, but that new records of one piece are inserted together."""
        known = self._existing(piece)
        fresh: list[tuple[_Row, Record]] = []
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

    def _existing(self, piece: Sequence[_Row]) -> dict[str, str]:
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

    def _key(self, row: _Row) -> str:
        assert self._match is not None
        value = row.data.get(self._match.name)
        return "" if value is None else str(value)

    def _new(self, work: UnitOfWork, row: _Row) -> Record:
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

    def _with_targets(self, work: UnitOfWork, fresh: list[tuple[_Row, Record]]) -> list[tuple[_Row, Record]]:
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

    def _insert(self, work: UnitOfWork, fresh: list[tuple[_Row, Record]]) -> None:
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

    def _create(self, work: UnitOfWork, row: _Row) -> None:
        write.record_create(work, self._collection, row.data, self._env, checked_as=self._bare)

    def _change(self, work: UnitOfWork, row: _Row, record_id: str) -> None:
        changes = {name: value for name, value in row.data.items() if name != "id"}
        write.record_update(work, self._collection, record_id, changes, self._env, checked_as=self._bare)
        self._report.updated += 1

    def _alone(self, work: UnitOfWork, row: _Row, action: Callable[[], None]) -> None:
        updated = self._report.updated
        try:
            with savepoint(work):
                action()
        except DomainError as error:
            self._report.updated = updated
            self._refuse(row, error)
        else:
            self._report.imported += 1

    def _refuse(self, row: _Row, error: DomainError) -> None:
        if not error.fields:
            self._report.refuse(row.number, f"Row {row.number}: {error.message}")
            return
        for name, messages in error.fields.items():
            self._tell(row, name, " ".join(messages))
            return

    def _tell(self, row: _Row, name: str, sentence: str) -> None:
        field = self._collection.by_name.get(name)
        value = row.data.get(name)
        if field is not None and isinstance(value, str) and value and not lenient.can_read(field, value):
            sentence = (
                "Invalid email format" if field.type == "email" else f"Cannot convert {value[:60]!r} to {field.type}"
            )
        self._report.refuse(row.number, f"Row {row.number}, field {name!r}: {sentence}")


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
