"""What every answer carries, and who is let in, whatever stands behind."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from ipaddress import ip_network

import pytest
from django.http import JsonResponse
from django.urls import path

from cms_project import front as front_module
from cms_project.front import Front
from cms_project.handler import DjangoHandler
from core import request_id
from core.asgi import send_answer
from tests.asgi_client import call, request

SAFE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-xss-protection": "1; mode=block",
    "referrer-policy": "strict-origin-when-cross-origin",
}


class Inner:
    """An application that answers what it is told to, and remembers what it was asked."""

    def __init__(self, status=200, headers=(), fault=None):
        self.status, self.headers, self.fault = status, [*headers], fault
        self.scopes, self.ids = [], []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.ids.append(request_id.peek())
        if self.fault is not None:
            raise self.fault
        await send_answer(send, self.status, self.headers, b"ok")


@pytest.fixture(autouse=True)
def plain(settings):
    """As it is with nothing configured, whatever the tester's own environment says."""
    settings.RATE_LIMIT_ENABLED = settings.ACCESS_LOG = settings.CORS_ALLOW_ALL_ORIGINS = False
    settings.CORS_ALLOWED_ORIGINS, settings.TRUSTED_PROXIES, settings.REDIS_URL = [], [], ""


# --- what every answer carries -------------------------------------------------------------


def test_every_answer_carries_its_id_its_time_and_the_safety_headers():
    inner = Inner()
    for url in ("/", "/api/v1/collections", "/static/a.css"):
        answer = request(Front(inner), path=url)
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.header("X-Request-ID"))
        assert re.fullmatch(r"\d+\.\d\dms", answer.header("X-Response-Time"))
        assert {name: answer.header(name) for name in SAFE} == SAFE
        assert inner.ids[-1] == answer.header("X-Request-ID")
    assert len(set(inner.ids)) == 3


def test_a_safety_header_that_the_answer_has_already_stays_as_it_is():
    answer = request(Front(Inner(headers=[(b"x-frame-options", b"SAMEORIGIN")])))
    assert answer.header("X-Frame-Options") == "SAMEORIGIN"
    assert answer.header("X-Content-Type-Options") == "nosniff"


def test_the_application_s_own_list_of_headers_is_left_alone():
    inner = Inner(headers=[(b"vary", b"Accept")])
    request(Front(inner))
    assert inner.headers == [(b"vary", b"Accept")]


@pytest.mark.parametrize(("sent", "kept"), [("trace-7.a_B", True), ("a" * 129, False), ("<x>", False), ("", False)])
def test_a_request_id_is_echoed_only_if_it_is_printable_and_short(sent, kept):
    assert (request(Front(Inner()), headers={"x-request-id": sent}).header("X-Request-ID") == sent) is kept


def test_of_two_request_ids_neither_is_taken():
    answer = request(Front(Inner()), headers=[("x-request-id", "a"), ("x-request-id", "b")])
    assert answer.header("X-Request-ID") not in ("a", "b", "a,b")


def test_the_headers_are_given_on_by_name_with_those_sent_twice_joined():
    inner = Inner()
    request(Front(inner), headers=[("accept", "a/b"), ("accept", "c/d"), ("if-match", '"1"')])
    headers = inner.scopes[0]["fastcms.headers"]
    assert headers == {b"host": b"localhost", b"accept": b"a/b,c/d", b"if-match": b'"1"'}


def test_a_fault_of_the_application_is_500_with_the_one_body_and_no_detail():
    answer = request(Front(Inner(fault=RuntimeError("secret detail"))), headers={"x-request-id": "r-1"})
    assert answer.status == 500 and b"secret" not in answer.content
    assert answer.json()["error_code"] == "INTERNAL_ERROR"
    assert answer.json()["request_id"] == answer.header("X-Request-ID") == "r-1"


def test_a_slow_request_is_told_without_its_query(monkeypatch, caplog):
    monkeypatch.setattr(front_module.settings, "SLOW_REQUEST_MS", 0)
    request(Front(Inner()), path="/slow%0Aone?token=secret")
    assert [record.getMessage().split(" took")[0] for record in caplog.records] == ["GET /slow%0Aone"]


def who(request):
    return JsonResponse([request_id.peek(), request.META["REMOTE_ADDR"], request.scheme], safe=False)


urlpatterns = [path("who", who)]


def test_django_s_threads_know_the_request_s_id_and_its_true_client(settings):
    settings.TRUSTED_PROXIES, settings.ROOT_URLCONF = [ip_network("127.0.0.1")], __name__
    django = DjangoHandler(threads=1)
    headers = {"x-request-id": "r-1", "x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}
    try:
        assert request(Front(django), path="/who", headers=headers).json() == ["r-1", "198.51.100.7", "https"]
    finally:
        django.close()


# --- host names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("cms.example", True),
        ("CMS.example.:8000", True),
        ("a.wide.example", True),
        ("[::1]:80", True),
        ("evil.example", False),
        ("cms.example.evil.example", False),
        ("cms.example/..", False),
        ("", False),
    ],
)
def test_only_hosts_that_are_allowed_are_served(host, served, settings):
    settings.ALLOWED_HOSTS = ["cms.example", ".wide.example", "[::1]"]
    inner = Inner()
    front = Front(inner)
    for _ in range(2):  # from the library, and from memory
        answer = request(front, path="/api/v1/collections", headers={"host": host})
        assert answer.status == (200 if served else 400)
        assert answer.header("X-RateLimit-Limit") == "100" and answer.header("X-Request-ID")
    if not served:
        assert answer.json()["error_code"] == "BAD_REQUEST" and not inner.scopes


def test_two_host_headers_are_refused(settings):
    settings.ALLOWED_HOSTS = ["cms.example"]
    hosts = [("host", "evil.example"), ("host", "cms.example")]
    assert request(Front(Inner()), headers=hosts).status == 400


def test_a_browser_gets_a_page_that_says_so():
    answer = request(Front(Inner()), headers={"host": "evil.example", "accept": "text/html,*/*"})
    assert answer.status == 400 and answer.header("Content-Type").startswith("text/html")
    assert b"ALLOWED_HOSTS" in answer.content and answer.header("X-Request-ID").encode() in answer.content


# --- proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),  # a stranger says what it likes
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),  # the left part is the client's own word
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, ?, 10.9.9.9", "10.9.9.9"),
        ("10.0.0.1", "10.2.2.2, 10.3.3.3", "10.2.2.2"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, " * 100 + "198.51.100.7", "198.51.100.7"),
    ],
)
def test_the_client_is_the_nearest_one_that_is_no_trusted_proxy(peer, forwarded, client, settings):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    inner = Inner()
    request(Front(inner), headers={"x-forwarded-for": forwarded}, client=peer)
    assert inner.scopes[0]["client"][0] == client


def test_without_trusted_proxies_nothing_is_believed():
    inner = Inner()
    headers = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}
    request(Front(inner), headers=headers, client="10.0.0.1")
    assert inner.scopes[0]["client"] == ("10.0.0.1", 50000) and inner.scopes[0]["scheme"] == "http"


@pytest.mark.parametrize(("peer", "scheme"), [("10.0.0.1", "https"), ("203.0.113.9", "http")])
def test_the_scheme_is_believed_from_trusted_proxies_only(peer, scheme, settings):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.1")]
    inner = Inner()
    request(Front(inner), headers={"x-forwarded-proto": "https"}, client=peer)
    assert inner.scopes[0]["scheme"] == scheme


# --- other origins -------------------------------------------------------------------------

PAGE = "https://shop.example"


@pytest.fixture
def open_to_the_shop(settings):
    settings.CORS_ALLOWED_ORIGINS = [PAGE]


def test_an_allowed_page_may_read_the_answer_and_its_headers(open_to_the_shop):
    front = Front(Inner(headers=[(b"vary", b"Accept")]))
    for _ in range(2):  # from the library, and from memory
        answer = request(front, path="/api/v1/collections", headers={"origin": PAGE})
        assert answer.status == 200 and answer.header("Access-Control-Allow-Origin") == PAGE
        assert "X-RateLimit-Remaining" in answer.header("Access-Control-Expose-Headers")
        assert answer.header("Vary") == "Accept, origin"


def test_a_preflight_is_answered_in_front_and_says_what_is_allowed(open_to_the_shop):
    inner = Inner()
    headers = {"origin": PAGE, "access-control-request-method": "PATCH"}
    answer = request(Front(inner), "OPTIONS", "/api/v1/collections", headers)
    assert (answer.status, answer.content, inner.scopes) == (200, b"", [])
    assert answer.header("Access-Control-Allow-Origin") == PAGE
    assert "PATCH" in answer.header("Access-Control-Allow-Methods")
    assert "if-match" in answer.header("Access-Control-Allow-Headers")
    assert answer.header("Access-Control-Max-Age") and answer.header("X-Request-ID")


def test_options_without_a_preflight_s_question_goes_on(open_to_the_shop):
    inner = Inner()
    answer = request(Front(inner), "OPTIONS", "/api/v1/collections", {"origin": PAGE})
    assert len(inner.scopes) == 1 and answer.header("Access-Control-Allow-Origin") == PAGE


def test_another_page_gets_no_leave(open_to_the_shop):
    front = Front(Inner())
    preflight = {"access-control-request-method": "GET"}
    for origin in ("https://evil.example", "null", f"{PAGE}.evil.example", "http://shop.example", "http://["):
        for method, more in (("GET", {}), ("OPTIONS", preflight)):
            answer = request(front, method, "/api/v1/collections", {"origin": origin, **more})
            assert not [name for name, _ in answer.headers if name.startswith(b"access-control-")], (origin, method)
            assert answer.header("Vary") == "origin"


def test_refusals_can_be_read_by_the_page_too(open_to_the_shop, settings):
    settings.RATE_LIMIT_ENABLED, settings.RATE_LIMIT_REQUESTS = True, 1
    origin = {"origin": PAGE}
    failing, refusing = Front(Inner(fault=RuntimeError())), Front(Inner(status=404))
    answers = [request(failing, path="/api/v1/x", headers=origin)]
    answers += [request(refusing, path="/api/v1/x", headers=origin) for _ in range(2)]
    answers.append(request(refusing, path="/api/v1/x", headers={**origin, "host": "evil.example"}))
    assert [answer.status for answer in answers] == [500, 404, 429, 400]
    assert {answer.header("Access-Control-Allow-Origin") for answer in answers} == {PAGE}


def test_a_banned_page_s_preflight_is_answered_so_that_it_can_read_the_429(open_to_the_shop, settings):
    settings.RATE_LIMIT_ENABLED, settings.RATE_LIMIT_REQUESTS = True, 1
    front = Front(Inner())
    preflight = {"origin": PAGE, "access-control-request-method": "PATCH"}
    statuses = [request(front, path="/api/v1/x").status for _ in range(2)]
    assert [*statuses, request(front, "OPTIONS", "/api/v1/x", preflight).status] == [200, 429, 200]


def test_answers_to_nobody_s_page_still_vary_by_origin(open_to_the_shop):
    assert request(Front(Inner())).header("Vary") == "origin"
    assert request(Front(Inner(headers=[(b"vary", b"Accept")]))).header("Vary") == "Accept, origin"
    assert request(Front(Inner(headers=[(b"vary", b"*")]))).header("Vary") == "*"


def test_where_no_page_is_let_in_nothing_is_said_about_it():
    answer = request(Front(Inner()), headers={"origin": PAGE})
    assert answer.header("Access-Control-Allow-Origin") is None and answer.header("Vary") is None


def test_where_no_page_is_let_in_preflights_are_not_counted_either_and_are_told_nothing(settings):
    settings.RATE_LIMIT_ENABLED, settings.RATE_LIMIT_REQUESTS = True, 1
    inner = Inner()
    front = Front(inner)
    headers = {"origin": PAGE, "access-control-request-method": "PATCH"}
    answers = [request(front, "OPTIONS", "/api/v1/x", headers) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200] and not inner.scopes
    assert all(not name.startswith(b"access-control-") for answer in answers for name, _ in answer.headers)
    statuses = [request(front, "OPTIONS", "/api/v1/x", more).status for more in ({"origin": PAGE}, {"origin": PAGE})]
    assert statuses == [200, 429]


# --- limits --------------------------------------------------------------------------------


@pytest.fixture
def limited(settings):
    settings.RATE_LIMIT_ENABLED, settings.RATE_LIMIT_REQUESTS = True, 3


def test_answers_say_where_the_client_stands_and_one_too_many_is_banned(limited):
    inner = Inner()
    front, began = Front(inner), time.time()
    answers = [request(front, path="/api/v1/x") for _ in range(5)]
    ended = time.time()
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.header("X-RateLimit-Remaining") for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {answer.header("X-RateLimit-Limit") for answer in answers} == {"3"}
    assert began + 60 <= int(answers[0].header("X-RateLimit-Reset")) <= ended + 61
    refused = answers[-1]
    assert refused.json()["error_code"] == "RATE_LIMIT_EXCEEDED" and len(inner.scopes) == 3
    assert 30 - (ended - began) <= int(refused.header("Retry-After")) <= 30
    assert began + 30 <= int(refused.header("X-RateLimit-Reset")) <= ended + 31


def test_another_client_has_a_window_of_its_own_and_headers_move_nobody(limited):
    front = Front(Inner())
    for number in range(4):
        last = request(front, path="/api/v1/x", headers={"x-forwarded-for": f"198.51.100.{number}"})
    assert last.status == 429
    assert request(front, path="/api/v1/x", client="127.0.0.2").status == 200


def test_behind_a_proxy_each_client_is_counted_for_itself(limited, settings):
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    front = Front(Inner())
    for _ in range(4):
        last = request(front, path="/api/v1/x", headers={"x-forwarded-for": "198.51.100.1"})
    assert last.status == 429
    assert request(front, path="/api/v1/x", headers={"x-forwarded-for": "198.51.100.2"}).status == 200


def test_health_and_static_files_are_not_counted_all_else_is(limited):
    front = Front(Inner())
    for url in ("/health", "/health/live", "/api/v1/health", "/api/v1/health/ready", "/static/a.css") * 3:
        assert request(front, path=url).status == 200
    assert request(front, path="/api/v1/health").header("X-RateLimit-Remaining") == "3"
    counted = ("/api/v1/x", "/admin/", "/healthy", "/statics")
    assert [request(front, path=url).status for url in counted] == [200, 200, 200, 429]


def test_where_limiting_is_off_answers_of_the_api_say_so_in_the_same_headers():
    front = Front(Inner())
    for _ in range(3):
        began = time.time()
        answer = request(front, path="/api/v1/x")
        assert (answer.header("X-RateLimit-Limit"), answer.header("X-RateLimit-Remaining")) == ("100", "100")
        assert int(began) + 60 <= int(answer.header("X-RateLimit-Reset")) <= time.time() + 61
    assert request(front, path="/docs").header("X-RateLimit-Limit") is None


# --- the access log ------------------------------------------------------------------------


def test_each_request_is_a_line_without_its_query(settings, caplog):
    settings.ACCESS_LOG = True
    logger = logging.getLogger("access")
    logger.addHandler(caplog.handler)
    front = Front(Inner(status=404))

    async def some():
        await call(front, "DELETE", "/api/v1/a%20b?token=secret", {"x-request-id": "r-1"})
        await call(front, "GET", "/two\x1b[1m", client="::1")
        await front.close()

    try:
        asyncio.run(some())
    finally:
        logger.removeHandler(caplog.handler)
    lines = "\n".join(record.getMessage() for record in caplog.records).split("\n")
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO access"
    assert len(lines) == 2
    assert re.fullmatch(moment + r" \[r-1\] DELETE /api/v1/a%20b 404 \d+\.\d\dms 127\.0\.0\.1", lines[0])
    assert re.fullmatch(moment + r" \[[0-9a-f-]{36}\] GET /two\\x1b\[1m 404 \d+\.\d\dms ::1", lines[1])


# --- HTTPS ---------------------------------------------------------------------------------


def test_plain_http_is_sent_to_https_where_that_is_wished(settings):
    settings.SECURE_SSL_REDIRECT = True
    inner = Inner()
    answer = request(
        Front(inner), path="/api/v1/collections/a%20b/records?filter=x>1", headers={"Host": "localhost:8000"}
    )
    assert answer.status == 301
    assert answer.header("Location") == "https://localhost:8000/api/v1/collections/a%20b/records?filter=x>1"
    assert inner.scopes == []


def test_what_a_trusted_proxy_took_by_https_is_not_sent_there_again(settings):
    settings.SECURE_SSL_REDIRECT, settings.TRUSTED_PROXIES = True, [ip_network("127.0.0.1")]
    headers = {"Host": "localhost", "X-Forwarded-Proto": "https"}
    assert request(Front(Inner()), headers=headers).status == 200


def test_a_foreign_host_is_sent_nowhere(settings):
    settings.SECURE_SSL_REDIRECT = True
    assert request(Front(Inner()), headers={"Host": "evil.example"}).status == 400
