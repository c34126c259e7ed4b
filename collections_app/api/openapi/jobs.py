"""The paths and schemas of ``/api/v1/jobs``."""

from __future__ import annotations

from typing import Any

from collections_app.api.openapi.parts import (
    READING,
    SIGNED_IN,
    WRITING,
    Json,
    answer,
    closed,
    components,
    ref,
    refusals,
    schema_ref,
)
from collections_app.jobs.models import Job

TAG: Json = {"name": "Jobs", "description": "Imports that are done in the background."}
_COUNT: Json = {"type": "integer", "minimum": 0}
_MOMENT: Json = {"type": ["string", "null"], "format": "date-time"}
_TEXT: Json = {"type": "string"}


def schemas() -> dict[str, Json]:
    options = {
        "format": _TEXT,
        **{key: {"type": "boolean"} for key in ("skip_validation", "dry_run", "atomic")},
        "match": _TEXT,
        "map": {"type": "object", "additionalProperties": _TEXT},
    }
    properties: Json = {
        "id": _TEXT,
        "kind": {"type": "string", "enum": ["import"]},
        "collection": _TEXT,
        "owner": {**_TEXT, "description": "The id of the account that asked for it."},
        "state": {"type": "string", "enum": Job.State.values},
        "total": {"type": ["integer", "null"], "minimum": 0, "description": "Rows of the file, once they are counted."},
        "done": {**_COUNT, "description": "Rows that were tried."},
        "imported": _COUNT,
        "updated": _COUNT,
        "failed": {**_COUNT, "description": "Rows that were wrong."},
        "message": {**_TEXT, "description": "Why it failed."},
        "options": closed(options, list(options)),
        "created": _MOMENT,
        "started": _MOMENT,
        "finished": _MOMENT,
    }
    error = closed({"row": {"type": "integer"}, "error": _TEXT}, ["row", "error"])
    whole = {**properties, "errors": {"type": "array", "items": error, "description": "The first 1,000."}}
    page: Json = {
        "items": {"type": "array", "items": closed(properties, list(properties))},
        **dict.fromkeys(("total", "page", "per_page", "total_pages"), _COUNT),
    }
    return {
        "Job": closed(whole, list(whole)),
        "JobAccepted": closed({"job": schema_ref("Job")}, ["job"]),
        "JobPage": closed(page, list(page)),
    }


def paths() -> dict[str, Json]:
    own_id = {"name": "job", "in": "path", "required": True, "schema": _TEXT}
    one = {"200": answer("The job.", schema_ref("Job"))}
    return {
        "/api/v1/jobs": {
            "get": _operation(
                "listJobs",
                "List your jobs",
                {"200": answer("For admins all; without their errors.", schema_ref("JobPage")), **refusals(READING)},
                parameters=[ref("parameters", "page"), components()["parameters"]["per_page"]],
            )
        },
        "/api/v1/jobs/{job}": {
            "parameters": [own_id],
            "get": _operation("getJob", "Get a job", {**one, **refusals(READING)}),
        },
        "/api/v1/jobs/{job}/cancel": {
            "parameters": [own_id],
            "post": _operation("cancelJob", "Cancel a job; what it has imported stays", {**one, **refusals(WRITING)}),
        },
    }


def _operation(operation_id: str, summary: str, responses: Json, **more: Any) -> Json:
    return {
        "tags": ["Jobs"],
        "operationId": operation_id,
        "summary": summary,
        "security": SIGNED_IN,
        **more,
        "responses": responses,
    }
