"""Accounts of auth collections, from registration to reset: the same flows as those of ``users``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts import mailing, realms
from accounts.models import Challenge, ExternalIdentity, Mail, OneTimeToken, SecondFactor, SignIn
from collections_app.models import Event
from collections_app.schema.definition import CollectionDef
from collections_app.tests.web import nothing_changes

pytestmark = pytest.mark.engine

PASSWORD = "correct-horse-9"
EMAIL = "ann@example.com"
STAFF = "/api/v1/auth/"


def at(path: str, collection: str = "customers") -> str:
    return f"/api/v1/collections/{collection}/auth/{path}"


def bearer(token: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


@pytest.fixture
def customers(make_collection: Callable[..., CollectionDef]) -> CollectionDef:
    return make_collection(
        "customers",
        type="auth",
        name="text",
        username={"type": "text", "validation": {"unique": True}},
        credit={"type": "integer", "hidden": True, "validation": {"default": 5}},
    )


@pytest.fixture
def register(customers: CollectionDef, anonymous: APIClient) -> Callable[..., dict[str, Any]]:
    def make(email: str = EMAIL, collection: str = "customers", **fields: Any) -> dict[str, Any]:
        answer = anonymous.post(at("register", collection), {"email": email, "password": PASSWORD, **fields})
        assert answer.status_code == 201, answer.json()
        return answer.json()  # type: ignore[no-any-return]

    return make


def the_mail(to: str = EMAIL) -> mail.EmailMultiAlternatives:
    mailing.send_due()
    assert mail.outbox[-1].to == [to]
    return mail.outbox[-1]


def token_of(message: mail.EmailMultiAlternatives, page: str) -> str:
    found = re.search(rf"/{page}\?token=([\w-]+)", str(message.body))
    assert found, message.body
    return found[1]


def code_of(message: mail.EmailMultiAlternatives) -> str:
    found = re.search(r"\b(\d{6})\b", str(message.body))
    assert found, message.body
    return found[1]


def log_in(client: APIClient, collection: str = "customers", **credentials: str) -> Any:
    return client.post(at("login", collection), {"email": EMAIL, "password": PASSWORD, **credentials})


# --- the whole story --------------------------------------------------------------------------


def test_an_account_is_registered_verified_and_kept_with_a_second_factor(register, anonymous, customers):
    made = register(name="Ann", password_confirm=PASSWORD)
    assert made["email"] == EMAIL and made["verified"] is False and made["role"] == "user"
    assert made["collection"] == "customers" and made["name"] == "Ann" and made["token_type"] == "bearer"
    assert made["user"]["id"] == made["id"]
    assert not {"credit", "password", "token_key"} & (made.keys() | made["user"].keys())
    me = anonymous.get(at("me"), **bearer(made["access_token"]))
    assert me.status_code == 200 and me.json() == made["user"] and me["Cache-Control"] == "no-store"
    assert anonymous.get(at("me", customers.id), **bearer(made["access_token"])).json() == made["user"]

    early = anonymous.post(at("enable-2fa"), **bearer(made["access_token"]))
    assert early.status_code == 400
    token = token_of(the_mail(), "verify")
    verified = anonymous.post(at("verify-email"), {"token": token})
    assert verified.status_code == 200 and verified.json()["user"]["verified"] is True
    assert anonymous.post(at("verify-email"), {"token": token}).status_code == 400

    test = anonymous.post(at("test-2fa"), **bearer(made["access_token"]))
    assert test.status_code == 200 and code_of(the_mail())
    assert anonymous.post(at("enable-2fa"), **bearer(made["access_token"])).status_code == 200
    assert anonymous.get(at("me"), **bearer(made["access_token"])).json()["two_fa_enabled"] is True

    pending = log_in(anonymous).json()
    assert pending["requires_2fa"] is True and pending["user_id"] == made["id"] and "access_token" not in pending
    code = code_of(the_mail())
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    assert anonymous.post(at("verify-2fa"), {"challenge": pending["challenge"], "code": wrong}).status_code == 401
    signed_in = anonymous.post(at("verify-2fa"), {"challenge": pending["challenge"], "code": code})
    assert signed_in.status_code == 200
    again = anonymous.post(at("verify-2fa"), {"challenge": pending["challenge"], "code": code})
    assert again.status_code == 401

    first = signed_in.json()
    second = anonymous.post(at("refresh"), {"refresh_token": first["refresh_token"]}).json()
    assert anonymous.get(at("me"), **bearer(second["access_token"])).status_code == 200
    assert anonymous.post(at("refresh"), {"refresh_token": first["refresh_token"]}).status_code == 401
    assert anonymous.get(at("me"), **bearer(second["access_token"])).status_code == 401
    assert anonymous.post(at("refresh"), {"refresh_token": second["refresh_token"]}).status_code == 401

    asked = anonymous.post(at("request-password-reset"), {"email": "Ann@Example.com"})
    assert asked.json() == {"message": "If the email exists, a password reset link has been sent"}
    token = token_of(the_mail(), "reset-password")
    weak = anonymous.post(at("reset-password"), {"token": token, "new_password": "12345678"})
    assert weak.status_code == 422 and "new_password" in weak.json()["fields"]
    new = "another-staple-7"
    assert anonymous.post(at("reset-password"), {"token": token, "new_password": new}).status_code == 200
    assert anonymous.post(at("reset-password"), {"token": token, "new_password": new}).status_code == 400
    assert the_mail().subject
    assert log_in(anonymous).status_code == 401
    assert anonymous.get(at("me"), **bearer(made["access_token"])).status_code == 401
    pending = log_in(anonymous, password=new).json()
    assert pending["requires_2fa"] is True

    code = code_of(the_mail())
    done = anonymous.post(at("verify-2fa"), {"user_id": made["id"], "code": code}).json()
    off = anonymous.post(at("disable-2fa"), {"password": "wrong-password"}, **bearer(done["access_token"]))
    assert off.status_code == 401 and SecondFactor.objects.count() == 1
    off = anonymous.post(at("disable-2fa"), {"password": new}, **bearer(done["access_token"]))
    assert off.status_code == 200 and not SecondFactor.objects.exists()
    assert "access_token" in log_in(anonymous, password=new).json()


def test_a_reset_is_asked_for_at_the_staffs_path_with_the_collections_name(register, anonymous):
    register()
    mailing.send_due()
    mail.outbox.clear()
    answer = anonymous.post(f"{STAFF}request-password-reset", {"email": EMAIL, "collection": "customers"})
    assert answer.status_code == 200
    token = token_of(the_mail(), "reset-password")
    body = {"token": token, "password": "another-staple-7", "email": EMAIL}
    assert anonymous.post(f"{STAFF}reset-password", body).status_code == 200
    assert log_in(anonymous, password="another-staple-7").status_code == 200
    unknown = anonymous.post(f"{STAFF}request-password-reset", {"email": EMAIL, "collection": "nobodies"})
    assert unknown.status_code == 404


def test_the_paths_of_a_collection_take_no_other_collections_mailed_tokens(register, anonymous, make_collection):
    make_collection("vendors", type="auth")
    made = register()
    verify = token_of(the_mail(), "verify")
    anonymous.post(at("forgot-password"), {"email": EMAIL})
    reset = token_of(the_mail(), "reset-password")
    new = {"new_email": "new@example.com", "password": PASSWORD}
    anonymous.post(at("change-email"), new, **bearer(made["access_token"]))
    change = token_of(the_mail("new@example.com"), "change-email")
    requests = {
        "verify-email": {"token": verify},
        "confirm-email-change": {"token": change},
        "reset-password": {"token": reset, "new_password": "another-staple-7"},
    }
    with nothing_changes():
        for path, body in requests.items():
            assert anonymous.post(at(path, "vendors"), body).status_code == 400
    for path in ("verify-email", "reset-password"):
        assert anonymous.post(f"{STAFF}{path}", requests[path]).status_code == 200


def test_a_password_is_changed_and_ends_what_was_signed_in(register, anonymous):
    made = register()
    other = log_in(anonymous).json()
    body = {"current_password": PASSWORD, "new_password": "another-staple-7"}
    refused = anonymous.post(at("change-password"), {**body, "current_password": "no"}, **bearer(made["access_token"]))
    assert refused.status_code == 422 and "current_password" in refused.json()["fields"]
    done = anonymous.post(at("change-password"), body, **bearer(made["access_token"]))
    assert done.status_code == 200
    assert anonymous.get(at("me"), **bearer(done.json()["access_token"])).status_code == 200
    for old in (made, other):
        assert anonymous.get(at("me"), **bearer(old["access_token"])).status_code == 401
        assert anonymous.post(at("refresh"), {"refresh_token": old["refresh_token"]}).status_code == 401


def test_an_address_is_changed_by_the_link_in_the_mail(register, anonymous):
    made = register()
    register("taken@example.com")
    body = {"new_email": "New@example.com", "password": PASSWORD}
    assert anonymous.post(at("change-email"), body, **bearer(made["access_token"])).status_code == 200
    token = token_of(the_mail("new@example.com"), "change-email")
    done = anonymous.post(at("confirm-email-change"), {"token": token})
    assert done.status_code == 200 and done.json()["user"]["email"] == "new@example.com"
    assert done.json()["user"]["verified"] is True
    assert anonymous.get(at("me"), **bearer(made["access_token"])).status_code == 401
    assert log_in(anonymous, email="new@example.com").status_code == 200


def test_sign_ins_are_listed_and_ended_and_a_logout_ends_one(register, anonymous):
    made = register()
    phone = log_in(anonymous).json()
    listed = anonymous.get(at("sessions"), **bearer(made["access_token"])).json()["items"]
    assert sorted(item["current"] for item in listed) == [False, True]
    assert anonymous.delete(at("sessions"), **bearer(made["access_token"])).json() == {"revoked": 1}
    assert anonymous.get(at("me"), **bearer(phone["access_token"])).status_code == 401
    assert anonymous.post(at("logout"), **bearer(made["access_token"])).status_code == 200
    assert anonymous.get(at("me"), **bearer(made["access_token"])).status_code == 401
    assert anonymous.post(at("refresh"), {"refresh_token": made["refresh_token"]}).status_code == 401


def test_people_sign_in_by_address_whatever_its_case_or_by_a_unique_username(register, anonymous, make_collection):
    register(username="ann")
    for name in ("email", "login", "username", "username_or_email"):
        for identifier in ("ANN@example.com", "ann"):
            answer = anonymous.post(at("login"), {name: identifier, "password": PASSWORD})
            assert answer.status_code == 200, (name, identifier)
    make_collection("guests", type="auth", username="text")
    anonymous.post(at("register", "guests"), {"email": EMAIL, "password": PASSWORD, "username": "ann"})
    assert log_in(anonymous, "guests", email="ann").status_code == 401  # two could be called that
    for nobody in ("a\x00b", "x" * 300, "", "ann@example.com\x00"):
        assert log_in(anonymous, email=nobody).status_code in (400, 401, 422)


def test_a_username_that_looks_like_anothers_address_signs_nobody_in_as_them(register, anonymous):
    victim = register()
    register("eve@example.com", username=EMAIL, password="evil-horse-99")
    assert log_in(anonymous, password="evil-horse-99").status_code == 401
    assert log_in(anonymous).json()["user"]["id"] == victim["id"]


def test_asking_for_nobody_answers_alike_and_mails_nobody(register, anonymous):
    register()
    mailing.send_due()
    mail.outbox.clear()
    for path in ("request-password-reset", "forgot-password", "resend-verification"):
        known = anonymous.post(at(path), {"email": EMAIL})
        unknown = anonymous.post(at(path), {"email": "nobody@example.com"})
        assert known.status_code == unknown.status_code == 200 and known.json() == unknown.json()
        assert Mail.objects.count() == 2
        mailing.send_due()
        assert [message.to for message in mail.outbox] == [[EMAIL]]
        mail.outbox.clear()


# --- registering ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"role": "user"}, "role"),
        ({"role": "superadmin"}, "role"),
        ({"verified": True}, "verified"),
        ({"token_key": "x"}, "token_key"),
        ({"id": "mine"}, "id"),
        ({"credits": 1}, "credits"),
        ({"password": "short"}, "password"),
        ({"password": "12345678901"}, "password"),
        ({"password": "ann@example.com"}, "password"),
        ({"password": ["correct-horse-9"]}, "password"),
        ({"password": None}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password_confirm": "another"}, "password_confirm"),
        ({"email": "nope"}, "email"),
        ({"email": None}, "email"),
    ],
)
def test_a_registration_with_a_bad_value_is_422_and_leaves_nothing(customers, anonymous, given, field):
    with nothing_changes():
        answer = anonymous.post(at("register"), {"email": EMAIL, "password": PASSWORD, **given}, format="json")
    assert answer.status_code == 422 and field in answer.json()["fields"], answer.json()


def test_a_form_registers_too(customers, anonymous):
    answer = anonymous.post(
        at("register"), {"email": EMAIL, "password": PASSWORD, "username": "ann"}, format="multipart"
    )
    assert answer.status_code == 201 and answer.json()["username"] == "ann"


def test_a_taken_address_is_409_whatever_its_case(register, anonymous):
    register()
    with nothing_changes():
        answer = anonymous.post(at("register"), {"email": "ANN@example.com", "password": PASSWORD})
    assert answer.status_code == 409 and answer.json()["fields"] == {"email": ["This value is already in use."]}


def test_the_create_rule_decides_who_makes_accounts(make_collection, anonymous, admin, as_user):
    make_collection("closed", type="auth", create_rule="@request.auth.role = 'admin'")
    make_collection("coded", type="auth", create_rule="@request.query.code = 'sesame'")
    body = {"email": EMAIL, "password": PASSWORD}
    with nothing_changes():
        assert anonymous.post(at("register", "closed"), body).status_code == 401
        assert anonymous.post(at("register", "coded"), body).status_code == 401
        assert anonymous.post(at("register", "coded") + "?other=1", body).status_code == 400
    assert as_user(admin).post(at("register", "closed"), body).status_code == 201
    assert anonymous.post(at("register", "coded") + "?code=sesame", body).status_code == 201


def test_paths_of_what_is_no_auth_collection_are_404(make_collection, anonymous):
    make_collection("posts", title="text")
    for name in ("posts", "nope", "users"):
        for path in ("register", "login", "refresh", "request-password-reset"):
            answer = anonymous.post(at(path, name), {"email": EMAIL, "password": PASSWORD, "refresh_token": "x"})
            assert answer.status_code in (404, 422), (name, path, answer.json())
        assert anonymous.get(at("me", name)).status_code == 404


def test_a_change_by_a_flow_is_an_event_like_any_other_and_holds_no_secret(register, anonymous, customers):
    made = register()
    anonymous.post(at("verify-email"), {"token": token_of(the_mail(), "verify")})
    body = {"current_password": PASSWORD, "new_password": "another-staple-7"}
    anonymous.post(at("change-password"), body, **bearer(made["access_token"]))
    events = list(Event.objects.filter(collection_id=customers.id, record_id=made["id"]).order_by("id"))
    assert [event.type for event in events] == ["record.created", "record.updated", "record.updated"]
    assert events[1].previous["verified"] is False and events[1].data["verified"] is True
    assert events[2].actor == f"{customers.id}:{made['id']}"
    assert events[0].data["updated"] < events[1].data["updated"] < events[2].data["updated"]
    assert not any({"password", "token_key"} & event.data.keys() for event in events)


# --- password rules of a collection -------------------------------------------------------------


RULES = {"min_length": 12, "max_length": 20, "require": ["upper", "digit", "symbol"], "reject_common": True}


def test_a_collections_own_password_rules_hold_on_every_path(make_collection, anonymous, admin, as_user):
    make_collection("vaults", type="auth", options={"password": RULES})
    for bad in ("Short-1", "no-upper-case-1", "No-digit-at-all", "NoSymbol1234", "Far-Too-Long-For-This-1"):
        for path in (at("register", "vaults"), "/api/v1/collections/vaults/records"):
            with nothing_changes():
                answer = anonymous.post(path, {"email": EMAIL, "password": bad})
            assert answer.status_code == 422 and answer.json()["fields"].keys() == {"password"}, (bad, path)
    good = "Right-Enough-12"
    made = anonymous.post(at("register", "vaults"), {"email": EMAIL, "password": good}).json()
    change = anonymous.post(
        at("change-password", "vaults"),
        {"current_password": good, "new_password": "correct-horse-9"},
        **bearer(made["access_token"]),
    )
    assert change.status_code == 422 and "new_password" in change.json()["fields"]
    record = f"/api/v1/collections/vaults/records/{made['id']}"
    for client in (as_user(admin), anonymous):
        headers = {} if client is not anonymous else bearer(made["access_token"])
        assert client.patch(record, {"password": "correct-horse-9"}, **headers).status_code == 422
    anonymous.post(at("forgot-password", "vaults"), {"email": EMAIL})
    token = token_of(the_mail(), "reset-password")
    assert anonymous.post(at("reset-password", "vaults"), {"token": token, "password": PASSWORD}).status_code == 422
    assert (
        anonymous.post(at("reset-password", "vaults"), {"token": token, "password": "Other-Enough-34"}).status_code
        == 200
    )


@pytest.mark.parametrize(
    "rules",
    [
        "strict", {"min_length": 7}, {"min_length": 129}, {"min_length": True}, {"max_length": "9"}, {"require": "upper"},
        {"require": ["upper", "emoji"]}, {"reject_common": 1}, {"length": 3}, {"min_length": 20, "max_length": 10},
        {"require": [["upper"]]},
    ],
)  # fmt: skip
def test_password_rules_that_make_no_sense_are_refused(schema_db, admin, as_user, rules):
    with nothing_changes():
        answer = as_user(admin).post(
            "/api/v1/collections", {"name": "vaults", "type": "auth", "options": {"password": rules}}, format="json"
        )
    assert answer.status_code == 422 and "options" in answer.json()["fields"]


def test_password_rules_are_shown_kept_and_only_for_auth_collections(make_collection, admin, as_user):
    make_collection("vaults", type="auth", options={"password": RULES})
    client = as_user(admin)
    assert "Your password must contain at least 12 characters." in realms.get("vaults").password_rules()
    assert "an uppercase letter and a digit and a symbol" in " ".join(realms.get("vaults").password_rules())
    changed = client.patch("/api/v1/collections/vaults", {"list_rule": None}, format="json").json()
    assert changed["options"] == {"password": RULES}
    answer = client.post("/api/v1/collections", {"name": "posts", "options": {"password": RULES}}, format="json")
    assert answer.status_code == 422


# --- what is left of somebody who is gone -------------------------------------------------------


def _leave_traces(register: Callable[..., dict[str, Any]], anonymous: APIClient, realm: str) -> dict[str, Any]:
    made = register()
    anonymous.post(at("verify-email"), {"token": token_of(the_mail(), "verify")})
    anonymous.post(at("enable-2fa"), **bearer(made["access_token"]))
    log_in(anonymous)
    anonymous.post(at("forgot-password"), {"email": EMAIL})
    mailing.send_due()
    anonymous.post(at("forgot-password"), {"email": EMAIL})
    ExternalIdentity.objects.create(realm=realm, account_id=made["id"], provider="oidc", subject="1")
    for kind in (SignIn, Challenge, OneTimeToken, SecondFactor, ExternalIdentity, Mail):
        assert kind.objects.filter(realm=realm).exists(), kind
    return made


def _has_traces(realm: str) -> list[str]:
    kinds = (SignIn, Challenge, OneTimeToken, SecondFactor, ExternalIdentity, Mail)
    return [kind.__name__ for kind in kinds if kind.objects.filter(realm=realm).exists()]


def test_a_deleted_record_leaves_nothing_to_who_gets_its_id(register, anonymous, admin, as_user, customers):
    made = _leave_traces(register, anonymous, customers.id)
    record = "/api/v1/collections/customers/records"
    assert as_user(admin).delete(f"{record}/{made['id']}").status_code == 204
    assert _has_traces(customers.id) == []
    assert anonymous.get(at("me"), **bearer(made["access_token"])).status_code == 401
    again = as_user(admin).post(record, {"id": made["id"], "email": EMAIL, "password": PASSWORD}, format="json")
    assert again.status_code == 201
    assert anonymous.get(at("me"), **bearer(made["access_token"])).status_code == 401
    assert anonymous.get(record, **bearer(made["access_token"])).status_code == 401
    assert anonymous.post(at("refresh"), {"refresh_token": made["refresh_token"]}).status_code == 401
    assert "access_token" in log_in(anonymous).json()


def test_a_deleted_collection_leaves_nothing(register, anonymous, admin, as_user, customers):
    made = _leave_traces(register, anonymous, customers.id)
    assert as_user(admin).delete("/api/v1/collections/customers").status_code == 204
    assert _has_traces(customers.id) == []
    assert anonymous.get("/api/v1/collections/records/records", **bearer(made["access_token"])).status_code == 401
    assert mailing.send_due() == 0


def test_a_renamed_collection_keeps_its_accounts_signed_in(register, anonymous, admin, as_user):
    made = register()
    as_user(admin).patch("/api/v1/collections/customers", {"name": "clients"}, format="json")
    me = anonymous.get(at("me", "clients"), **bearer(made["access_token"]))
    assert me.status_code == 200 and me.json()["collection"] == "clients"
    assert anonymous.get(at("me"), **bearer(made["access_token"])).status_code == 404
    records = anonymous.get("/api/v1/collections/clients/records", **bearer(made["access_token"]))
    assert [item["id"] for item in records.json()["items"]] == [made["id"]]  # the rule names the collection


@pytest.mark.parametrize("email", ["İ" * 100 + "@example.com", "ı@example.com", "\u212aim@example.com"])
def test_an_address_is_measured_as_it_is_kept_and_ascii_before_the_at(email, register, anonymous, customers):
    access = register()["access_token"]
    body = {"email": email, "password": PASSWORD}
    assert anonymous.post(at("register"), body).status_code == 422
    assert anonymous.post("/api/v1/collections/customers/records", body).status_code == 422
    moved = anonymous.post(at("change-email"), {"new_email": email, "password": PASSWORD}, **bearer(access))
    assert moved.status_code == 422 and not Mail.objects.filter(template="change_email").exists()


def test_looking_up_an_account_asks_the_database_no_more_than_looking_for_none(register, customers):
    register(username="ann")
    realm = realms.get("customers")
    for there, absent in ((EMAIL, "nobody@example.com"), ("ann", "nobody")):
        asked = []
        for identifier in (there, absent):
            with CaptureQueriesContext(connection) as queries:
                found = realm.find(identifier)
            assert (found is not None) == (identifier == there)
            asked.append(len(queries))
        assert asked[0] == asked[1]
