"""The paths and schemas of one collection's records."""

from __future__ import annotations

from typing import Any

from collections_app.api.openapi import values
from collections_app.api.openapi.audience import Audience
from collections_app.api.openapi.parts import (
    READING,
    SECURITY,
    SIGNED_IN,
    WRITING,
    Json,
    answer,
    closed,
    ref,
    refusals,
    schema_ref,
)
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class RecordsOf:
    """Describes the records of one collection to one audience.

    Component names and operation ids are a prefix without underscore, an
    underscore and the collection's name: no two are ever equal.
    """

    def __init__(self, collection: CollectionDef, snapshot: Snapshot, audience: Audience) -> None:
        self.collection, self.name = collection, collection.name
        self.snapshot, self.audience = snapshot, audience
        self.fields = audience.fields(collection)
        self.writable = [field for field in collection.fields if audience.may_send(field)]

    # -- schemas ------------------------------------------------------------
    def schemas(self) -> dict[str, Json]:
        """Component name → schema."""
        name = self.name
        record = self._record()
        part = {key: value for key, value in record.items() if key != "required"}
        items = {"type": "array", "items": _record_or_part(name)}
        found = {
            f"Record_{name}": {"description": f"A record of `{name}`.", **record},
            f"RecordPart_{name}": {"description": f"What `fields=` chose of a record of `{name}`.", **part},
            f"RecordPage_{name}": _page(items),
            f"RecordCursorPage_{name}": _cursor_page(items),
        }
        if self.collection.type != "view":
            found[f"RecordInput_{name}"] = self._input()
            found[f"RecordChange_{name}"] = self._change()
        return found

    def _target(self, field: Field) -> CollectionDef | None:
        """Where a relation leads, if the audience knows of that."""
        return self.snapshot.by_id[field.target] if field.target and self.audience.sees(field.target) else None

    def _record(self) -> Json:
        properties = {field.name: values.answered(field, self._target(field)) for field in self.fields}
        properties["id"] = {**values.RECORD_ID, "readOnly": True}
        properties["collection"] = {"type": "string", "const": self.name, "readOnly": True}
        properties["expand"] = self._expand()
        return closed(properties, [field.name for field in self.fields])

    def _expand(self) -> Json:
        related: Json = {}
        for field in self.fields:
            target = self._target(field)
            if target is not None:
                one = _record_or_part(target.name)
                related[field.name] = {"type": "array", "items": one} if field.multiple else one
        return {
            "type": "object",
            "readOnly": True,
            "description": "The related records that `expand=` asked for.",
            "properties": related,
            "additionalProperties": {
                "type": ["array", "object"],
                "description": "A back-relation, such as `comments_via_post`.",
            },
        }

    def _input(self) -> Json:
        own_id = {**values.RECORD_ID, "type": ["string", "null"]}
        properties = {"id": own_id} | {f.name: values.sent(f, self._target(f)) for f in self.writable}
        required = [field.name for field in self.writable if field.required and field.default is None]
        return {
            "description": f"A new record of `{self.name}`.",
            **closed(properties, required),
            "example": self._example(),
        }

    def _example(self) -> Json:
        """A body to try at once; what would need another record is left out."""
        found = {field.name: values.example(field) for field in self.writable if not field.target}
        return {name: value for name, value in found.items() if value is not None}

    def _change(self) -> Json:
        properties = {f.name: values.sent(f, self._target(f)) for f in self.writable}
        for schema in properties.values():
            schema.pop("default", None)
        found = {
            "description": f"The fields of a record of `{self.name}` to change; the others stay.",
            **closed(properties),
            "example": dict([*self._example().items()][:3]),
        }
        if patterns := values.modifiers(self.writable):
            found["patternProperties"] = patterns
        return found

    # -- paths --------------------------------------------------------------
    def paths(self) -> dict[str, Json]:
        """Path → path item."""
        base = f"/api/v1/collections/{self.name}/records"
        many: Json = {"get": self._list()}
        one: Json = {"parameters": [_RECORD_ID], "get": self._get()}
        if self.collection.type == "view":
            return {base: many, f"{base}/{{record_id}}": one}
        many["post"] = self._create()
        one |= {"put": self._update("replace"), "patch": self._update("update"), "delete": self._delete()}
        return {
            base: many,
            f"{base}/{{record_id}}": one,
            f"{base}/bulk-update": {"post": self._bulk_update()},
            f"{base}/bulk-delete": {"post": self._bulk_delete()},
        }

    def _operation(self, verb: str, summary: str, responses: Json, **more: Any) -> Json:
        return {
            "tags": [self.name],
            "operationId": f"{verb}_{self.name}",
            "summary": summary,
            "security": SECURITY,
            **more,
            "responses": responses,
        }

    def _list(self) -> Json:
        pages = {"anyOf": [schema_ref(f"RecordPage_{self.name}"), schema_ref(f"RecordCursorPage_{self.name}")]}
        return self._operation(
            "listRecords",
            f"List {self.name}",
            {"200": answer("A page; with `cursor=` one without a total.", pages), **refusals(READING)},
            parameters=[
                *_parameters("page", "per_page"),
                self._sort(),
                *_parameters("filter", "search", "fields"),
                self._expand_parameter(),
                *_parameters("skip_total", "cursor"),
            ],
        )

    def _sort(self) -> Json:
        names = [field.name for field in self.fields if field.kind.sortable and field.storage == "column"]
        return {
            "name": "sort",
            "in": "query",
            "description": "Fields by commas, `-` for descending: `-created,id`. `@random` shuffles. Without it "
            f"the newest come first. Here: {_code(names)}, and paths through relations.",
            "schema": {"type": "string"},
        }

    def _expand_parameter(self) -> Json:
        names = [field.name for field in self.fields if self._target(field) is not None]
        return {
            "name": "expand",
            "in": "query",
            "description": "Relations to answer along, by commas, also nested (`author.team`) and backwards "
            f"(`comments_via_post`).{f' Here: {_code(names)}.' if names else ''}",
            "schema": {"type": "string"},
        }

    def _shape(self) -> list[Json]:
        """What decides how a single record is shown."""
        return [*_parameters("fields"), self._expand_parameter()]

    def _get(self) -> Json:
        unchanged = {
            "description": "It still is what `If-None-Match` names.",
            "headers": {"ETag": ref("headers", "ETag")},
        }
        return self._operation(
            "getRecord",
            f"Get one of {self.name}",
            {
                "200": answer("The record.", _record_or_part(self.name), ("ETag",)),
                "304": unchanged,
                **refusals(READING),
            },
            parameters=[*self._shape(), *_parameters("If-None-Match")],
        )

    def _create(self) -> Json:
        written = answer("The record as written.", _record_or_part(self.name), ("ETag",))
        return self._operation(
            "createRecord",
            f"Create one of {self.name}",
            {"201": written, **refusals(WRITING)},
            parameters=[*self._shape(), *_parameters("Idempotency-Key")],
            requestBody=_body(f"RecordInput_{self.name}"),
        )

    def _update(self, verb: str) -> Json:
        changed = answer("The record as it is now.", _record_or_part(self.name), ("ETag",))
        return self._operation(
            f"{verb}Record",
            f"Change one of {self.name}",
            {"200": changed, **refusals(WRITING)},
            description="PUT and PATCH are the same here: fields that are left out stay.",
            parameters=[*self._shape(), *_parameters("If-Match")],
            requestBody=_body(f"RecordChange_{self.name}"),
        )

    def _delete(self) -> Json:
        return self._operation(
            "deleteRecord",
            f"Delete one of {self.name}",
            {"204": {"description": "It is gone."}, **refusals(WRITING)},
            parameters=_parameters("If-Match"),
        )

    def _bulk_update(self) -> Json:
        data = {"allOf": [schema_ref(f"RecordChange_{self.name}")], "minProperties": 1}
        body = closed({"record_ids": schema_ref("RecordIds"), "data": data}, ["record_ids", "data"])
        return self._bulk("bulkUpdateRecords", f"Change many of {self.name}", body)

    def _bulk_delete(self) -> Json:
        body = closed({"record_ids": schema_ref("RecordIds")}, ["record_ids"])
        return self._bulk("bulkDeleteRecords", f"Delete many of {self.name}", body)

    def _bulk(self, verb: str, summary: str, body: Json) -> Json:
        return self._operation(
            verb,
            summary,
            {"200": answer("What became of them.", schema_ref("BulkResult")), **refusals(WRITING)},
            security=SIGNED_IN,
            parameters=_parameters("Idempotency-Key"),
            requestBody={"required": True, "content": {"application/json": {"schema": body}}},
        )


_RECORD_ID: Json = {"name": "record_id", "in": "path", "required": True, "schema": values.RECORD_ID}


def _parameters(*names: str) -> list[Json]:
    return [ref("parameters", name) for name in names]


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _record_or_part(name: str) -> Json:
    return {"anyOf": [schema_ref(f"Record_{name}"), schema_ref(f"RecordPart_{name}")]}


def _page(items: Json) -> Json:
    total = {"type": "integer", "minimum": -1, "description": "-1 with `skip_total`."}
    positive = {"type": "integer", "minimum": 1}
    properties = {"items": items, "page": positive, "per_page": positive, "total": total, "total_pages": total}
    return closed(properties, list(properties))


def _cursor_page(items: Json) -> Json:
    properties = {
        "items": items,
        "per_page": {"type": "integer", "minimum": 1},
        "next_cursor": {"type": ["string", "null"], "description": "null at the end."},
    }
    return closed(properties, list(properties))


def _body(schema_name: str) -> Json:
    """The fields, flat or under ``data``; or a form of them."""
    flat = schema_ref(schema_name)
    under_data = {"title": "Under data", **closed({"data": flat}, ["data"])}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [flat, under_data]}},
            **{media_type: {"schema": flat} for media_type in _FORMS},
        },
    }
