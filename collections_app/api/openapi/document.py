"""The whole document, in bytes, kept with the snapshot that it describes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import yaml
from django.conf import settings

from collections_app.api.openapi import definitions, parts
from collections_app.api.openapi.audience import Audience
from collections_app.api.openapi.fixed import fixed
from collections_app.api.openapi.parts import Json
from collections_app.api.openapi.records import RecordsOf
from collections_app.schema.snapshot import Snapshot
from core import json
from settings_app import values
from settings_app.declared import APP_NAME

# Audiences that differ are few; but a rule that names single accounts must not fill the memory.
MAX_KEPT_BYTES = 16 * 1024 * 1024

_DESCRIPTION = """\
Every collection has the endpoints that you see here, from the moment it is made.

**Sign in** with `POST /api/v1/auth/login` and send `Authorization: Bearer <access_token>`;
programs send an API key as `X-API-Key`.
You see the collections that you may list, and the fields that you may read.

Every refusal has the body `Error`; every answer carries `X-Request-ID`.
"""


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of one media type and their strong validator."""

    body: bytes
    etag: str


def document(snapshot: Snapshot, audience: Audience, media: str = "json") -> Document:
    """OpenAPI 3.1 of the snapshot for this audience, as ``json`` or ``yaml``."""
    kept: dict[tuple[Audience, str, str], Document] = snapshot.memo.setdefault("openapi", {})
    title = values.get(APP_NAME)
    found = kept.get((audience, media, title))
    if found is None:
        content = build(snapshot, audience, title)
        body = json.dumps(content) if media == "json" else _yaml(content)
        found = Document(body, f'"{hashlib.blake2b(body, digest_size=10).hexdigest()}"')
        for oldest in list(kept):
            if sum(len(other.body) for other in list(kept.values())) + len(body) <= MAX_KEPT_BYTES:
                break
            kept.pop(oldest, None)
        kept[(audience, media, title)] = found
    return found


def build(snapshot: Snapshot, audience: Audience, title: str) -> Json:
    """The document as plain values."""
    others, shared = fixed(), parts.components()
    paths = {**others["paths"], **definitions.paths(audience)}
    schemas = {**others.get("components", {}).get("schemas", {}), **shared["schemas"], **definitions.schemas(audience)}
    collections = [c for c in sorted(snapshot.by_id.values(), key=lambda c: c.name) if audience.sees(c.id)]
    for collection in collections:
        described = RecordsOf(collection, snapshot, audience)
        paths |= described.paths()
        schemas |= described.schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": settings.SPECTACULAR_SETTINGS["VERSION"],
            "description": _DESCRIPTION,
        },
        "tags": [*definitions.TAGS, *({"name": collection.name} for collection in collections)],
        "paths": paths,
        "components": {**shared, "schemas": dict(sorted(schemas.items()))},
        "security": parts.SECURITY,
    }


def _yaml(content: Json) -> bytes:
    class Plain(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: object) -> bool:
            return True  # the shared parts are written out: readers of OpenAPI trip over anchors

    return yaml.dump(content, Dumper=Plain, sort_keys=False, allow_unicode=True, encoding="utf-8", width=110)
