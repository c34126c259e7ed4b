"""``/theme.css``, ``/theme-custom.css`` and ``/theme-config.json``: for everybody, from any cache that asks first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from core.errors import NotFound
from settings_app.themes import selectors, stylesheet

_CSS = "text/css; charset=utf-8"
# Themes change seldom and then at once: kept by any cache, asked about each time, mostly answered 304.
_CACHE = "public, no-cache"


@require_safe
def variables(request: HttpRequest) -> HttpResponseBase:
    """The current theme as custom properties."""
    return _answer(request, stylesheet.variables(selectors.current()), _CSS)


@require_safe
def custom(request: HttpRequest) -> HttpResponseBase:
    """The ``custom_css`` of the current theme."""
    return _answer(request, stylesheet.custom(selectors.current()), _CSS)


@require_safe
def config(request: HttpRequest) -> HttpResponseBase:
    """What was written last as ``theme-config.json``."""
    found = selectors.written()
    if found is None:
        raise NotFound("No theme config has been written yet")
    return _answer(request, found.content, "application/json")


def _answer(request: HttpRequest, text: str, media_type: str) -> HttpResponseBase:
    content = text.encode()
    etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    response = HttpResponse(content, content_type=media_type, headers={"ETag": etag, "Cache-Control": _CACHE})
    return get_conditional_response(request, etag=etag, response=response) or response


for _view in (variables, custom):
    _view.open_in_maintenance = True  # type: ignore[attr-defined]  # the page to sign in at looks as ever

FILES: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {
    "theme.css": variables,
    "theme-custom.css": custom,
    "theme-config.json": config,
}
