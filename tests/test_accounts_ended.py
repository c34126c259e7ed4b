"""What ends with a change of an account, on the server that makes it and on another one."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.test import Client

from accounts import api_keys, invites, one_time, realms, tokens, two_factor
from accounts.models import Mail, SignIn, User
from accounts.models.owned import Account
from accounts.one_time import Purpose
from accounts.principals import SYSTEM
from collections_app.tests.web import path
from core.ratelimit import client_key
from settings_app import services
from tests.server import SECRET_KEY, server

pytestmark = [pytest.mark.engine, pytest.mark.slow]
logging.getLogger("httpx").setLevel(logging.WARNING)

PASSWORD, NEW = "correct-horse-battery", "another-staple-of-mine-7"
WITHIN = 20  # seconds; five, and the slowest machine
LINKS = {
    Purpose.VERIFY: "verify-email",
    Purpose.RESET: "reset-password",
    Purpose.CHANGE_EMAIL: "confirm-email-change",
    Purpose.EXCHANGE: "",
}


def auth(realm: str, where: str) -> str:
    return f"/api/v1/auth/{where}" if realm == "users" else f"/api/v1/collections/{realm}/auth/{where}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Hand:
    """All by which somebody is, or could come, into an account."""

    realm: str
    account: Account
    pairs: list[tokens.TokenPair]
    links: dict[Purpose, str]
    challenge: str
    code: str
    key: str = ""
    session: str = ""

    @classmethod
    def of(cls, realm: str, email: str) -> Hand:
        account = realms.get(realm).find(email)
        assert account is not None
        data: dict[Purpose, Any] = {
            Purpose.CHANGE_EMAIL: {"email": "moved@example.com"},
            Purpose.EXCHANGE: {"provider": "google", "code_challenge": ""},
        }
        with transaction.atomic():
            asked = two_factor.challenge(account, "password", client_key("127.0.0.1"))
            Mail.objects.all().delete()  # or a server would send it, with another code than ours
        hand = cls(
            realm=realm,
            account=account,
            pairs=[tokens.issue(account) for _ in range(3)],
            links={purpose: one_time.make(account, purpose, data.get(purpose)) for purpose in LINKS},
            challenge=asked.raw,
            code=two_factor.mail_code(asked.id) or "",
        )
        if isinstance(account, User):
            hand.key = api_keys.make(account, name="test", access="write")[1]
            browser = Client()
            browser.force_login(account)
            hand.session = browser.cookies[django_settings.SESSION_COOKIE_NAME].value
        return hand

    def reads(self, client: httpx.Client) -> dict[str, int]:
        """What opens without being used up: the status of each."""
        listed = path("signed_in")
        told = {}
        for number, pair in enumerate(self.pairs):
            told[f"access {number}"] = client.get(auth(self.realm, "me"), headers=bearer(pair.access)).status_code
            told[f"access {number} in the list"] = client.get(listed, headers=bearer(pair.access)).status_code
        if self.key:
            told["key"] = client.get(auth("users", "me"), headers={"X-API-Key": self.key}).status_code
            told["key in the list"] = client.get(listed, headers={"X-API-Key": self.key}).status_code
        if self.session:
            cookies = {"Cookie": f"{django_settings.SESSION_COOKIE_NAME}={self.session}"}
            told["session"] = client.get(auth("users", "me"), headers=cookies).status_code
            admin = client.get("/admin/", headers=cookies)
            told["session in the admin"] = 401 if admin.status_code == 302 else admin.status_code
        return told

    def uses(self, client: httpx.Client) -> dict[str, int]:
        """What works once, or moves on: the status of each."""
        told = {}
        for number, pair in enumerate(self.pairs):
            answer = client.post(auth(self.realm, "refresh"), json={"refresh_token": pair.refresh})
            told[f"refresh {number}"] = answer.status_code
        answer = client.post(auth(self.realm, "verify-2fa"), json={"challenge": self.challenge, "code": self.code})
        told["challenge"] = answer.status_code
        answer = client.post(
            auth(self.realm, "verify-2fa"), json={"user_id": self.account.account_id, "code": self.code}
        )
        told["challenge of the account"] = answer.status_code
        for purpose, where in LINKS.items():
            token = self.links[purpose]
            if purpose is Purpose.EXCHANGE:
                named = {} if self.realm == "users" else {"collection": self.realm}
                answer = client.post("/api/v1/oauth/exchange", json={"code": token, **named})
            else:
                more = {"new_password": "never-to-be-set-9"} if purpose is Purpose.RESET else {}
                answer = client.post(auth(self.realm, where), json={"token": token, **more})
            told[f"the {purpose} token"] = answer.status_code
        return told


class House:
    """Two servers on one database, and an administrator of each rank."""

    def __init__(self, clients: list[httpx.Client], chief: User) -> None:
        self.clients = clients
        self.one, self.other = clients
        self._chief = tokens.issue(chief).access

    def chief(self, method: str, target: str, **data: Any) -> httpx.Response:
        return self.one.request(method, target, json=data or None, headers=bearer(self._chief))

    def is_over(self, hand: Hand) -> None:
        """Nothing of it opens anything on either server, soon after."""
        deadline = time.monotonic() + WITHIN
        alive: dict[str, int] = {"not asked yet": 0}
        while alive:
            told = {(name, n): status for n, one in enumerate(self.clients) for name, status in hand.reads(one).items()}
            alive = {f"{name} on {n}": status for (name, n), status in told.items() if status not in (401, 404)}
            assert not alive or time.monotonic() < deadline, alive
        for client in reversed(self.clients):
            used = hand.uses(client)
            assert not {name: status for name, status in used.items() if status not in (400, 401, 404)}, used


@pytest.fixture
def house(make_collection: Any, make_user: Any, tmp_path: Path, settings: Any, real_hashers: None) -> Iterator[House]:
    settings.SECRET_KEY = SECRET_KEY
    make_collection("customers", type="auth")
    make_collection("signed_in", title="text", list_rule="@request.auth.id != ''")
    chief = make_user("chief", role="superadmin")
    with ExitStack() as stack:
        clients = []
        for name in "ab":
            (tmp_path / name).mkdir()
            running = stack.enter_context(server(tmp_path / name))
            clients.append(stack.enter_context(httpx.Client(base_url=running.url, timeout=60)))
        yield House(clients, chief)
        for name in "ab":
            assert "Traceback" not in (tmp_path / name / "server.log").read_text()


def ok(answer: httpx.Response) -> None:
    assert answer.is_success, answer.text


def own(house: House, hand: Hand, method: str, target: str, **data: Any) -> None:
    ok(house.one.request(method, target, json=data, headers=bearer(hand.pairs[0].access)))


def by_link(purpose: Purpose, **more: str) -> Callable[[House, Hand], None]:
    def do(house: House, hand: Hand) -> None:
        ok(house.one.post(auth(hand.realm, LINKS[purpose]), json={"token": hand.links[purpose], **more}))

    return do


def by_page(purpose: Purpose, page: str, **more: str) -> Callable[[House, Hand], None]:
    def do(house: House, hand: Hand) -> None:
        ok(house.one.post(page, data={"token": hand.links[purpose], **more}))

    return do


def change_password(house: House, hand: Hand) -> None:
    own(house, hand, "POST", auth(hand.realm, "change-password"), current_password=PASSWORD, new_password=NEW)


def of_user(**changes: Any) -> Callable[[House, Hand], None]:
    def do(house: House, hand: Hand) -> None:
        ok(house.chief("PATCH", f"/api/v1/users/update/{hand.account.account_id}", **changes))

    return do


def of_record(**changes: Any) -> Callable[[House, Hand], None]:
    def do(house: House, hand: Hand) -> None:
        ok(house.chief("PATCH", path("customers", hand.account.account_id), **changes))

    return do


def and_back(there: Callable[[House, Hand], None], back: Callable[[House, Hand], None]) -> Any:
    def do(house: House, hand: Hand) -> None:
        there(house, hand)
        back(house, hand)

    return do


TWICE = {"new_password": NEW, "password_confirm": NEW}
EITHER: dict[str, Any] = {
    "a new password": change_password,
    "a reset": by_link(Purpose.RESET, new_password=NEW),
    "a reset by the page": by_page(Purpose.RESET, "/reset-password", **TWICE),
    "a new address": by_link(Purpose.CHANGE_EMAIL),
    "a new address by the page": by_page(Purpose.CHANGE_EMAIL, "/change-email"),
}
OF_USERS: dict[str, Any] = EITHER | {
    "a password of one's own account": lambda house, hand: own(
        house, hand, "PATCH", "/api/v1/users/me", password=NEW, current_password=PASSWORD
    ),
    "a password by the chief": of_user(password=NEW),
    "an address by the chief": of_user(email="other@example.com"),
    "an address and back": and_back(of_user(email="other@example.com"), of_user(email="victim@example.com")),
    "disabling": of_user(is_active=False),
    "disabling and back": and_back(of_user(is_active=False), of_user(is_active=True)),
    "a lower role": lambda house, hand: ok(
        house.chief("PUT", f"/api/v1/users/update/{hand.account.account_id}/role", new_role="user")
    ),
    "a lower role and back": and_back(of_user(role="user"), of_user(role="admin")),
    "a lower role in envelopes": lambda house, hand: ok(
        house.chief("POST", "/api/profile", user_id=hand.account.account_id, roles=["user"])
    ),
    "the end": lambda house, hand: ok(house.chief("DELETE", f"/api/v1/users/delete/{hand.account.account_id}")),
}
OF_RECORDS: dict[str, Any] = EITHER | {
    "a password by the chief": of_record(password=NEW),
    "an address by the chief": of_record(email="other@example.com"),
    "an address and back": and_back(of_record(email="other@example.com"), of_record(email="victim@example.com")),
    "a role": of_record(role="vip"),
    "a role and back": and_back(of_record(role="vip"), of_record(role="")),
    "many at once": lambda house, hand: ok(
        house.chief(
            "POST", path("customers", "bulk-update"), record_ids=[hand.account.account_id], data={"role": "vip"}
        )
    ),
    "the end": lambda house, hand: ok(house.chief("DELETE", path("customers", hand.account.account_id))),
    "the end in a bulk": lambda house, hand: ok(
        house.chief("POST", path("customers", "bulk-delete"), record_ids=[hand.account.account_id])
    ),
    "the end and a successor of the same id": lambda house, hand: (
        ok(house.chief("DELETE", path("customers", hand.account.account_id))),
        ok(
            house.chief(
                "POST", path("customers"), id=hand.account.account_id, email="victim@example.com", password=PASSWORD
            )
        ),
    ),
}


def story_of(house: House, hand: Hand, change: Callable[[House, Hand], Any], other: Hand) -> None:
    for client in house.clients:
        assert set(hand.reads(client).values()) == {200}
    change(house, hand)
    house.is_over(hand)
    for client in house.clients:  # nobody else is concerned
        assert set(other.reads(client).values()) == {200}


def test_whatever_changes_a_user_ends_what_was_signed_in(house: House, make_user: Any) -> None:
    make_user("bystander", role="admin")
    other = Hand.of("users", "bystander@example.com")
    told = []
    for what, change in OF_USERS.items():
        victim = make_user("victim", role="admin")
        try:
            story_of(house, Hand.of("users", "victim@example.com"), change, other)
        except AssertionError as fault:
            told.append(f"{what}: {str(fault)[:600]}")
        User.all_objects.filter(pk=victim.pk).delete()
    assert not told, "\n".join(told)


def test_whatever_changes_a_record_ends_what_was_signed_in(house: House, records: Any) -> None:
    customers = records("customers")
    customers.create(email="bystander@example.com", password=PASSWORD, verified=True)
    other = Hand.of("customers", "bystander@example.com")
    told = []
    for what, change in OF_RECORDS.items():
        made = customers.create(email="victim@example.com", password=PASSWORD, verified=True)
        try:
            story_of(house, Hand.of("customers", "victim@example.com"), change, other)
        except AssertionError as fault:
            told.append(f"{what}: {str(fault)[:600]}")
        house.chief("DELETE", path("customers", made["id"]))
    assert not told, "\n".join(told)


def test_the_end_of_a_collection_ends_its_accounts(house: House, records: Any) -> None:
    records("customers").create(email="victim@example.com", password=PASSWORD, verified=True)
    hand = Hand.of("customers", "victim@example.com")
    ok(house.chief("DELETE", "/api/v1/collections/customers"))
    house.is_over(hand)
    assert not SignIn.objects.exclude(realm="users").exists()


# --- what works once, fifty times at once -------------------------------------------------------

CROWD = 50


def crowd(house: House, ask: Callable[[httpx.Client, int], httpx.Response]) -> Counter[int]:
    """The statuses of fifty at once, half of them on each server; who is told to come back does so."""
    from collections_app.tests.threads import at_once

    def one(number: int) -> Callable[[], int]:
        def run() -> int:
            with httpx.Client(base_url=house.clients[number % 2].base_url, timeout=120) as client:
                while (answer := ask(client, number)).status_code == 503:
                    time.sleep(int(answer.headers["Retry-After"]))
                return answer.status_code

        return run

    return Counter(at_once(*(one(number) for number in range(CROWD))))


@pytest.mark.parametrize("realm", ["users", "customers"])
def test_of_fifty_at_once_one_uses_what_works_once(realm: str, house: House, make_user: Any, records: Any) -> None:
    if realm == "users":
        make_user("victim")
    else:
        records(realm).create(email="victim@example.com", password=PASSWORD, verified=True)
    named = {} if realm == "users" else {"collection": realm}

    def post(target: str, **data: Any) -> Callable[[httpx.Client, int], httpx.Response]:
        return lambda client, number: client.post(target, json=data)

    hand = Hand.of(realm, "victim@example.com")
    verify = crowd(house, post(auth(realm, "verify-email"), token=hand.links[Purpose.VERIFY]))
    assert verify == {200: 1, 400: CROWD - 1}
    exchange = crowd(house, post("/api/v1/oauth/exchange", code=hand.links[Purpose.EXCHANGE], **named))
    assert exchange == {200: 1, 400: CROWD - 1}

    before = SignIn.objects.count()
    answers = crowd(house, post(auth(realm, "verify-2fa"), challenge=hand.challenge, code=hand.code))
    assert answers == {200: 1, 401: CROWD - 1}
    assert SignIn.objects.count() == before + 1

    raw = hand.pairs[0].refresh
    answers = crowd(house, post(auth(realm, "refresh"), refresh_token=raw))
    assert answers in ({200: 1, 401: CROWD - 1}, {401: CROWD})
    for client in house.clients:  # the others were replays: that sign-in is over, and no other
        assert client.get(auth(realm, "me"), headers=bearer(hand.pairs[0].access)).status_code == 401
        assert client.get(auth(realm, "me"), headers=bearer(hand.pairs[1].access)).status_code == 200

    tried: list[str] = []

    def reset(client: httpx.Client, number: int) -> httpx.Response:
        password = f"the-word-of-number-{number}"
        answer = client.post(
            auth(realm, "reset-password"), json={"token": hand.links[Purpose.RESET], "new_password": password}
        )
        if answer.is_success:
            tried.append(password)
        return answer

    answers = crowd(house, reset)
    assert answers == {200: 1, 400: CROWD - 1}
    (winner,) = tried
    for client in house.clients:
        login = client.post(auth(realm, "login"), json={"email": "victim@example.com", "password": winner})
        assert login.status_code == 200, login.text
    moved = Hand.of(realm, "victim@example.com")
    answers = crowd(house, post(auth(realm, "confirm-email-change"), token=moved.links[Purpose.CHANGE_EMAIL]))
    assert answers == {200: 1, 400: CROWD - 1}


def test_of_fifty_at_once_one_takes_up_an_invitation(house: House) -> None:
    code = invites.code_of(invites.create(SYSTEM, None, expires_at=None))
    services.put("registration_mode", "INVITE_ONLY", by="")
    before = User.objects.count()

    def register(client: httpx.Client, number: int) -> httpx.Response:
        paths = ("/api/v1/auth/register", "/api/auth/register", "/api/register")
        body = {"login": f"guest-{number}", "email": f"guest-{number}@example.com", "password": PASSWORD}
        return client.post(paths[number % 3], json={**body, "inviteCode": code})

    assert crowd(house, register) == {201: 1, 422: CROWD - 1}
    assert User.objects.count() == before + 1
