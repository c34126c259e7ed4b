"""The live document for drf-spectacular's own tools, such as ``manage.py spectacular``."""

from __future__ import annotations

from typing import Any

from drf_spectacular.generators import SchemaGenerator

from accounts.principals import SYSTEM
from collections_app.api.openapi.audience import audience_of
from collections_app.api.openapi.document import build
from collections_app.api.openapi.parts import Json
from collections_app.schema import registry
from settings_app import values
from settings_app.declared import APP_NAME


class LiveGenerator(SchemaGenerator):
    """What the caller of ``request`` sees; without one, what an admin sees."""

    def get_schema(self, request: Any = None, public: bool = False) -> Json:
        snapshot = registry.latest()
        return build(snapshot, audience_of(SYSTEM if request is None else request.user, snapshot), values.get(APP_NAME))
