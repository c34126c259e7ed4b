"""Accounts of auth collections sign in by providers too, and never as somebody of another realm."""

from __future__ import annotations

import pytest

from accounts import one_time
from accounts.models import ExternalIdentity, SignIn
from accounts.oauth.tests.conftest import ANN, APP, AUTH, OAUTH, query_of
from accounts.oauth.tests.test_linking import IDENTITIES, OCTO, link, start
from accounts.oauth.tests.test_sign_in import bearer

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.engine]


def test_an_auth_collection_has_people_of_its_own(make_collection, house_again, browser, theirs, anonymous):
    make_collection("customers", type="auth", name="text")
    theirs.set(ann=ANN)
    member = browser.sign_in().json()
    customer = browser.sign_in(collection="customers").json()
    assert customer["user"]["email"] == "ann@example.com" and customer["user"]["verified"] is True
    assert customer["user"]["oauth_provider"] == "oidc" and customer["user"]["id"] != member["user"]["id"]
    here, there = f"{AUTH}me", "/api/v1/collections/customers/auth/me"
    assert anonymous.get(there, **bearer(customer)).json()["id"] == customer["user"]["id"]
    assert anonymous.get(here, **bearer(customer)).status_code == 401
    assert anonymous.get(there, **bearer(member)).status_code == 401
    assert browser.sign_in(collection="customers").json()["user"]["id"] == customer["user"]["id"]
    assert ExternalIdentity.objects.count() == 2


def test_the_create_rule_says_who_may_come_new(make_collection, house_again, browser, theirs):
    make_collection("staffed", type="auth", create_rule="@request.auth.role = 'admin'")
    theirs.set(ann=ANN)
    assert browser.sign_in(collection="staffed").status_code in (401, 403)
    assert not ExternalIdentity.objects.exists()


def test_a_code_of_one_realm_is_no_good_in_another(make_collection, house_again, browser, theirs, anonymous):
    make_collection("customers", type="auth")
    make_collection("vendors", type="auth")
    theirs.set(ann=ANN)

    def code(**query: str) -> str:
        return query_of(browser.sign_in(redirect_to=APP, **query))["code"]

    for made, sent in (
        ({"collection": "customers"}, {}),
        ({}, {"collection": "customers"}),
        ({"collection": "customers"}, {"collection": "vendors"}),
    ):
        assert anonymous.post(f"{OAUTH}exchange", {"code": code(**made), **sent}).status_code == 400
    assert not SignIn.objects.exists()
    done = anonymous.post(f"{OAUTH}exchange", {"code": code(collection="customers"), "collection": "customers"})
    assert done.status_code == 200 and one_time.LIFETIMES[one_time.Purpose.EXCHANGE].total_seconds() == 60


def test_accounts_of_an_auth_collection_do_the_same_among_themselves(
    make_collection, house_again, browser, theirs, anonymous, make_user, as_user
):
    make_collection("customers", type="auth")
    theirs.set(ann=ANN, octo=OCTO)
    body = browser.sign_in(collection="customers").json()
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {body['access_token']}")
    prefix = "/api/v1/collections/customers/auth/identities"
    assert link(anonymous, browser, "github", "octo", prefix).status_code == 201
    assert [item["provider"] for item in anonymous.get(prefix).json()["items"]] == ["oidc", "github"]
    assert anonymous.get(IDENTITIES).status_code == 401
    staff = as_user(make_user("somebody"))
    assert staff.get(prefix).status_code == 401
    assert link(staff, browser).status_code == 201  # the same person, in another realm
    proof = browser.sign_in("github", "octo", **start(staff, "github")).json()["code"]
    assert anonymous.post(prefix, {"code": proof}).status_code == 400
