"""One body for every refusal, whoever raises it and whoever asks."""

from __future__ import annotations

import sqlite3
import weakref

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from rest_framework import exceptions, serializers
from rest_framework.views import APIView

from core import errors, request_id
from core.error_adapter import domain_error, flatten

KEYS = {"success", "message", "error_code", "errors", "fields", "detail", "request_id", "timestamp"}

FAULTS = {
    "domain": (errors.Conflict("Taken.", fields={"name": ["In use."]}), 409, "CONFLICT"),
    "http404": (Http404("secret detail"), 404, "NOT_FOUND"),
    "denied": (PermissionDenied("secret detail"), 403, "FORBIDDEN"),
    "drf_validation": (serializers.ValidationError({"a": ["Bad."]}), 422, "VALIDATION_ERROR"),
    "django_validation": (DjangoValidationError({"a": ["Bad."]}), 422, "VALIDATION_ERROR"),
    "unsigned": (exceptions.NotAuthenticated(), 401, "UNAUTHORIZED"),
    "drf_denied": (exceptions.PermissionDenied(), 403, "FORBIDDEN"),
    "parse": (exceptions.ParseError(), 400, "BAD_REQUEST"),
    "media": (exceptions.UnsupportedMediaType("a/b"), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "accept": (exceptions.NotAcceptable(), 406, "NOT_ACCEPTABLE"),
    "throttled": (exceptions.Throttled(wait=3), 429, "RATE_LIMIT_EXCEEDED"),
    "too_big": (RequestDataTooBig(), 413, "PAYLOAD_TOO_LARGE"),
    "suspicious": (SuspiciousOperation(), 400, "BAD_REQUEST"),
    "locked": (OperationalError("database is locked"), 503, "SERVICE_UNAVAILABLE"),
    "integrity": (IntegrityError("UNIQUE constraint failed: users.email"), 409, "CONFLICT"),
    "data": (DataError("integer out of range"), 400, "BAD_REQUEST"),
    "bug": (RuntimeError("secret detail"), 500, "INTERNAL_ERROR"),
}


class Raising(APIView):
    def get(self, request, fault):
        raise FAULTS[fault][0]


def raising(request: HttpRequest, fault: str) -> HttpResponse:
    raise FAULTS[fault][0]


urlpatterns = [path("drf/<fault>", Raising.as_view()), path("plain/<fault>", raising)]
handler400 = "core.error_pages.bad_request"
handler403 = "core.error_pages.permission_denied"
handler404 = "core.error_pages.page_not_found"
handler500 = "core.error_pages.server_error"


@pytest.fixture
def urls():
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.mark.parametrize("kind", ["drf", "plain"])
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_every_fault_is_answered_with_its_status_and_the_one_body(kind, name, accept, urls, client):
    _, status, code = FAULTS[name]
    client.raise_request_exception = False
    request_id.start("abc-1")
    answer = client.get(f"/{kind}/{name}", headers={"accept": accept})
    assert answer.status_code == status
    assert b"secret detail" not in answer.content and b"users.email" not in answer.content
    if accept == "text/html":
        assert answer.headers["Content-Type"].startswith("text/html")
    else:
        body = answer.json()
        assert set(body) == KEYS
        assert (body["success"], body["error_code"], body["request_id"]) == (False, code, "abc-1")
        assert body["message"] == body["detail"] and body["errors"]
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_fields_and_errors_tell_the_same(urls, client):
    body = client.get("/drf/domain").json()
    assert body["fields"] == {"name": ["In use."]} and body["errors"] == ["name: In use."]


def test_a_path_that_does_not_exist_is_404_in_both_forms(client):
    assert client.get("/no/such/path").json()["error_code"] == "NOT_FOUND"
    page = client.get("/no/such/path", headers={"accept": "text/html"})
    assert page.status_code == 404 and b"<!doctype html>" in page.content


@pytest.mark.parametrize("debug", [True, False])
def test_programs_get_the_one_body_also_while_debugging(debug, urls, client, settings):
    settings.DEBUG = debug
    client.raise_request_exception = False
    for url, status in (
        ("/no/such/path", 404),
        ("/plain/bug", 500),
        ("/drf/bug", 500),
        ("/plain/denied", 403),
    ):
        answer = client.get(url)
        assert answer.status_code == status
        assert set(answer.json()) == KEYS


def test_nested_messages_get_dotted_names():
    detail = {
        "address": {"city": ["Required."]},
        "tags": [{}, {"name": ["Bad."]}],
        "non_field_errors": ["No."],
    }
    assert flatten(detail) == {
        "address.city": ["Required."],
        "tags.1.name": ["Bad."],
        "non_field_errors": ["No."],
    }


def test_an_unknown_operational_error_is_ours_not_the_client_s():
    assert domain_error(OperationalError("no such table: users")) is None
    assert domain_error(RuntimeError()) is None


def test_a_busy_error_keeps_no_cursor_for_the_garbage_collector():
    class Cursor:
        pass

    def execute():
        cursor = Cursor()
        held.append(weakref.ref(cursor))
        raise sqlite3.OperationalError("database is locked")

    def query():
        try:
            execute()
        except sqlite3.OperationalError as cause:
            raise OperationalError(str(cause)) from cause

    held = []
    with pytest.raises(OperationalError) as raised:
        query()
    assert held[0]() is not None
    assert domain_error(raised.value).status == 503
    assert held[0]() is None
