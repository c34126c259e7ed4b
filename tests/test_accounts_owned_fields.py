"""What the server owns of an account can't be set by whoever registers or changes their own, however it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.hashers import check_password, make_password
from rest_framework.test import APIClient

from accounts import realms, tokens
from accounts.models import SecondFactor, User
from accounts.models.owned import Account
from collections_app.tests.web import BATCH, path, whole_state

pytestmark = pytest.mark.engine

PASSWORD = "correct-horse-battery"
EMAIL = "eve@example.com"
CUSTOMERS = "/api/v1/collections/customers/auth/register"
# What an account of each realm owns, and a value that nobody is to get.
OWNED: dict[str, Any] = {
    "role": "superadmin",
    "roles": ["superadmin"],
    "verified": True,
    "email_verified": True,
    "token_key": "k" * 32,
    "is_staff": True,
    "is_superuser": True,
    "is_active": False,
    "is_admin": True,
    "id": "00000000-0000-4000-8000-000000000001",
    "created": "2001-01-01T00:00:00Z",
    "created_at": "2001-01-01T00:00:00Z",
    "updated": "2001-01-01T00:00:00Z",
    "two_fa_enabled": True,
    "last_login_at": "2001-01-01T00:00:00Z",
    "deleted_at": "2001-01-01T00:00:00Z",
    "phone_verified": True,
    "used_invite_code": "X",
    "groups": [1],
    "realm_key": "users",
    "collection": "users",
    "password_hash": "!",
}
# Ignored in a record's body, as CONTRACT.md says of these names.
IGNORED_OF_RECORDS = {"created", "updated", "collection"}
MULTIPART = "BoUnDaRy"


def plain(value: Any) -> str:
    return json.dumps(value).strip('"')


def multipart(pairs: list[tuple[str, str]]) -> bytes:
    parts = [
        f'--{MULTIPART}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in pairs
    ]
    return "".join([*parts, f"--{MULTIPART}--\r\n"]).encode()


def sendings(body: dict[str, Any], name: str, value: Any) -> Iterator[tuple[str, str, bytes]]:
    """The body with one more field in every way to say it: what it is called, content type, content."""
    kind = "application/json"
    whole = {**body, name: value}
    yield "JSON", kind, json.dumps(whole).encode()
    inside = json.dumps(body)[1:-1]
    both = [f"{json.dumps(name)}: {json.dumps(one)}" for one in (None, value)]
    for order, (first, second) in {"last": both, "first": both[::-1]}.items():
        yield f"JSON, twice, {order}", kind, f"{{{first}, {inside}, {second}}}".encode()
    yield "in data", kind, json.dumps({"data": whole}).encode()
    yield "data beside", kind, json.dumps({**body, "data": {name: value}}).encode()
    for nest in ("user", "profile", "base", "account"):
        yield f"in {nest}", kind, json.dumps({**body, nest: {name: value}}).encode()
    yield "with a dotted name", kind, json.dumps({**body, f"user.{name}": value}).encode()
    yield "with a bracketed name", kind, json.dumps({**body, f"user[{name}]": value}).encode()
    texts = [(key, plain(one)) for key, one in whole.items()]
    yield "form", "application/x-www-form-urlencoded", urlencode(texts).encode()
    yield "form, twice", "application/x-www-form-urlencoded", urlencode([(name, ""), *texts]).encode()
    yield "multipart", f"multipart/form-data; boundary={MULTIPART}", multipart(texts)
    yield "multipart, twice", f"multipart/form-data; boundary={MULTIPART}", multipart([(name, ""), *texts])


def owned(account: Account) -> dict[str, Any]:
    """What of an account is the server's, as it must be of somebody new."""
    told: dict[str, Any] = {"role": account.role, "verified": account.verified, "two_fa": account.two_fa_enabled}
    if isinstance(account, User):
        told |= {
            "active": account.is_active,
            "staff": account.is_staff or account.is_superuser,
            "phone": account.phone_verified,
            "invite": account.used_invite_code,
            "groups": list(account.groups.all()),
            "deleted": account.deleted_at,
        }
    return told


def new(realm: str) -> dict[str, Any]:
    told = {"role": "user", "verified": False, "two_fa": False}
    if realm == "users":
        told |= {"active": True, "staff": False, "phone": False, "invite": "", "groups": [], "deleted": None}
    return told


def fixed(account: Account) -> tuple[Any, ...]:
    record = account if isinstance(account, User) else None
    if record is not None:
        return account.account_id, record.token_key, record.created.year, record.password
    stored = account.record  # type: ignore[attr-defined]
    return account.account_id, stored["token_key"], stored["created"][:4], stored["password"]


REGISTERS = {
    "/api/v1/auth/register": ("users", "username"),
    "/api/auth/register": ("users", "username"),
    "/api/register": ("users", "login"),
    CUSTOMERS: ("customers", ""),
    path("customers"): ("customers", ""),
}


@pytest.fixture
def customers(make_collection: Any, make_user: Any) -> None:
    make_user("first")
    make_collection("customers", type="auth", nickname="text")


@pytest.mark.parametrize("url", REGISTERS)
def test_who_registers_sets_nothing_that_the_server_owns(url: str, customers: None, anonymous: APIClient) -> None:
    realm_name, name_key = REGISTERS[url]
    realm = realms.get(realm_name)
    body = {"email": EMAIL, "password": PASSWORD, **({name_key: "eveline"} if name_key else {})}
    wrong, before = [], dict[str, list[str]]()  # empty where something has been stored since
    for name, value in OWNED.items():
        for how, kind, content in sendings(body, name, value):
            what = f"{name}, {how}"
            before = before or whole_state()
            answer = anonymous.generic("POST", url, content, content_type=kind)
            if answer.status_code != 201:
                if answer.status_code not in (400, 401, 403, 415, 422):
                    wrong.append(f"{what}: {answer.status_code}")
                after = whole_state()
                if after != before:
                    wrong.append(f"{what}: refused, and yet something is stored")
                before = after
                continue
            account = realm.find(EMAIL)
            assert account is not None, what
            ident, key, year, encoded = fixed(account)
            if owned(account) != new(realm_name) or ident == OWNED["id"] or key == "k" * 32 or str(year) == "2001":
                wrong.append(f"{what}: was taken: {owned(account)} {ident}")
            if not check_password(PASSWORD, encoded):
                wrong.append(f"{what}: another password")
            if how == "JSON" and not (realm_name == "customers" and name in IGNORED_OF_RECORDS):
                wrong.append(f"{what}: was ignored, not refused")
            remove(account)
            before = {}
    assert not wrong, "\n".join(wrong)


def remove(account: Account) -> None:
    if isinstance(account, User):
        User.all_objects.filter(pk=account.pk).delete()
        return
    from accounts.principals import SYSTEM
    from collections_app.tests.fixtures import Records

    Records("customers", SYSTEM).delete(account.account_id)


@pytest.mark.parametrize("realm_name", ["users", "customers"])
def test_who_changes_their_own_account_sets_nothing_that_the_server_owns(
    realm_name: str, customers: None, make_user: Any, records: Any
) -> None:
    if realm_name == "users":
        make_user("eve", verified=False)
    else:
        records("customers").create(email=EMAIL, password=PASSWORD)
    realm = realms.get(realm_name)
    account = realm.find(EMAIL)
    assert account is not None
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(account).access}")
    own, before = account.account_id, (owned(account), fixed(account))
    ways: list[tuple[str, str, dict[str, Any]]]
    if realm_name == "users":
        ways = [("PATCH", "/api/v1/users/me", {"name": "Eve"}), ("PUT", "/api/v1/users/me", {"name": "Eve"}),
                ("PATCH", f"/api/v1/users/update/{own}", {"name": "Eve"}),
                ("PUT", f"/api/v1/users/update/{own}", {"name": "Eve"}),
                ("PUT", f"/api/v1/users/update/{own}/role", {"new_role": "admin"}),
                ("PUT", "/api/profile", {"bio": "x"}), ("POST", "/api/profile", {"profile": {"bio": "x"}}),
                ("POST", "/api/profile", {"base": {"login": "other"}})]  # fmt: skip
    else:
        ways = [
            ("PATCH", path("customers", own), {"nickname": "x"}),
            ("PUT", path("customers", own), {"nickname": "x"}),
        ]
    wrong = []
    for method, url, body in ways:
        for name, value in OWNED.items():
            for how, kind, content in sendings(body, name, value):
                what = f"{method} {url} {name}, {how}"
                answer = client.generic(method, url, content, content_type=kind)
                if answer.status_code >= 500:
                    wrong.append(f"{what}: {answer.status_code}")
                account = realm.find(EMAIL)
                assert account is not None, what
                if (owned(account), fixed(account)) != before:
                    wrong.append(f"{what}: {answer.status_code} and was taken: {owned(account)} {fixed(account)}")
                    before = (owned(account), fixed(account))
    if realm_name == "customers":
        for name, value in OWNED.items():
            data = {"nickname": "y", name: value}
            client.post(path("customers", "bulk-update"), {"record_ids": [own], "data": data})
            for method in ("PATCH", "PUT"):
                entry = {"method": method, "collection": "customers", "id": own, "data": data}
                client.post(BATCH, {"requests": [entry]})
            account = realm.find(EMAIL)
            assert account is not None and (owned(account), fixed(account)) == before, name
    assert not SecondFactor.objects.exists()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("url", REGISTERS)
def test_a_hash_is_a_password_like_any_other(url: str, customers: None, anonymous: APIClient) -> None:
    """Who knows a hash, or makes one, does not set it: the text of it becomes the password."""
    realm_name, name_key = REGISTERS[url]
    encoded = make_password("hidden-behind-it-9")
    named = {name_key: "eveline"} if name_key else {}
    answer = anonymous.post(url, {"email": EMAIL, "password": encoded, **named})
    assert answer.status_code == 201, answer.content
    account = realms.get(realm_name).find(EMAIL)
    assert account is not None
    assert account.password != encoded and check_password(encoded, account.password)
    assert not check_password("hidden-behind-it-9", account.password)


def test_the_page_of_registration_takes_its_own_fields_only(customers: None) -> None:
    form = {"email": EMAIL, "password": PASSWORD, "password_confirm": PASSWORD}
    for name, value in OWNED.items():
        answer = APIClient().generic(
            "POST",
            "/register",
            urlencode({**form, name: plain(value)}),
            content_type="application/x-www-form-urlencoded",
        )
        account = realms.get("users").find(EMAIL)
        if account is None:
            assert answer.status_code == 422, name
            continue
        assert owned(account) == new("users") and account.account_id != OWNED["id"], name
        assert check_password(PASSWORD, account.password), name
        remove(account)
