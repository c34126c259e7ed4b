"""What every answer carries, and how bodies are read, over HTTP."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db
LOGIN = "/api/v1/auth/login"


def test_every_whole_answer_carries_its_length(client):
    for path in ("/health/", "/nothing", "/api/v1/auth/me", "/admin/"):
        answer = client.get(path)
        assert answer.headers["Content-Length"] == str(len(answer.content))


@pytest.mark.parametrize("raw", [b"{", b'{"email": "\\ud800"}', b'{"email": "a\\u0000"}', b"[" * 5000, b"\xff\xfe"])
def test_unreadable_json_is_400(raw, client):
    answer = client.post(LOGIN, raw, content_type="application/json")
    assert answer.status_code == 400 and answer.json()["error_code"] == "BAD_REQUEST"


def test_nul_in_a_form_is_400(client):
    answer = client.post(LOGIN, "email=a%00b&password=x", content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400
    assert client.post(LOGIN, {"email": "a\x00b", "password": "x"}).status_code == 400


def test_a_body_beyond_the_limit_is_413(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        answer = client.post(LOGIN, b"x" * 1001, content_type=content_type)
        assert answer.status_code == 413 and answer.json()["error_code"] == "PAYLOAD_TOO_LARGE"


def test_another_media_type_is_415_and_an_impossible_accept_406(client):
    assert client.post(LOGIN, b"a", content_type="application/xml").status_code == 415
    assert client.get("/api/v1/auth/me", headers={"accept": "image/png"}).status_code == 406


def test_a_slash_at_the_end_is_optional_and_a_post_is_never_redirected(client):
    for path in (
        "/health",
        "/health/",
        "/health/live",
        "/health/live/",
        "/api/v1/health",
        "/api/v1/health/live/",
    ):
        assert client.get(path).status_code == 200, path
    for path in (LOGIN, LOGIN + "/", "/api/auth/login/json", "/api/auth/login/json/"):
        assert client.post(path, {"email": "a@b.de", "password": "x"}).status_code == 401, path


def test_a_wrong_method_is_405_and_says_which_are_right(client):
    for path in (LOGIN, "/health/"):
        answer = client.put(path)
        assert answer.status_code == 405 and answer.json()["error_code"] == "METHOD_NOT_ALLOWED"
        assert answer.headers["Allow"]


def test_a_browser_gets_the_browsable_api_with_the_same_status(client):
    html = {"accept": "text/html"}
    for path, status in ((LOGIN, 405), ("/api/v1/auth/me", 401)):
        page = client.get(path, headers=html)
        assert page.status_code == status and page.headers["Content-Type"].startswith("text/html")
