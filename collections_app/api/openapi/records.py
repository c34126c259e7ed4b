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
from collections_app.io import exports
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
        self.writable = [
            f for f in collection.fields if audience.may_send(f) or (f.type == "file" and f in self.fields)
        ]

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
            if self.collection.file_fields:
                found[f"RecordForm_{name}"] = values.as_form(self._input(), self.writable)
                found[f"RecordChangeForm_{name}"] = values.as_form(self._change(), self.writable)
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
        export = {f"{base}/export/{{kind}}": {"parameters": [_KIND], "get": self._export()}}
        if self.collection.type == "view":
            return {base: many, f"{base}/{{record_id}}": one, **export}
        many["post"] = self._create()
        one |= {"put": self._update("replace"), "patch": self._update("update"), "delete": self._delete()}
        return {
            base: many,
            f"{base}/{{record_id}}": one,
            f"{base}/bulk-update": {"post": self._bulk_update()},
            f"{base}/bulk-delete": {"post": self._bulk_delete()},
            **export,
            f"{base}/import/{{kind}}": {"parameters": [_KIND], "post": self._import()},
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
            requestBody=self._body("RecordInput", "RecordForm"),
        )

    def _update(self, verb: str) -> Json:
        changed = answer("The record as it is now.", _record_or_part(self.name), ("ETag",))
        return self._operation(
            f"{verb}Record",
            f"Change one of {self.name}",
            {"200": changed, **refusals(WRITING)},
            description="PUT and PATCH are the same here: fields that are left out stay.",
            parameters=[*self._shape(), *_parameters("If-Match")],
            requestBody=self._body("RecordChange", "RecordChangeForm"),
        )

    def _body(self, name: str, form: str) -> Json:
        """The fields, flat or under ``data``; or a form of them, with uploads where there are file fields."""
        flat = schema_ref(f"{name}_{self.name}")
        under_data = {"title": "Under data", **closed({"data": flat}, ["data"])}
        content = {"application/json": {"schema": {"anyOf": [flat, under_data]}}}
        content |= {media_type: {"schema": flat} for media_type in _FORMS}
        if self.collection.file_fields:
            content["multipart/form-data"] = {"schema": schema_ref(f"{form}_{self.name}")}
        return {"required": True, "content": content}

    def _delete(self) -> Json:
        return self._operation(
            "deleteRecord",
            f"Delete one of {self.name}",
            {"204": {"description": "It is gone."}, **refusals(WRITING)},
            parameters=_parameters("If-Match"),
        )

    def _export(self) -> Json:
        files: dict[str, Json] = {
            kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in exports.MEDIA_TYPES.values()
        }
        files["application/json"] = {"schema": {"type": "array", "items": _record_or_part(self.name)}}
        limit = {"name": "limit", "in": "query", "description": "At most so many records; all without it.",
                 "schema": {"type": "integer", "minimum": 1, "maximum": exports.MAX_LIMIT}}  # fmt: skip
        return self._operation(
            "exportRecords",
            f"Take all of {self.name} as a file",
            {"200": {"description": "The file, as it is written.", "content": files}, **refusals(READING)},
            description="The records that you may list. Cells that a spreadsheet would run begin with an apostrophe.",
            parameters=[*_parameters("filter"), self._sort(), *_parameters("search", "fields"), limit],
        )

    def _import(self) -> Json:
        report = answer("What became of the rows.", schema_ref("ImportReport"))
        accepted = answer("It is done in the background.", schema_ref("JobAccepted"), ("Location",))
        form = closed({"file": {"type": "string", "format": "binary"}}, ["file"])
        return self._operation(
            "importRecords",
            f"Create many of {self.name} from a file",
            {"200": report, "201": report, "202": accepted, **refusals(WRITING)},
            description="Rows that are right land, and those that are wrong are told by their number.",
            parameters=_IMPORT_PARAMETERS,
            requestBody={"required": True, "content": {"multipart/form-data": {"schema": form}}},
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


_KIND: Json = {
    "name": "kind",
    "in": "path",
    "required": True,
    "description": "The format of the file.",
    "schema": {"type": "string", "enum": list(exports.MEDIA_TYPES)},
}


def _import_parameter(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_YES_OR_NO: Json = {"type": "boolean"}
_IMPORT_PARAMETERS: list[Json] = [
    _import_parameter("dry_run", "Say what would be, and leave everything as it is.", _YES_OR_NO),
    _import_parameter("atomic", "All rows, or none where one is wrong (422).", _YES_OR_NO),
    _import_parameter("skip_validation", "For admins: take whatever the columns can hold.", _YES_OR_NO),
    _import_parameter(
        "match", "`id` or a unique field: rows change the record that has its value.", {"type": "string"}
    ),
    _import_parameter(
        "background", "Whether to do it in the background (202); otherwise that is for many rows.", _YES_OR_NO
    ),
    _import_parameter("map", "The fields of columns with other names: `Name:title,Price:price`.", {"type": "string"}),
]


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
