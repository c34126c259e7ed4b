"""What every Django request passes; kept short, because each layer costs every request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponseBase
from django.middleware import csrf
from django.utils.deprecation import MiddlewareMixin

from core import csp, errors
from core.error_adapter import domain_error
from core.error_pages import answer, wants_html

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestMiddleware:
    """Outermost of Django's own: optional slash, need of a session, the one form of refusals, length.

    What every answer needs, Django's or not, is done in front (cms_project/front.py).
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if under_session_path(request) and not request.path_info.endswith("/"):
            # Django's own pages know only the form with a slash; ours take both.
            request.path += "/"
            request.path_info += "/"
        request.session_matters = needs_session(request)  # type: ignore[attr-defined]
        response = self.get_response(request)
        if response.status_code >= 400:
            response = self._in_the_one_form(request, response)
        if csp.HEADER not in response.headers and _is_page(response):
            response.headers[csp.HEADER] = csp.policy(response.text)  # type: ignore[attr-defined]
        bodiless = response.status_code in (204, 304)
        if not response.streaming and not bodiless and "Content-Length" not in response.headers:
            response.headers["Content-Length"] = str(len(response.content))  # type: ignore[attr-defined]
        return response

    def _in_the_one_form(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Django's own refusals (an empty 405, the pages of DEBUG) as ours, for whom they would surprise."""
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        if response.streaming or is_json or under_session_path(request):
            return response
        if wants_html(request) and response.content:  # type: ignore[attr-defined]
            return response
        refusal = answer(request, errors.BY_STATUS.get(response.status_code, errors.BadRequest)())
        for name in ("Allow", "Retry-After"):
            if name in response.headers:
                refusal.headers[name] = response.headers[name]
        return refusal

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Domain errors raised by plain Django views; None lets Django answer the rest."""
        error = domain_error(exception)
        return None if error is None else answer(request, error)


def _is_page(response: HttpResponseBase) -> bool:
    return not response.streaming and response.headers.get("Content-Type", "").startswith("text/html")


def needs_session(request: HttpRequest) -> bool:
    """Whether a session can matter: pages that sign in, or a browser that has signed in."""
    return settings.SESSION_COOKIE_NAME in request.META.get("HTTP_COOKIE", "") or under_session_path(request)


def under_session_path(request: HttpRequest) -> bool:
    return any(
        request.path_info == prefix or request.path_info.startswith(prefix + "/") for prefix in settings.SESSION_PATHS
    )


class WhenSessionMatters(MiddlewareMixin):
    """Mixed into a middleware of Django's: it acts only where a session can matter."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.session_matters:  # type: ignore[attr-defined]
            return super().__call__(request)  # type: ignore[return-value]
        return self.get_response(request)  # type: ignore[return-value]


class SessionMiddleware(WhenSessionMatters, sessions.SessionMiddleware):
    pass


class CsrfMiddleware(WhenSessionMatters, csrf.CsrfViewMiddleware):
    def process_view(self, request: HttpRequest, callback: Any, callback_args: Any, callback_kwargs: Any) -> Any:
        if not request.session_matters:  # type: ignore[attr-defined]
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)


class AuthenticationMiddleware(WhenSessionMatters, auth.AuthenticationMiddleware):
    pass


class MessageMiddleware(WhenSessionMatters, messages.MessageMiddleware):
    pass
