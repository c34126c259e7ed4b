"""Bringing the tables of a collection from one definition to the next.

Runs inside the one transaction of a schema change (``change.py``), on rows that
nobody else can touch meanwhile. Whatever would lose or mangle a value is found
before, counted, and refused with examples unless the caller allowed it; nothing
is guessed. Every step is logged at DEBUG.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import InternalError, NotSupportedError, ProgrammingError, connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.schema import field_values, indexes, preflight, search_index, tables
from collections_app.schema.convert import convert
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.fields import InvalidValue
from core import catalogue
from core.errors import Conflict

logger = logging.getLogger(__name__)

_EXAMPLES = 5


class Tables:
    """Carries out changes of one collection's tables with Django's schema editor.

    ``targets`` maps the ids of all collections to their tables. ``lossy`` allows
    what loses data.
    """

    def __init__(self, editor: BaseDatabaseSchemaEditor, targets: Mapping[str, str], *, lossy: bool = False) -> None:
        self.editor = editor
        self.targets = dict(targets)
        self.lossy = lossy
        self.dialect = dialects.current()
        self.vendor = connection.vendor

    # -- whole collections --------------------------------------------------
    def create(self, collection: CollectionDef) -> None:
        self._log("create table", collection.table)
        if collection.system and collection.table in connection.introspection.table_names():
            # Its definition was flushed away, its table was not: the two still fit.
            self._sync_indexes(collection)
            return
        columns = [(field, field.column) for field in collection.stored_fields]
        self.editor.create_model(self._model(collection.table, columns))
        self._flush()
        for field in collection.through_fields:
            self._create_through(collection, field, field.through)
        self._sync_indexes(collection)
        if search_index.is_kept(collection):
            search_index.create(collection)

    def drop(self, collection: CollectionDef) -> None:
        if search_index.is_kept(collection):
            search_index.drop(collection)
        for field in collection.through_fields:
            self._drop_table(field.through)
        self._drop_table(collection.table)

    def complete(self, collection: CollectionDef) -> None:
        """Add what is missing, where somebody else has dropped it; make wrong indexes anew."""
        found = catalogue.read()
        here = found.get(collection.table)
        stored = [(field, field.column) for field in collection.stored_fields]
        if here is None:
            self.editor.create_model(self._model(collection.table, stored))
            self._flush()
        else:
            columns = {field.id: (field, column) for field, column in stored if column in here.columns}
            for field, column in stored:
                if column not in here.columns:
                    self._add(collection, columns, field)
            self._restore_keys(collection, here)
            self._drop_wrong_indexes(collection, here)
        for field in collection.through_fields:
            if field.through not in found:
                self._create_through(collection, field, field.through)
            else:
                self._index_through(field.through, field.id, None, keep=found[field.through].indexes)
        self._sync_indexes(collection)
        if search_index.is_kept(collection):
            search_index.drop(collection)
            search_index.create(collection)
            search_index.fill(collection)

    def _restore_keys(self, collection: CollectionDef, here: catalogue.Table) -> None:
        known = {key.column for key in here.keys}
        missing = [field for field in collection.stored_fields if field.target and field.column in here.columns]
        missing = [field for field in missing if field.column not in known]
        if not missing:
            return
        model = self._model(collection.table, [(field, field.column) for field in collection.stored_fields])
        if self.vendor == "sqlite":
            self.editor._remake_table(model)  # type: ignore[attr-defined]
        else:
            for field in missing:
                column = model._meta.get_field(tables.attribute(field))
                self.editor.execute(self.editor._create_fk_sql(model, column, "_fk_%(to_table)s_%(to_column)s"))  # type: ignore[attr-defined]

    def _drop_wrong_indexes(self, collection: CollectionDef, here: catalogue.Table) -> None:
        for name, index in indexes.wanted(collection, self.vendor, trigrams=True).items():
            if name in here.indexes and here.indexes[name] != index.in_catalogue():
                self._drop_index(name)

    # -- a change -----------------------------------------------------------
    def alter(self, old: CollectionDef, new: CollectionDef) -> None:
        """From the old definition to the new; raises Conflict where data stands in the way."""
        gone = [field for field in old.own_fields if field.id not in new.by_id]
        added = [field for field in new.own_fields if field.id not in old.by_id]
        kept = [(old.by_id[field.id], field) for field in new.own_fields if field.id in old.by_id]
        changed = [(a, b) for a, b in kept if b.kind.must_convert(a, b)]
        searched = old.search != new.search or any(a.id in new.search for a, _ in changed)
        # What the table's columns are called right now, by field id.
        columns = {field.id: (field, field.column) for field in old.stored_fields}

        for field in gone if not self.lossy else ():
            preflight.refuse_loss(old, field)
        if searched and search_index.is_kept(old):
            search_index.drop(old)
        self._drop_indexes(old, keep=indexes.wanted(new, self.vendor, trigrams=True).keys(), touched=gone + [
            a for a, _ in changed
        ])  # fmt: skip
        for field in gone:
            self._remove(old.table, columns, field)
        for before, after in changed:
            self._convert(old, new, columns, before, after)
        self._rename(old.table, columns, new)
        for field in added:
            self._add(new, columns, field)
        preflight.require_values(old, new)
        self._settle_constraints()
        preflight.require_unique(new)
        self._sync_indexes(new)
        if searched and search_index.is_kept(new):
            self._log("fill search index", new.table)
            search_index.create(new)
            search_index.fill(new)

    def _remove(self, table: str, columns: dict[str, tuple[Field, str]], field: Field) -> None:
        if field.storage == "through":
            self._drop_table(field.through)
            return
        self._remove_column(table, list(columns.values()), field)
        del columns[field.id]

    def _remove_column(self, table: str, columns: Sequence[tuple[Field, str]], field: Field) -> None:
        self._log("remove column", table, field.column)
        self._settle_constraints()
        model = self._model(table, columns)
        self.editor.remove_field(model, model._meta.get_field(tables.attribute(field)))

    def _add(self, new: CollectionDef, columns: dict[str, tuple[Field, str]], field: Field) -> None:
        if field.storage == "through":
            self._create_through(new, field, field.through)
        else:
            self._add_column(new.table, [*columns.values(), (field, field.column)], field)
            columns[field.id] = (field, field.column)
        value = field.kind.empty(field) if field.default is None else field.kind.clean(field, field.default)
        if field.kind.is_empty(value):
            return
        if field.target:
            self._check_default_target(field, value)
        self._log("fill column", new.table, field.column)
        if field.storage == "through":
            field_values.write(
                new.table, field, field.through, ((row_id, value) for row_id in field_values.all_ids(new.table))
            )
            return
        mark = self.dialect.placeholder
        self.dialect.execute(
            f"UPDATE {quote(new.table)} SET {quote(field.column)} = {mark}", [field.kind.dump(self.vendor, value)]
        )

    def _check_default_target(self, field: Field, value: Any) -> None:
        wanted = value if isinstance(value, list) else [value]
        mark = self.dialect.placeholder
        sql = f"SELECT id FROM {quote(self.targets[field.target])} WHERE id IN ({', '.join([mark] * len(wanted))})"
        found = {row[0] for row in self.dialect.execute(sql, wanted).fetchall()}
        if missing := [item for item in wanted if item not in found]:
            raise Conflict(f"The default of {field.name!r} names a record that does not exist: {missing[0]!r}.")

    def _add_column(self, table: str, columns: Sequence[tuple[Field, str]], field: Field) -> None:
        self._log("add column", table, columns[-1][1])
        self._settle_constraints()
        model = self._model(table, columns)
        self.editor.add_field(model, model._meta.get_field(tables.attribute(field)))
        self._flush()

    def _rename(self, table: str, columns: dict[str, tuple[Field, str]], new: CollectionDef) -> None:
        """Two phases, so that names can be swapped."""
        moves = {
            field_id: new.by_id[field_id].column
            for field_id, (_, column) in columns.items()
            if field_id in new.by_id and column != new.by_id[field_id].column
        }
        occupied = {column for _, column in columns.values()}
        for field_id in [fid for fid, column in moves.items() if column in occupied]:
            field, column = columns[field_id]
            self._rename_column(table, column, f"tmp_{field_id}")
            columns[field_id] = (field, f"tmp_{field_id}")
        for field_id, column in moves.items():
            self._rename_column(table, columns[field_id][1], column)
            columns[field_id] = (new.by_id[field_id], column)

    def _rename_column(self, table: str, old: str, new: str) -> None:
        self._log("rename column", table, old, new)
        self._settle_constraints()
        self.editor.execute(f"ALTER TABLE {quote(table)} RENAME COLUMN {quote(old)} TO {quote(new)}")

    # -- conversion ---------------------------------------------------------
    def _convert(
        self,
        old: CollectionDef,
        new: CollectionDef,
        columns: dict[str, tuple[Field, str]],
        before: Field,
        after: Field,
    ) -> None:
        """New place, converted values, or a refusal with count and examples; then the old place goes."""
        self._log("convert", old.table, before.name, before.type, after.type)
        place = f"tmp_{after.id}"
        if after.storage == "through":
            self._create_through(new, after, place)
        else:
            self._add_column(
                old.table, [*(pair for pair in columns.values()), (_renamed(after), place)], _renamed(after)
            )
        failures: list[tuple[str, Any, str]] = []
        count = 0
        known = self._existing_targets(after)

        def converted() -> Iterator[tuple[str, Any]]:
            nonlocal count
            for record_id, value in field_values.read(old, before):
                try:
                    result = convert(before, after, value)
                    if known is not None and any(item not in known for item in _items(result)):
                        raise InvalidValue("There is no such record.")
                except InvalidValue as error:
                    count += 1
                    if len(failures) < _EXAMPLES:
                        failures.append((record_id, value, str(error)))
                    result = after.kind.empty(after)
                yield record_id, result

        field_values.write(old.table, after, place, converted())
        if count and not self.lossy:
            raise Conflict(
                f"Changing {before.name!r} from {before.type} to {after.type} would lose {count} "
                f"value{'s' if count > 1 else ''}. Mend them, or repeat with ?allow_data_loss=true to drop them.",
                extra={"count": count, "examples": [
                    {"id": record_id, "value": None if before.secret else value, "error": text}
                    for record_id, value, text in failures
                ]},
            )  # fmt: skip
        if before.storage == "through":
            self._drop_table(before.through)
        else:
            rest = list(columns.values())
            if after.storage != "through":
                rest.append((_renamed(after), place))
            self._remove_column(old.table, rest, before)
            del columns[before.id]
        if after.storage == "through":
            self._log("rename table", place, after.through)
            self._settle_constraints()
            self.editor.execute(f"ALTER TABLE {quote(place)} RENAME TO {quote(after.through)}")
            self._index_through(after.through, after.id, place)
        else:
            columns[after.id] = (after, place)

    def _existing_targets(self, field: Field) -> set[str] | None:
        """All ids that a relation may hold; None where the field is none."""
        return set(field_values.all_ids(self.targets[field.target])) if field.target else None

    # -- small steps ----------------------------------------------------------
    def _sync_indexes(self, collection: CollectionDef) -> None:
        wanted = indexes.wanted(collection, self.vendor, trigrams=self._trigrams(collection))
        here = indexes.existing(collection.table, self.vendor)
        for name in sorted(here - wanted.keys()):
            self._drop_index(name)
        for name in sorted(wanted.keys() - here):
            self._log("create index", name)
            self._settle_constraints()
            self.editor.execute(wanted[name].create_sql(collection.table, self.vendor))

    def _drop_indexes(self, collection: CollectionDef, *, keep: Iterable[str], touched: Sequence[Field]) -> None:
        """Indexes that will not be needed, or cover a column about to go."""
        ids = {field.id for field in touched}
        wanted = indexes.wanted(collection, self.vendor, trigrams=True)
        for name in sorted(indexes.existing(collection.table, self.vendor)):
            known = wanted.get(name)
            if name not in set(keep) or known is None or any(field.id in ids for field in known.fields):
                self._drop_index(name)

    def _drop_index(self, name: str) -> None:
        self._log("drop index", name)
        self._settle_constraints()
        self.editor.execute(f"DROP INDEX {quote(name)}")

    def _trigrams(self, collection: CollectionDef) -> bool:
        """Whether trigram indexes can be had: PostgreSQL with pg_trgm, which we try to install."""
        if self.vendor != "postgresql" or not collection.search:
            return False
        if self.dialect.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'").fetchone():
            return True
        try:
            with transaction.atomic():
                self.dialect.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        except (ProgrammingError, NotSupportedError, InternalError):
            logger.warning("pg_trgm can't be installed; search on %s works without an index", collection.name)
            return False
        return True

    def _create_through(self, collection: CollectionDef, field: Field, name: str) -> None:
        self._log("create table", name)
        self._settle_constraints()
        self.editor.create_model(tables.through_model(name, collection.table, self.targets[field.target], self.vendor))
        self._flush()
        self._index_through(name, field.id if name == field.through else name, None)

    def _index_through(self, table: str, stem: str, former: str | None, *, keep: Container[str] = ()) -> None:
        """One entry per pair, in order; and the way back. ``former`` is the stem to take the names from."""
        for suffix in ("source", "target"):
            if f"rel_{stem}_{suffix}" in keep:
                continue
            if former is not None:
                self.editor.execute(f"DROP INDEX {quote(f'rel_{former}_{suffix}')}")
            columns = "source_id, position" if suffix == "source" else "target_id, source_id"
            unique = "UNIQUE " if suffix == "target" else ""
            self.editor.execute(f"CREATE {unique}INDEX {quote(f'rel_{stem}_{suffix}')} ON {quote(table)} ({columns})")

    def _drop_table(self, name: str) -> None:
        self._log("drop table", name)
        self._settle_constraints()
        self.editor.execute(f"DROP TABLE {quote(name)}")

    def _flush(self) -> None:
        """Carry out what the editor put off (foreign keys), before the next step renames what it speaks of."""
        for sql in self.editor.deferred_sql:
            self.editor.execute(sql, None)
        self.editor.deferred_sql.clear()

    def _settle_constraints(self) -> None:
        """PostgreSQL alters no table that has checks waiting for the commit."""
        if self.vendor == "postgresql":
            self.dialect.execute("SET CONSTRAINTS ALL IMMEDIATE")
            self.dialect.execute("SET CONSTRAINTS ALL DEFERRED")

    def _model(self, table: str, columns: Iterable[tuple[Field, str]]) -> Any:
        return tables.record_model(table, columns, self.targets, self.vendor)

    def _log(self, *step: str) -> None:
        logger.debug("schema: %s", " ".join(step))


def _renamed(field: Field) -> Field:
    """The field as a second one beside itself, for the time of a conversion."""
    return replace(field, id=f"{field.id}_new")


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
