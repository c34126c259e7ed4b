"""The pages that mails link to, for accounts of auth collections."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from rest_framework.test import APIClient

from accounts import mailing, realms
from accounts.models import Mail
from collections_app.schema.definition import CollectionDef

pytestmark = pytest.mark.engine

PASSWORD, NEW = "Correct-horse-9", "Another-staple-7"
AUTH = "/api/v1/collections/customers/auth/"


@pytest.fixture
def page() -> Client:
    return Client(headers={"Accept": "text/html"})


@pytest.fixture
def ann(make_collection: Callable[..., CollectionDef], anonymous: APIClient) -> dict[str, Any]:
    options = {"password": {"min_length": 12, "require": ["upper", "digit"]}}
    make_collection("customers", type="auth", name="text", options=options)
    answer = anonymous.post(f"{AUTH}register", {"email": "ann@example.com", "password": PASSWORD})
    assert answer.status_code == 201, answer.json()
    return answer.json()  # type: ignore[no-any-return]


def link_of_the_mail() -> str:
    mailing.send_due()
    return re.search(r"http://[^/]+(/\S+)", mail.outbox[-1].body)[1]  # type: ignore[index]


def form_of(answer: Any) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', answer.content.decode()))


def test_the_address_is_verified(page, ann):
    link = link_of_the_mail()
    assert link.endswith("collection=customers")
    shown = page.get(link)
    assert shown.status_code == 200 and "ann@example.com" in shown.content.decode()
    assert page.post("/verify", form_of(shown)).status_code == 200
    account = realms.get("customers").get(ann["id"])
    assert account is not None and account.verified
    dead = page.get(link)
    assert dead.status_code == 400 and form_of(dead) == {"collection": "customers"}


def test_a_dead_link_offers_a_new_one_of_the_same_collection(page, ann, make_user):
    make_user("ann")  # somebody of the house with the same address
    link_of_the_mail()
    dead = page.get("/reset-password", {"token": "nope", "collection": "customers"})
    assert page.post("/reset-password", {**form_of(dead), "email": "ann@example.com"}).status_code == 200
    assert [row.realm for row in Mail.objects.all()] == [realms.get("customers").key]
    assert page.get(link_of_the_mail()).status_code == 200


def test_the_collections_own_rules_for_passwords_are_shown_and_hold(page, ann, anonymous):
    anonymous.post(f"{AUTH}request-password-reset", {"email": "ann@example.com"})
    shown = page.get(link_of_the_mail())
    assert "at least 12 characters" in unescape(shown.content.decode())
    form = form_of(shown)
    weak = page.post("/reset-password", {**form, "new_password": "short", "password_confirm": "shorter"})
    said = unescape(weak.content.decode())
    assert weak.status_code == 422
    assert "an uppercase letter and a digit" in said and "too short" in said and "The two passwords differ." in said
    assert page.post("/reset-password", {**form, "new_password": NEW, "password_confirm": NEW}).status_code == 200
    assert anonymous.post(f"{AUTH}login", {"email": "ann@example.com", "password": NEW}).status_code == 200
    assert anonymous.post(f"{AUTH}login", {"email": "ann@example.com", "password": PASSWORD}).status_code == 401
    assert anonymous.get(f"{AUTH}me", HTTP_AUTHORIZATION=f"Bearer {ann['access_token']}").status_code == 401
    mailing.send_due()
    assert "/reset-password?collection=customers" in mail.outbox[-1].body
    assert page.get("/reset-password?collection=customers").status_code == 200


def test_a_new_address_is_confirmed(page, ann, anonymous):
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {ann['access_token']}"}
    body = {"new_email": "new@example.com", "password": PASSWORD}
    assert anonymous.post(f"{AUTH}change-email", body, **bearer).status_code == 200
    shown = page.get(link_of_the_mail())
    assert "new@example.com" in shown.content.decode()
    assert page.post("/change-email", form_of(shown)).status_code == 200
    account = realms.get("customers").get(ann["id"])
    assert account is not None and account.email == "new@example.com"
