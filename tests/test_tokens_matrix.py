"""Every kind of token at every place that takes one: each opens what it is for, and nothing else.

By Django and DRF alone, and by the whole application with its lane. A refusal is the
documented one, and leaves every table as it was.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from accounts import api_keys, first_account, invites, key_uses, one_time, realms, tokens, two_factor
from accounts.models import SignIn, User
from accounts.models.owned import Account
from accounts.oauth.arrival import Person
from accounts.one_time import Purpose
from accounts.principals import SYSTEM
from collections_app.dialects import quote
from collections_app.tests.web import nothing_changes, path, whole_state
from settings_app import services
from tests.asgi_client import Answer
from tests.two_ways import Request, TwoWays, send

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PASSWORD, NEW = "correct-horse-battery", "another-staple-of-mine-7"
REALMS = ("users", "customers", "clients")
PEOPLE = ("main", "moving", "resetting", "verifying", "guarded")
SOMEBODY = Person("google", "subject-1", email="main@example.com", email_verified=True)
LONGEST = 200  # of the tokens that links carry; what is longer is 422 where it is a field of a body


def auth(realm: str, where: str) -> str:
    return f"/api/v1/auth/{where}" if realm == "users" else f"/api/v1/collections/{realm}/auth/{where}"


def kinds(what: str) -> frozenset[str]:
    return frozenset(f"{realm} {what}" for realm in REALMS)


KEYS = frozenset({"key that writes", "key that reads", "key for the list"})


# --- what is shown at the places ----------------------------------------------------------------


@dataclass
class Shown:
    """All tokens by their kind; ``codes`` belong to the challenges."""

    raw: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)


def signing_key(audience: str) -> str:
    key: str = tokens._backend(django_settings.SECRET_KEY, django_settings.ALGORITHM, audience).signing_key
    return key


def claims_of(raw: str) -> dict[str, Any]:
    return dict(jwt.decode(raw, options={"verify_signature": False}))


def rewritten(raw: str, **change: Any) -> str:
    """Other claims under the same signature."""
    head, _, signature = raw.split(".")
    body = base64.urlsafe_b64encode(json.dumps({**claims_of(raw), **change}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def forged(realm: str, audiences: dict[str, str], pair: tokens.TokenPair, others: str) -> Iterator[tuple[str, str]]:
    """Tokens that nobody has issued, or that are over; none of them opens anything."""
    key = signing_key(audiences[realm])
    for kind, raw in (("access", pair.access), ("refresh", pair.refresh)):
        claims, other_kind = claims_of(raw), "refresh" if kind == "access" else "access"
        yield f"{realm} {kind}, expired", jwt.encode({**claims, "exp": claims["iat"] - 3600}, key, "HS256")
        yield f"{realm} {kind}, alg none", jwt.encode(claims, None, "none")
        yield f"{realm} {kind}, a foreign key", jwt.encode(claims, "f" * 64, "HS256")
        yield f"{realm} {kind}, the secret key itself", jwt.encode(claims, django_settings.SECRET_KEY, "HS256")
        yield f"{realm} {kind}, another algorithm", jwt.encode(claims, key, "HS512")
        yield f"{realm} {kind}, tampered purpose", rewritten(raw, token_type=other_kind, purpose=other_kind)
        yield f"{realm} {kind}, tampered sub", rewritten(raw, sub=others)
        yield f"{realm} {kind}, another's sub, well signed", jwt.encode({**claims, "sub": others}, key, "HS256")
        yield f"{realm} {kind}, no stamp, well signed", jwt.encode({**claims, "stm": ""}, key, "HS256")
        for other in set(audiences) - {realm}:
            yield f"{realm} {kind}, tampered aud to {other}", rewritten(raw, aud=audiences[other])
            yield (
                f"{realm} {kind}, signed by {realm} for {other}",
                jwt.encode({**claims, "aud": audiences[other]}, key, "HS256"),
            )
            # Signed by the other realm, as if it had issued it for itself: the sign-in is not one of its own.
            yield (
                f"{realm} {kind}, signed by and for {other}",
                jwt.encode({**claims, "aud": audiences[other]}, signing_key(audiences[other]), "HS256"),
            )


@pytest.fixture
def people(make_collection: Any, records: Any, make_user: Any) -> dict[str, dict[str, Account]]:
    """The same five people in each realm; in the two collections with the same ids, hashes and token keys."""
    make_collection("signed_in", title="text", list_rule="@request.auth.id != ''")
    make_collection("of_customers", title="text", list_rule="@request.auth.collection = 'customers'")
    for name in ("customers", "clients"):
        collection = make_collection(name, type="auth", nickname="text")
        for who in PEOPLE:
            record = {"id": f"same-{who}", "email": f"{who}@example.com", "password": PASSWORD, "verified": True}
            records(name).create(**record)
        columns = [collection.by_name[column].column for column in ("token_key", "password")]
        with connection.cursor() as cursor:
            values = ["k" * 32, get_user_model()(password="").password or "md5$salt$of-nothing"]
            sets = ", ".join(f"{quote(column)} = %s" for column in columns)
            cursor.execute(f"UPDATE {quote(collection.table)} SET {sets}", values)
    for who in PEOPLE:
        make_user(who)
    return {name: {who: found(name, f"{who}@example.com") for who in PEOPLE} for name in REALMS}


def found(realm: str, email: str) -> Account:
    account = realms.get(realm).find(email)
    assert account is not None
    return account


@pytest.fixture
def shown(people: dict[str, dict[str, Account]], admin: User, monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setattr(key_uses, "uses", key_uses.Uses(every=3600))
    told = Shown()
    audiences = {realm: realms.get(realm).audience for realm in REALMS}
    stamps = {name: people[name]["main"].credential_stamp() for name in ("customers", "clients")}
    assert len(set(stamps.values())) == 1, "the two records differ in nothing but their collection"
    for realm in REALMS:
        mine = people[realm]
        pair, leaving, other = (tokens.issue(mine["main"]) for _ in range(3))
        told.raw |= {
            f"{realm} access": pair.access,
            f"{realm} refresh": pair.refresh,
            f"{realm} access to leave": leaving.access,
            f"{realm} refresh to leave": other.refresh,
            f"{realm} verify": one_time.make(mine["verifying"], Purpose.VERIFY),
            f"{realm} reset": one_time.make(mine["resetting"], Purpose.RESET),
            f"{realm} change-email": one_time.make(
                mine["moving"], Purpose.CHANGE_EMAIL, {"email": "moved@example.com"}
            ),
            f"{realm} exchange": one_time.make(
                mine["main"], Purpose.EXCHANGE, {"provider": "google", "code_challenge": ""}
            ),
            f"{realm} link": one_time.make(mine["main"], Purpose.LINK, {"provider": "google"}),
            f"{realm} linked": one_time.make(mine["main"], Purpose.LINKED, asdict(SOMEBODY)),
            f"{realm} ticket": one_time.make(mine["main"], Purpose.TICKET),
        }
        guarded = realms.get(realm).set_two_fa(mine["guarded"], True)
        asked = two_factor.challenge(guarded, "password")
        told.raw[f"{realm} challenge"] = asked.raw
        told.codes[f"{realm} challenge"] = two_factor.mail_code(asked.id) or ""
        told.raw |= dict(forged(realm, audiences, pair, mine["moving"].account_id))
    scope = list(api_keys.collections.ids(["signed_in"]).values())
    owner = people["users"]["main"]
    assert isinstance(owner, User)
    told.raw |= {
        "key that writes": api_keys.make(owner, name="w", access="write")[1],
        "key that reads": api_keys.make(owner, name="r", access="read")[1],
        "key for the list": api_keys.make(owner, name="l", access="read", collection_ids=scope)[1],
        "key that is made up": "fcms_" + "x" * 40,
        "invite": invites.code_of(invites.create(SYSTEM, None, role="user", expires_at=None)),
        "setup": first_account.new_token(),
        "nothing": "x",
    }
    browser = Client()
    browser.force_login(admin)
    told.raw["session"] = browser.cookies[django_settings.SESSION_COOKIE_NAME].value
    services.put("registration_mode", "INVITE_ONLY", by="")
    return told


# --- the places ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """``ask`` makes the request that shows a token, of its kind; ``refuse`` says how a wrong one is answered."""

    name: str
    takes: frozenset[str]
    ask: Callable[[Shown, str], Request]
    refuse: Callable[[str, str], int]
    answers: int = 200


def always(status: int) -> Callable[[str, str], int]:
    return lambda kind, raw: status


def by_length(status: int) -> Callable[[str, str], int]:
    return lambda kind, raw: 422 if len(raw) > LONGEST else status


def bearer(method: str, target: str) -> Callable[[Shown, str], Request]:
    return lambda shown, kind: send(method, target, authorization=f"Bearer {shown.raw[kind]}")


def body(target: str, name: str, **more: Any) -> Callable[[Shown, str], Request]:
    return lambda shown, kind: send("POST", target, {name: shown.raw[kind], **more})


def presented_by(realm: str) -> Callable[[Shown, str], Request]:
    """A proof from a provider, by somebody who is signed in."""
    return lambda shown, kind: send(
        "POST",
        auth(realm, "identities"),
        {"code": shown.raw[kind]},
        authorization=f"Bearer {shown.raw[f'{realm} access']}",
    )


def form(target: str, **more: str) -> Callable[[Shown, str], Request]:
    def ask(shown: Shown, kind: str) -> Request:
        content = urlencode({"token": shown.raw[kind], **more}).encode()
        return send("POST", target, content, content_type="application/x-www-form-urlencoded")

    return ask


def cookie(method: str, target: str) -> Callable[[Shown, str], Request]:
    name = django_settings.SESSION_COOKIE_NAME
    return lambda shown, kind: send(method, target, cookie=f"{name}={shown.raw[kind]}")


def answering(target: str) -> Callable[[Shown, str], Request]:
    """With its own code where it is a challenge: only the place is wrong."""
    return lambda shown, kind: send(
        "POST", target, {"challenge": shown.raw[kind], "code": shown.codes.get(kind, "123456")}
    )


def both(realm: str, what: str) -> frozenset[str]:
    return frozenset({f"{realm} {what}", f"{realm} {what} to leave"})


SET_NEW = {"new_password": NEW, "password_confirm": NEW}
NEWCOMER = {"email": "newcomer@example.com", "password": PASSWORD, "username": "newcomer"}
ACCESS = frozenset().union(*(both(realm, "access") for realm in REALMS))

PAGES = ("/verify", "/change-email", "/reset-password")
PLACES: list[Place] = []
for _realm in REALMS:
    _keys = KEYS if _realm == "users" else frozenset()
    # The paths of users take the mailed tokens of everybody: such a token says itself whose it is.
    _mailed = (
        (lambda what: kinds(what)) if _realm == "users" else (lambda what, realm=_realm: frozenset({f"{realm} {what}"}))
    )
    _to = {} if _realm == "users" else {"collection": _realm}
    PLACES += [
        Place(f"{_realm} me", both(_realm, "access") | _keys, bearer("GET", auth(_realm, "me")), always(401)),
        Place(
            f"{_realm} exchange", frozenset({f"{_realm} exchange"}), body("/api/v1/oauth/exchange", "code", **_to),
            by_length(400),
        ),
        Place(
            f"{_realm} verify-2fa", frozenset({f"{_realm} challenge"}), answering(auth(_realm, "verify-2fa")),
            by_length(401),
        ),
        Place(
            f"{_realm} verify-email", _mailed("verify"), body(auth(_realm, "verify-email"), "token"), by_length(400)
        ),
        Place(
            f"{_realm} confirm-email-change", _mailed("change-email"),
            body(auth(_realm, "confirm-email-change"), "token"), by_length(400),
        ),
        Place(
            f"{_realm} reset-password", _mailed("reset"), body(auth(_realm, "reset-password"), "token", **SET_NEW),
            by_length(400),
        ),
    ]  # fmt: skip
PLACES += [
    Place("the list", ACCESS | KEYS, bearer("GET", path("signed_in")), always(401)),
    Place(
        "the customers' list", both("customers", "access"), bearer("GET", path("of_customers")),
        lambda kind, raw: 403 if kind in ACCESS | KEYS else 401,
    ),
    Place(
        "X-API-Key", KEYS, lambda shown, kind: send("GET", path("signed_in"), x_api_key=shown.raw[kind]), always(401)
    ),
    Place("me by cookie", frozenset({"session"}), cookie("GET", auth("users", "me")), always(401)),
    *(
        Place(url, both("users", "access"), bearer("GET", url), lambda kind, raw: 403 if kind in KEYS else 401)
        for url in ("/api/profile", "/api/v1/users/me", "/api/v1/auth/sessions", "/api/auth/sessions")
    ),
    Place("/verify", kinds("verify"), form("/verify"), always(400)),
    Place("/change-email", kinds("change-email"), form("/change-email"), always(400)),
    Place("/reset-password", kinds("reset"), form("/reset-password", **SET_NEW), always(400)),
    Place(
        "register", frozenset({"invite"}), body(auth("users", "register"), "invite_code", **NEWCOMER),
        lambda kind, raw: 422, 201,
    ),
    Place(
        "enveloped register", frozenset({"invite"}),
        body("/api/register", "inviteCode", login="newcomer", email="newcomer@example.com", password=PASSWORD),
        lambda kind, raw: 422, 201,
    ),
]  # fmt: skip
for _realm in REALMS:
    PLACES += [
        Place(
            f"{_realm} identities", frozenset({f"{_realm} linked"}), presented_by(_realm), by_length(400), 201
        ),
        Place(
            f"{_realm} refresh", frozenset({f"{_realm} refresh", f"{_realm} refresh to leave"}),
            body(auth(_realm, "refresh"), "refresh_token"), always(401),
        ),
        Place(
            f"{_realm} logout", both(_realm, "access"), bearer("POST", auth(_realm, "logout")),
            lambda kind, raw: 403 if kind in KEYS else 401,
        ),
    ]  # fmt: skip


# --- asking -------------------------------------------------------------------------------------


@pytest.fixture
def ways(shown: Shown, tmp_path: Path, settings: Any) -> Iterator[TwoWays]:
    settings.ACCESS_LOG = False
    made = TwoWays(tmp_path, {})
    yield made
    made.close()


def by(ways: TwoWays, way: str) -> Callable[[Request], Answer]:
    return ways.by_lane if way == "lane" else ways.by_django


def stored() -> dict[str, Any]:
    """Every row of every table, with what a request may usually touch."""
    return whole_state() | {
        "sign_ins": sorted(map(repr, SignIn.objects.values_list())),
        "sessions": sorted(map(repr, Session.objects.values_list())),
    }


@pytest.mark.parametrize("way", ["django", "lane"])
def test_no_token_opens_what_it_is_not_for(way: str, shown: Shown, ways: TwoWays) -> None:
    ask, wrong, before = by(ways, way), [], stored()
    for place in PLACES:
        for kind in shown.raw.keys() - place.takes:
            expected = place.refuse(kind, shown.raw[kind])
            for _ in range(2 if way == "lane" else 1):  # the lane a second time, from what it remembers
                answer = ask(place.ask(shown, kind))
                if answer.status != expected:
                    wrong.append(f"{kind} at {place.name}: {answer.status}, not {expected}: {answer.content[:150]!r}")
                    break
        after = stored()
        if after != before:
            changed = sorted(name for name in after if after[name] != before.get(name))
            wrong.append(f"{place.name} refused all, and {changed} changed")
            before = after
    assert not wrong, f"{len(wrong)} cells:\n" + "\n".join(wrong[:60])


@pytest.mark.parametrize("way", ["django", "lane"])
@pytest.mark.parametrize("first", ["the API", "the pages"])
def test_each_token_opens_what_it_is_for(first: str, way: str, shown: Shown, ways: TwoWays) -> None:
    """What works once is used at the first of its places, and is nothing at the others."""
    ask, wrong, used = by(ways, way), [], set()
    once = (
        kinds("verify") | kinds("change-email") | kinds("reset") | kinds("exchange") | kinds("challenge") | {"invite"}
    )
    once |= frozenset(kind for kind in shown.raw if "refresh" in kind)
    for place in sorted(PLACES, key=lambda place: (place.name in PAGES) == (first == "the API")):
        for kind in sorted(place.takes):
            if "logout" in place.name and not kind.endswith("to leave"):
                continue
            reached = ways.reached_django
            answer = ask(place.ask(shown, kind))
            expected = place.refuse(kind, shown.raw[kind]) if kind in used else place.answers
            if answer.status != expected:
                wrong.append(f"{kind} at {place.name}: {answer.status}, not {expected}: {answer.content[:150]!r}")
            if way == "lane" and place.name in ("the list", "X-API-Key") and ways.reached_django != reached:
                wrong.append(f"{kind} at {place.name} was not the lane's")
            if kind in once:
                used.add(kind)
    assert not wrong, "\n".join(wrong)


def test_a_logout_by_a_refresh_token_ends_that_sign_in_only(shown: Shown, anonymous: APIClient) -> None:
    """As RFC 7009 has it: a token of no use is no error, and ends nothing."""
    for realm in REALMS:
        url = auth(realm, "logout")
        before = stored()
        for kind, raw in shown.raw.items():
            own = kind.startswith(realm) and ("access" in kind or "refresh" in kind)
            if own and ("," not in kind or "no stamp" in kind):
                continue
            assert anonymous.post(url, {"refresh_token": raw}).status_code in (200, 422), kind
            assert stored() == before, f"{kind} ended something at {url}"
        assert anonymous.post(url, {"refresh_token": shown.raw[f"{realm} refresh to leave"]}).status_code == 200
        ended = SignIn.objects.exclude(revoked=None)
        assert ended.filter(realm=realms.get(realm).key).count() == 1


def test_a_session_changes_nothing_without_its_form_token(shown: Shown) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.cookies[django_settings.SESSION_COOKIE_NAME] = shown.raw["session"]
    before = stored()
    for where, data in (
        ("logout", {}),
        ("change-password", {"current_password": PASSWORD, "new_password": NEW}),
        ("change-email", {"password": PASSWORD, "new_email": "x@example.com"}),
        ("enable-2fa", {}),
        ("api-keys", {"name": "x"}),
    ):
        for prefix in ("/api/v1/auth", "/api/auth"):
            answer = browser.post(f"{prefix}/{where}", data, content_type="application/json")
            assert answer.status_code == 403, where
            assert stored() == before, where


def test_only_the_printed_token_makes_the_first_account(
    make_collection: Any, records: Any, settings: Any, anonymous: APIClient
) -> None:
    settings.PRODUCTION = True
    make_collection("customers", type="auth")
    records("customers").create(id="ann", email="ann@example.com", password=PASSWORD, verified=True)
    ann, printed = found("customers", "ann@example.com"), first_account.new_token()
    pair = tokens.issue(ann)
    others = [one_time.make(ann, purpose) for purpose in Purpose]
    others += [invites.code_of(invites.create(SYSTEM, None, expires_at=None)), "x"]
    for raw in (pair.access, pair.refresh, *others):
        for url, name in ((auth("users", "register"), "username"), ("/api/register", "login")):
            with nothing_changes():
                answer = anonymous.post(
                    url, {name: "chief", "email": "c@example.com", "password": PASSWORD, "setup_token": raw}
                )
                assert answer.status_code == (422 if len(raw) > 64 else 400), raw
    body = {"username": "chief", "email": "c@example.com", "password": PASSWORD, "setup_token": printed}
    assert anonymous.post(auth("users", "register"), body).status_code == 201
    assert User.objects.get().role == "superadmin"
