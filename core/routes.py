"""URL patterns whose trailing slash is optional."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, re_path

_PARAMETER = re.compile(r"<(\w+)>")


def route(pattern: str, view: Callable[..., Any], name: str | None = None) -> URLPattern:
    """``route("users/<id>", view)`` serves ``users/7`` and ``users/7/``; parameters hold no slash."""
    parts = _PARAMETER.split(pattern.strip("/"))
    regex = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re_path(f"^{regex}/?$" if regex else "^$", view, name=name)
