"""URL patterns whose trailing slash is optional, and what the view behind a path says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.urls import Resolver404, URLPattern, re_path, resolve

MAX_PATH = 300  # of what is remembered about paths; no view that says anything has a longer one
_PARAMETER = re.compile(r"<(\w+)>")


def route(pattern: str, view: Callable[..., Any], name: str | None = None) -> URLPattern:
    """``route("users/<id>", view)`` serves ``users/7`` and ``users/7/``; parameters hold no slash."""
    parts = _PARAMETER.split(pattern.strip("/"))
    regex = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re_path(f"^{regex}/?$" if regex else "^$", view, name=name)


def declared(path: str, name: str) -> Any:
    """The attribute of the view that answers at this path; None where there is none."""
    view = _view(path) if len(path) <= MAX_PATH else None
    return getattr(view, name, None)


@lru_cache(maxsize=1000)
def _view(path: str) -> Any:
    """A class, or the function itself."""
    try:
        found: Any = resolve(path).func
    except Resolver404:
        return None
    return getattr(found, "cls", None) or getattr(found, "view_class", None) or found
