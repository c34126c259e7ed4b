"""One login a second for each client, whichever path it takes, and longer bans for who goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from accounts import api_keys, tokens, tries
from accounts.models import User
from cms_project import handler
from cms_project.front import Front
from cms_project.handler import DjangoHandler
from core import ratelimit
from tests.asgi_client import Answer, call

PASSWORD = "correct-horse-battery"
LOGINS = ("/api/v1/auth/login", "/api/v1/auth/login/json", "/api/auth/login", "/api/login", "/api/v1/auth/login/")
REGISTERS = ("/api/v1/auth/register", "/api/auth/register", "/api/register")

Ask = Callable[..., Answer]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(ratelimit, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def ask(committed_db: None, settings: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    settings.ACCESS_LOG = False
    settings.RATE_LIMIT_ENABLED = True
    settings.REDIS_URL = ""
    monkeypatch.setattr(handler, "FAILED_LOGIN_SECONDS", 0.001)
    django = DjangoHandler(1)
    front = Front(django)
    with asyncio.Runner() as runner:

        def post(path: str, data: Any = None, client: str = "192.0.2.1", **more: Any) -> Answer:
            body = more.get("raw") or orjson.dumps(data or {"email": "ann@example.com", "password": "wrong-password-9"})
            headers = [*({"Content-Type": "application/json"} | more.get("headers", {})).items()]
            return runner.run(call(front, more.get("method", "POST"), path, headers, body, client=client))

        yield post
        runner.run(front.close())
    django.close()


def test_all_login_paths_are_one_bucket_and_all_register_paths_another(ask: Ask, clock: list[float]) -> None:
    assert ask(LOGINS[0]).status == 401
    assert [ask(path).status for path in LOGINS] == [429] * len(LOGINS)
    new = {"email": "new@example.com", "password": "long-enough-for-all", "login": "newcomer"}
    assert ask(REGISTERS[0], new).status != 429
    assert [ask(path, new).status for path in REGISTERS] == [429] * len(REGISTERS)
    assert ask("/api/v1/auth/refresh", {"refresh_token": "x"}).status == 401
    assert ask(LOGINS[0], client="192.0.2.2").status == 401
    refused = ask(LOGINS[0])
    assert refused.header("retry-after") == "30" and refused.json()["error_code"] == "RATE_LIMIT_EXCEEDED"
    clock[0] += 30
    assert ask(LOGINS[0]).status == 401


def test_one_a_second_goes_on_for_ever(ask: Ask, clock: list[float]) -> None:
    for _ in range(5):
        assert ask(LOGINS[0]).status == 401
        clock[0] += 1.01


def test_bans_grow_until_somebody_signs_in(ask: Ask, clock: list[float]) -> None:
    User.objects.create_user("ann@example.com", PASSWORD, username="ann")

    def ban() -> int:
        ask(LOGINS[0])
        found = int(ask(LOGINS[1]).header("retry-after") or 0)
        clock[0] += found
        return found

    assert [ban(), ban()] == [30, 900]
    right = {"email": "ann@example.com", "password": PASSWORD}
    assert ask(LOGINS[0], right).status == 200
    clock[0] += 1.01
    assert ban() == 30


def test_where_limiting_is_off_nothing_is_counted(ask: Ask, settings: Any) -> None:
    settings.RATE_LIMIT_ENABLED = False
    django = DjangoHandler(1)
    front = Front(django)
    body = orjson.dumps({"email": "ann@example.com", "password": "wrong-password-9"})

    async def often() -> list[int]:
        headers = [("Content-Type", "application/json")]
        found = [(await call(front, "POST", LOGINS[0], headers, body)).status for _ in range(4)]
        await front.close()
        return found

    assert asyncio.run(often()) == [401] * 4
    django.close()


EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
ELSEWHERE = [
    EVIL,
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://cms.example.evil.example"},
    {"Origin": "https://shop.example, https://evil.example"},
    {"Origin": "https://app.localhost", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
]
AT_HOME = [
    {},
    {"Origin": "http://localhost"},
    {"Origin": "https://localhost"},  # HTTPS ended at a proxy
    {"Origin": "https://localhost", "Host": "localhost:443"},
    {"Origin": "http://localhost:8000", "Host": "LOCALHOST:8000"},
    {"Origin": "https://cms.example"},  # BASE_URL's: the proxy says another host
    {"Origin": "http://desk.example:5173", "Sec-Fetch-Site": "same-origin"},  # the browser knows what it asked for
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
]


@pytest.fixture
def at_home(settings: Any) -> None:
    settings.BASE_URL = "https://cms.example"
    settings.CORS_ALLOW_ALL_ORIGINS, settings.CORS_ALLOWED_ORIGINS = False, ["https://shop.example"]


def test_no_page_of_another_origin_has_its_visitors_banned_from_signing_in(at_home: None, ask: Ask) -> None:
    User.objects.create_user("ann@example.com", PASSWORD, username="ann")
    for path in (*LOGINS, *REGISTERS, "/admin/login/"):
        for headers in ELSEWHERE:
            refused = ask(path, headers=headers)
            assert refused.status == 403, (path, headers)
    assert refused.json()["error_code"] == "FORBIDDEN" and "CORS_ORIGINS" in refused.json()["message"]
    assert User.objects.count() == 1
    right = {"email": "ann@example.com", "password": PASSWORD}
    assert ask(LOGINS[0], right).status == 200
    assert ask("/api/v1/auth/refresh", {"refresh_token": "x"}, headers=EVIL).status == 401  # nothing to be banned from


def test_our_own_pages_those_of_cors_origins_and_programs_sign_in_and_are_counted(
    at_home: None, ask: Ask, clock: list[float]
) -> None:
    for headers in (*AT_HOME, {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}):
        assert ask(LOGINS[0], headers=headers).status == 401, headers
        clock[0] += 1.01
    assert ask(LOGINS[0]).status == 401
    assert ask(LOGINS[0], headers={"Origin": "https://shop.example"}).status == 429


# --- what else counts --------------------------------------------------------------------------


def test_a_record_that_nobody_makes_in_an_auth_collection_is_a_registration(
    ask: Ask, make_collection: Any, clock: list[float]
) -> None:
    make_collection("members", type="auth", create_rule=None)
    make_collection("posts", title="text", list_rule=None, create_rule=None)
    path = "/api/v1/collections/members/records"
    ask("/api/v1/collections/posts/records", None, method="GET")  # from its first request on a process knows the schema
    body = {"email": "m1@example.com", "password": PASSWORD}
    assert ask(path, body).status == 201
    assert ask(path, {**body, "email": "m2@example.com"}).status == 429
    assert ask("/api/v1/collections/members/auth/register", {**body, "email": "m3@example.com"}).status == 429
    assert [ask("/api/v1/collections/posts/records", {"title": "x"}).status for _ in range(3)] == [201] * 3
    clock[0] += 24 * 3600 * 3
    many = b"email,password\n" + b"".join(b"n%d@example.com,%s\n" % (n, PASSWORD.encode()) for n in range(2))
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n' + many + b"\r\n--b--\r\n"
    form = {"headers": {"Content-Type": "multipart/form-data; boundary=b"}, "raw": body}
    statuses = [ask(f"{path}/import/csv", None, **form).status for _ in range(2)]
    assert statuses == [422, 429]


def test_wrong_current_passwords_are_counted_for_the_account_from_wherever_they_come(ask: Ask) -> None:
    ann = User.objects.create_user("ann@example.com", PASSWORD, username="ann")
    bob = User.objects.create_user("bob@example.com", PASSWORD, username="bob")
    places = ["change-password", "disable-2fa", "change-email", "2fa/totp"]

    def show(user: User, password: str, number: int) -> int:
        place = places[number % len(places)]
        data = {
            "change-password": {"current_password": password, "new_password": "another-good-one-1"},
            "change-email": {"password": password, "email": "new@example.com"},
        }.get(place, {"password": password})
        token = {"headers": {"Authorization": f"Bearer {tokens.issue(user).access}"}}
        return ask(f"/api/v1/auth/{place}", data, client=f"192.0.2.{number + 10}", **token).status

    assert [show(ann, "wrong-password-9", number) for number in range(5)] == [422, 401, 422, 401, 422]
    assert [show(ann, password, 0) for password in ("wrong-password-9", PASSWORD)] == [429, 429]
    assert show(bob, PASSWORD, 0) == 200
    assert User.objects.get(pk=ann.pk).password == ann.password


def test_the_tries_are_not_unlimited_where_they_cannot_be_counted(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = User.objects.create_user("ann@example.com", PASSWORD, username="ann")
    monkeypatch.setattr(tries, "cache", None)
    data = {"current_password": PASSWORD, "new_password": "another-good-one-1"}
    headers = {"Authorization": f"Bearer {tokens.issue(ann).access}"}
    assert ask("/api/v1/auth/change-password", data, headers=headers).status == 503


def test_keys_of_admins_have_a_count_of_their_own(ask: Ask, settings: Any) -> None:
    boss = User.objects.create_user("boss@example.com", PASSWORD, username="boss", role="admin")
    member = User.objects.create_user("member@example.com", PASSWORD, username="member")
    _, limited = api_keys.make(boss, name="slow", access="write", rate_limit=3)
    _, usual = api_keys.make(boss, name="usual", access="write")
    _, members = api_keys.make(member, name="mine", access="write")

    def get(key: str, client: str = "192.0.2.1") -> Answer:
        return ask("/api/v1/auth/me", None, client, method="GET", headers={"X-API-Key": key})

    first = get(limited)
    assert (first.status, first.header("x-ratelimit-limit")) == (200, "100")  # not known yet: the client's
    assert [get(limited, f"192.0.2.{number}").status for number in range(2, 6)] == [200, 200, 200, 429]
    assert get(limited).header("x-ratelimit-limit") == "3"
    get(usual)
    assert get(usual).header("x-ratelimit-remaining") == "99"
    made_up = [get(f"fcms_{number}") for number in range(3)]
    assert [answer.status for answer in made_up] == [401] * 3
    assert [answer.header("x-ratelimit-remaining") for answer in made_up] == ["97", "96", "95"]
    get(members)
    assert get(members).header("x-ratelimit-remaining") == "93"


def test_files_have_a_count_of_their_own(ask: Ask) -> None:
    def get(path: str) -> Answer:
        return ask(path, None, method="GET")

    pictures = [get(f"/api/v1/files/posts/abc/{number}.png?thumb=100x100") for number in range(120)]
    assert {answer.status for answer in pictures} == {404}
    assert pictures[-1].header("x-ratelimit-limit") == "1000" and pictures[-1].header("x-ratelimit-remaining") == "880"
    assert get("/api/v1/auth/me").header("x-ratelimit-remaining") == "99"
    assert ask("/api/v1/files/token", {}).header("x-ratelimit-limit") == "100"


def test_forged_addresses_are_one_client(ask: Ask) -> None:
    forged = [
        ask("/api/v1/auth/me", None, method="GET", headers={"X-Forwarded-For": f"203.0.{n // 250}.{n % 250}"}).status
        for n in range(1000)
    ]
    assert (forged.count(401), forged.count(429)) == (100, 900)


def test_the_limit_changes_while_the_server_runs(ask: Ask) -> None:
    def get() -> Answer:
        return ask("/api/v1/auth/me", None, method="GET")

    try:
        assert get().header("x-ratelimit-limit") == "100"
        ratelimit.choose(requests=2)
        assert [get().status, get().status] == [401, 429]
        assert ask("/health", None, method="GET").status == 200
        ratelimit.choose(requests=50)
        assert get().header("x-ratelimit-limit") == "50"
    finally:
        ratelimit.choose()
