"""Django model classes for the tables of a collection, as the schema editor needs them.

They are made per change and thrown away. Attribute names come from field ids,
so no name that a user likes (``save``, ``check``, ``a__b``) can clash with Django.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.apps.registry import Apps
from django.db import models

from collections_app.schema.definition import Field

ID_LENGTH = 64


def attribute(field: Field) -> str:
    return "id" if field.id == "id" else f"f_{field.id}"


def _meta(table: str, apps: Apps) -> type:
    return type("Meta", (), {"db_table": table, "app_label": "collections_app", "apps": apps})


def _id(vendor: str) -> models.Field[Any, Any]:
    return models.CharField(
        primary_key=True, max_length=ID_LENGTH, db_collation="C" if vendor == "postgresql" else None
    )


def _stub(table: str, vendor: str, apps: Apps) -> type[models.Model]:
    """A stand-in for a table that is only referred to."""
    body = {"__module__": __name__, "Meta": _meta(table, apps), "id": _id(vendor)}
    return type(f"Target_{table}", (models.Model,), body)


def _reference(target: type[models.Model], column: str, *, null: bool = True) -> models.ForeignKey[Any, Any]:
    # Deletes are carried out by the write path, which logs each of them; the constraint only guards.
    return models.ForeignKey(
        target, null=null, blank=null, on_delete=models.DO_NOTHING, db_column=column, related_name="+", db_index=False
    )


def record_model(
    table: str, columns: Iterable[tuple[Field, str]], targets: Mapping[str, str], vendor: str
) -> type[models.Model]:
    """The model of a record table with these (field, column name) pairs.

    ``targets`` maps a collection's id to its table.
    """
    apps = Apps()
    body: dict[str, Any] = {"__module__": __name__, "Meta": _meta(table, apps)}
    stubs: dict[str, type[models.Model]] = {}
    for field, column in columns:
        if field.id == "id":
            body["id"] = _id(vendor)
        elif field.target:
            target = targets[field.target]
            if target != table and target not in stubs:
                stubs[target] = _stub(target, vendor, apps)
            body[attribute(field)] = _reference("self" if target == table else stubs[target], column)  # type: ignore[arg-type]
        else:
            model_field = field.kind.column(field, vendor)
            model_field.db_column = column
            body[attribute(field)] = model_field
    return type(f"C_{table}", (models.Model,), body)


def through_model(table: str, source: str, target: str, vendor: str) -> type[models.Model]:
    """The model of a many-to-many table: which record, which other, in which place."""
    apps = Apps()
    source_model = _stub(source, vendor, apps)
    target_model = source_model if target == source else _stub(target, vendor, apps)
    body = {
        "__module__": __name__,
        "Meta": _meta(table, apps),
        "id": models.BigAutoField(primary_key=True),
        "source": _reference(source_model, "source_id", null=False),
        "target": _reference(target_model, "target_id", null=False),
        "position": models.IntegerField(),
    }
    return type(f"R_{table}", (models.Model,), body)
