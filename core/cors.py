"""Calls from pages of other origins: django-cors-headers decides, around every answer alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from corsheaders.middleware import CorsMiddleware
from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from core.asgi import Headers
from core.errors import Forbidden

_MOST = 256  # origins that are remembered


class Cors:
    """Asked only where ``CORS_ORIGINS`` names anybody, and only about requests with an ``Origin``."""

    def __init__(self) -> None:
        self._library = CorsMiddleware(lambda request: HttpResponse())
        self._known: dict[bytes, Headers] = {}

    def judge(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> tuple[bool, Headers]:
        """Whether the browser only asks if the page may ask, and the headers that tell it.

        An answer depends on nothing but the origin, unless it is to OPTIONS, or somebody
        listens to the library's signal; so it is worked out once.
        """
        origin = headers[b"origin"]
        is_constant = scope["method"] != "OPTIONS" and not check_request_enabled.receivers
        if is_constant and origin in self._known:
            return False, self._known[origin]
        request = _light_request(scope, headers)
        is_preflight = self._library.check_preflight(request) is not None
        response = self._library.add_response_headers(request, HttpResponse())
        told = [
            (name.lower().encode("latin1"), value.encode("latin1"))
            for name, value in response.items()
            if name.lower().startswith("access-control-")
        ]
        if is_constant and told:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[origin] = told
        return is_preflight, told

    def allows(self, path: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a page of this request's ``Origin`` may call this path."""
        return b"origin" in headers and bool(self.judge({"method": "GET", "path": path}, headers)[1])


def is_from_elsewhere(headers: Mapping[bytes, bytes], host: str, base_url: str) -> bool:
    """Whether a browser sends this, a POST or the beginning of a stream, for a page that is not ours: neither
    this host's nor ``base_url``'s.

    Programs say nothing of the kind, and are not meant. What a browser says of the site
    counts first: it knows the address that a proxy has rewritten. Over plain HTTP it
    says nothing, and the scheme is left aside, for a proxy may have ended HTTPS.
    """
    site = headers.get(b"sec-fetch-site")
    if site in (b"same-origin", b"none"):
        return False
    origin = headers.get(b"origin")
    if origin is None:
        return site is not None
    page = origin.decode("latin1").lower()
    return page not in {f"{scheme}://{ours}" for scheme in ("http", "https") for ours in _places(host, base_url)}


def refuse_strangers(path: str, headers: Mapping[bytes, bytes], host: str) -> None:
    """Forbidden for pages that are neither ours nor of ``CORS_ORIGINS``: what a browser opens for any page."""
    if is_from_elsewhere(headers, host, settings.BASE_URL) and not Cors().allows(path, headers):
        raise Forbidden("Pages of this origin may not do this here (CORS_ORIGINS).")


def _places(host: str, base_url: str) -> set[str]:
    """The names of our pages' origins; a browser leaves the usual port out."""
    named = host.lower(), urlsplit(base_url).netloc.lower()
    return {place.removesuffix(":443").removesuffix(":80") for place in named} | set(named)


def vary_by_origin(headers: Headers) -> None:
    """Keep caches from handing this answer to the page of another origin; also where none was named."""
    for i, (name, value) in enumerate(headers):
        if name == b"vary":
            if value != b"*" and b"origin" not in value.lower():
                headers[i] = name, value + b", origin"
            return
    headers.append((b"vary", b"origin"))


def _light_request(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> HttpRequest:
    """As much of a Django request as the library, and those who listen to its signal, look at."""
    request = HttpRequest()
    request.method = scope["method"]
    request.path = request.path_info = scope["path"]
    for name, value in headers.items():
        request.META[f"HTTP_{name.decode('latin1').upper().replace('-', '_')}"] = value.decode("latin1")
    return request
