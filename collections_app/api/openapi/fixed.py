"""What does not depend on the collections: every other DRF view, described by drf-spectacular."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator

from collections_app.api.openapi import accounts
from collections_app.api.openapi.parts import SECURITY, WRITING, Json, refusals

CANONICAL = "/api/v1/"


class CanonicalEndpoints(EndpointEnumerator):
    """Each view once, under its canonical prefix; the aliases of other surfaces are the same views."""

    def should_include_endpoint(self, path: str, callback: Any) -> bool:
        if path.startswith(accounts.ROOT) and getattr(getattr(callback, "cls", None), "staff_only", False):
            return False
        return bool(super().should_include_endpoint(path, callback)) and path.startswith(CANONICAL)

    def get_path_from_regex(self, path_regex: str) -> str:
        """Optional parts of a URL: the version is there, the slash at the end is not."""
        path: str = super().get_path_from_regex(path_regex.replace("(?:v1/)?", "v1/").replace("\\-", "-"))
        return path.rstrip("/") or "/"


class FixedGenerator(SchemaGenerator):
    endpoint_inspector_cls = CanonicalEndpoints


@cache
def _generated() -> Json:
    """The URLs of a process never change, so neither does this."""
    return FixedGenerator().get_schema(request=None, public=True)


def fixed() -> Json:
    """``paths`` and ``components`` of the other apps' views, with every refusal they may answer."""
    found = deepcopy(_generated())
    found["paths"] = accounts.about_records(found["paths"])
    for item in found["paths"].values():
        for operation in item.values():
            operation["tags"] = [tag.capitalize() for tag in operation.get("tags", [])]
            operation["responses"] = {**refusals(WRITING), **operation["responses"]}
            operation.setdefault("security", SECURITY)
    return found
