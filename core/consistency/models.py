"""The tables of Django's models against the database's catalogue: tables, columns, indexes and migrations.

https://docs.djangoproject.com/en/5.2/ref/schema-editor/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db import DEFAULT_DB_ALIAS, connection, models, router, transaction
from django.db.migrations import CreateModel
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from core import catalogue
from core.catalogue import Table
from core.consistency import Problem

Model = type[models.Model]


def check() -> Iterator[Problem]:
    """Missing tables and columns, then what is missing of their indexes, then migrations that were not applied."""
    found = catalogue.read()
    ours = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and router.allow_migrate_model(DEFAULT_DB_ALIAS, model)
    ]
    unapplied = _unapplied()
    waiting = {migration.app_label for migration in unapplied if not _is_there(migration, found)}
    for model in ours:
        table = model._meta.db_table
        if table not in found:
            repair = _migrate if model._meta.app_label in waiting else partial(_create_table, model)
            yield Problem(f"The table {table!r} is missing.", repair, "table", table)
    for model in ours:
        if model._meta.db_table in found:
            yield from _of_model(model, found[model._meta.db_table], model._meta.app_label in waiting)
    if found:
        for migration in unapplied:
            repair = partial(_note, migration.app_label, migration.name) if _is_there(migration, found) else _migrate
            yield Problem(f"The migration {migration.app_label}.{migration.name} is not noted as applied.", repair)


def _of_model(model: Model, table: Table, is_waiting: bool) -> Iterator[Problem]:
    name = model._meta.db_table
    columns: dict[str, Any] = {str(field.column): field for field in model._meta.local_concrete_fields}
    for column in sorted(columns.keys() - table.columns.keys()):
        yield Problem(
            f"The column {column!r} of the table {name!r} is missing.",
            _migrate if is_waiting else partial(_add_column, model, columns[column]),
            "column",
            f"{name}.{column}",
        )
    for column in sorted(table.columns.keys() - columns.keys()):
        yield Problem(f"The column {column!r} of the table {name!r} is none of ours. Whoever added it may drop it.")
    if columns.keys() - table.columns.keys():
        return
    known = {key.column for key in table.keys}
    for field in columns.values():
        if field.remote_field and getattr(field, "db_constraint", False) and field.column not in known:
            repair = partial(_add_key, model, field) if connection.vendor == "postgresql" else None
            yield Problem(f"The foreign key of {name}.{field.column} is missing.", repair)
    for fields, unique, repair in _plain_indexes(model):
        names = tuple(field.column for field in fields)
        if not any(
            index.columns == names and index.valid and (index.unique or not unique) for index in table.indexes.values()
        ):
            kind = "unique index" if unique else "index"
            yield Problem(f"The {kind} of {name!r} on {', '.join(names)} is missing.", repair)
    for index_name, repair in _named_indexes(model):
        if index_name not in table.indexes:
            yield Problem(f"The index {index_name!r} of {name!r} is missing.", repair)


def _plain_indexes(model: Model) -> Iterator[tuple[list[Any], bool, Any]]:
    """Those that are known by their columns, whatever they are called."""
    meta = model._meta
    for field in meta.local_concrete_fields:
        if field.primary_key:
            continue
        if field.unique:
            yield [field], True, partial(_add_unique, model, [field])
        elif getattr(field, "db_index", False):
            yield [field], False, partial(_add_index, model, models.Index(fields=[field.name], name=_name(field)))
    for names in meta.unique_together:
        fields = [meta.get_field(name) for name in names]
        yield fields, True, partial(_add_unique, model, fields)
    for constraint in meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and not _is_special(constraint):
            fields = [meta.get_field(name) for name in constraint.fields]
            yield fields, True, partial(_add_unique, model, fields)


def _named_indexes(model: Model) -> Iterator[tuple[str, Any]]:
    """Those with conditions, expressions or directions, which their columns do not tell."""
    for index in model._meta.indexes:
        yield index.name, partial(_add_index, model, index)
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and _is_special(constraint):
            yield constraint.name, partial(_add_constraint, model, constraint)


def _is_special(constraint: models.UniqueConstraint) -> bool:
    return bool(constraint.expressions or constraint.condition)


def _name(field: Any) -> str:
    return f"{field.model._meta.db_table}_{field.column}"[:24] + "_again"


def _unapplied() -> list[Any]:
    executor = MigrationExecutor(connection)
    return [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


def _is_there(migration: Any, found: dict[str, Table]) -> bool:
    """Whether only the note of it is missing: it makes tables and does nothing else, and they are there."""
    return bool(migration.operations) and all(
        isinstance(operation, CreateModel)
        and operation.options.get("db_table", f"{migration.app_label}_{operation.name_lower}") in found
        for operation in migration.operations
    )


def _note(app: str, name: str) -> None:
    MigrationRecorder(connection).record_applied(app, name)


def _migrate() -> None:
    call_command("migrate", verbosity=0, interactive=False)


def _create_table(model: Model) -> None:
    """The table; when it was the last that was missing, also what receivers of ``post_migrate`` lay down."""
    _change(lambda editor: [editor.table_sql(model)[0], *editor.deferred_sql, *editor._model_indexes_sql(model)])
    if not any(problem.kind == "table" for problem in check()):
        emit_post_migrate_signal(verbosity=0, interactive=False, db=DEFAULT_DB_ALIAS)


def _add_column(model: Model, field: Any) -> None:
    """The column, with the field's default in the rows that are there."""

    def statements(editor: Any) -> list[Any]:
        definition, params = editor.column_sql(model, field, include_default=True)
        literals = tuple(editor.quote_value(value) for value in params)
        table, column = editor.quote_name(model._meta.db_table), editor.quote_name(field.column)
        return [f"ALTER TABLE {table} ADD COLUMN {column} {definition % literals}"]

    _change(statements)


def _add_unique(model: Model, fields: list[Any]) -> None:
    _change(lambda editor: [editor._create_unique_sql(model, fields)])


def _add_index(model: Model, index: models.Index) -> None:
    _change(lambda editor: [index.create_sql(model, editor)])


def _add_constraint(model: Model, constraint: models.BaseConstraint) -> None:
    _change(lambda editor: [constraint.create_sql(model, editor)])


def _add_key(model: Model, field: Any) -> None:
    _change(lambda editor: [editor._create_fk_sql(model, field, "_fk_%(to_table)s_%(to_column)s")])


def _change(statements: Callable[[Any], list[Any]]) -> None:
    """Run what the editor would. Not by the editor itself: on SQLite it lays tables down anew, also with
    columns that a model has taken off its base, and does nothing while any row refers to one that is missing.
    """
    editor = connection.schema_editor(atomic=False)
    editor.deferred_sql = []
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements(editor):
            cursor.execute(str(statement))
