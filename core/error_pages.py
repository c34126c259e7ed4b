"""Refusals outside DRF: the one body for programs, a small page for browsers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template import loader

from core import errors, json, request_id
from core.error_adapter import domain_error


def wants_html(request: HttpRequest) -> bool:
    return "text/html" in request.META.get("HTTP_ACCEPT", "")


def answer(request: HttpRequest, error: errors.DomainError) -> HttpResponse:
    """The answer to a refusal, in the form that the caller asked for."""
    if wants_html(request):
        return HttpResponse(page(error), status=error.status, headers=error.headers)
    content = json.dumps(errors.body(error))
    return HttpResponse(content, status=error.status, headers=error.headers, content_type="application/json")


def page(error: errors.DomainError) -> str:
    """A refusal as HTML, for people."""
    return loader.get_template("error.html").render({"error": error, "request_id": request_id.current()})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return answer(request, domain_error(exception) or errors.BadRequest())


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return answer(request, errors.Forbidden())


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return answer(request, errors.NotFound())


def server_error(request: HttpRequest) -> HttpResponseBase:
    return answer(request, errors.InternalError())


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    return answer(request, errors.Forbidden("The form has expired. Go back, reload the page and try again."))
