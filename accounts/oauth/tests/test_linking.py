"""Several providers on one account: added by who is signed in, listed, removed."""

from __future__ import annotations

import re

import pytest
from django.core import mail

from accounts import mailing, realms
from accounts.models import ExternalIdentity, SignIn, User
from accounts.oauth.tests.conftest import ANN, APP, AUTH, OAUTH, query_of

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.engine,
    pytest.mark.usefixtures("house"),
]

IDENTITIES = f"{AUTH}identities"
OCTO = {"id": 7, "login": "octo", "emails": [{"email": "octo@example.com", "primary": True, "verified": True}]}


def start(api, provider_id: str = "oidc", prefix: str = IDENTITIES, **body: str) -> dict[str, str]:
    """The query with which the browser begins."""
    answer = api.post(f"{prefix}/{provider_id}/link", body)
    assert answer.status_code == 200, answer.content
    base, _, query = answer.json()["url"].partition("?")
    assert base == f"http://testserver{OAUTH}{provider_id}/login" and answer.json()["expires_in"] == 300
    return dict(pair.split("=") for pair in query.split("&") if not pair.startswith("redirect_to"))


def link(api, browser, provider_id: str = "oidc", login: str = "ann", prefix: str = IDENTITIES):
    proof = browser.sign_in(provider_id, login, **start(api, provider_id, prefix))
    assert proof.status_code == 200, proof.content
    return api.post(prefix, {"code": proof.json()["code"]})


@pytest.fixture
def ann(make_user) -> User:
    return make_user("ann")


@pytest.fixture
def signed_in(ann, as_user):
    return as_user(ann)


def test_an_account_adds_providers_and_signs_in_by_each(ann, signed_in, browser, theirs):
    theirs.set(ann={**ANN, "email": "private@elsewhere.example"}, octo=OCTO)
    made = link(signed_in, browser)
    assert made.status_code == 201
    assert (made.json()["provider"], made.json()["name"]) == ("oidc", "Acme")
    assert made.json()["email"] == "private@elsewhere.example"
    assert link(signed_in, browser, "github", "octo").status_code == 201
    listed = signed_in.get(IDENTITIES).json()["items"]
    assert [item["provider"] for item in listed] == ["oidc", "github"] and "subject" not in listed[0]
    for provider_id, login in (("oidc", "ann"), ("github", "octo")):
        assert browser.sign_in(provider_id, login).json()["user"]["id"] == str(ann.pk)
    mailing.send_due()
    assert [sent.subject for sent in mail.outbox] == [
        "Acme was linked to your account",
        "GitHub was linked to your account",
    ]


def test_a_page_is_come_back_to_with_the_proof(ann, signed_in, browser, theirs):
    theirs.set(ann=ANN)
    answer = signed_in.post(f"{IDENTITIES}/oidc/link", {"redirect_to": f"{APP}/me"})
    from urllib.parse import parse_qsl, urlsplit

    query = dict(parse_qsl(urlsplit(answer.json()["url"]).query))
    assert query["redirect_to"] == f"{APP}/me"
    there = query_of(browser.sign_in(**query))
    assert there.keys() == {"link"}
    assert signed_in.post(IDENTITIES, {"code": there["link"]}).status_code == 201
    refused = signed_in.post(f"{IDENTITIES}/oidc/link", {"redirect_to": "https://evil.example"})
    assert refused.status_code == 422


def test_linking_twice_is_linking_once(ann, signed_in, browser, theirs):
    theirs.set(ann=ANN)
    assert link(signed_in, browser).json()["id"] == link(signed_in, browser).json()["id"]
    assert ExternalIdentity.objects.count() == 1


def test_somebody_elses_identity_is_not_linked_again(ann, signed_in, browser, theirs, make_user, as_user):
    theirs.set(ann=ANN)
    link(signed_in, browser)
    other = as_user(make_user("other"))
    refused = browser.sign_in(**start(other))
    assert refused.status_code == 409 and "another account" in refused.json()["message"]
    assert ExternalIdentity.objects.get().account_id == str(ann.pk)


def test_a_proof_is_checked_again_when_it_is_presented(ann, signed_in, browser, theirs, make_user, as_user):
    theirs.set(ann=ANN)
    other = as_user(make_user("other"))
    code = browser.sign_in(**start(other)).json()["code"]
    link(signed_in, browser)
    assert other.post(IDENTITIES, {"code": code}).status_code == 409
    assert ExternalIdentity.objects.get().account_id == str(ann.pk)


def test_one_sent_to_the_provider_by_a_stranger_gives_them_nothing(ann, signed_in, browser, theirs, make_user, as_user):
    """Mallory starts a link and has Ann's browser finish it: Ann's identity must not open Mallory's account."""
    theirs.set(ann=ANN)
    mallory = make_user("mallory")
    proof = browser.sign_in(**start(as_user(mallory))).json()["code"]
    assert not ExternalIdentity.objects.exists()
    assert signed_in.post(IDENTITIES, {"code": proof}).status_code == 400  # Ann's page presents what it got
    assert not ExternalIdentity.objects.exists()
    assert browser.sign_in().json()["user"]["id"] == str(ann.pk)


def test_a_strangers_proof_does_not_become_a_way_into_ones_account(ann, signed_in, browser, theirs, make_user, as_user):
    """Mallory hands Ann's page a proof of Mallory's own identity: it must not open Ann's account."""
    theirs.set(mallory={**ANN, "sub": "mallory-1", "email": "mallory@example.com"})
    proof = browser.sign_in(login="mallory", **start(as_user(make_user("mallory")))).json()["code"]
    assert signed_in.post(IDENTITIES, {"code": proof}).status_code == 400
    assert not ExternalIdentity.objects.exists()


def test_a_ticket_works_once_for_its_provider_until_the_account_changes(ann, signed_in, browser, theirs):
    theirs.set(ann=ANN)
    ticket = start(signed_in)
    browser.begin(**ticket)
    assert browser.api.get(f"{OAUTH}oidc/login", ticket).status_code == 400
    assert browser.api.get(f"{OAUTH}github/login", start(signed_in)).status_code == 400
    place = theirs.sign_in(browser.begin(**start(signed_in)))
    ann.set_password("another-staple-7")
    ann.save()
    assert browser.come_back(place).status_code == 400
    assert not ExternalIdentity.objects.exists()


def test_tickets_and_proofs_and_codes_are_not_each_other(ann, signed_in, browser, theirs, anonymous):
    theirs.set(ann=ANN)
    ticket = start(signed_in)["link"]
    assert signed_in.post(IDENTITIES, {"code": ticket}).status_code == 400
    assert anonymous.post(f"{OAUTH}exchange", {"code": ticket}).status_code == 400
    proof = browser.sign_in(link=ticket).json()["code"]
    assert anonymous.post(f"{OAUTH}exchange", {"code": proof}).status_code == 400
    assert browser.api.get(f"{OAUTH}oidc/login", {"link": proof}).status_code == 400
    assert signed_in.post(IDENTITIES, {"code": proof}).status_code == 201
    assert signed_in.post(IDENTITIES, {"code": proof}).status_code == 400


def test_removing_one_ends_what_came_by_it(ann, signed_in, browser, theirs, anonymous):
    theirs.set(ann=ANN)
    identity = link(signed_in, browser).json()["id"]
    by_it = browser.sign_in().json()["access_token"]
    assert signed_in.delete(f"{IDENTITIES}/{identity}").status_code == 204
    assert anonymous.get(f"{AUTH}me", HTTP_AUTHORIZATION=f"Bearer {by_it}").status_code == 401
    assert signed_in.get(f"{AUTH}me").status_code == 200
    assert signed_in.get(IDENTITIES).json() == {"items": []}
    mailing.send_due()
    assert mail.outbox[-1].subject == "Acme was removed from your account"


def test_the_only_way_in_is_not_removed(browser, theirs, anonymous):
    theirs.set(ann=ANN, octo=OCTO)
    body = browser.sign_in().json()
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {body['access_token']}")
    first = anonymous.get(IDENTITIES).json()["items"][0]["id"]
    refused = anonymous.delete(f"{IDENTITIES}/{first}")
    assert refused.status_code == 409 and "password" in refused.json()["message"]
    assert ExternalIdentity.objects.count() == 1 and SignIn.objects.filter(revoked=None).count() == 1
    second = link(anonymous, browser, "github", "octo").json()["id"]
    assert anonymous.delete(f"{IDENTITIES}/{first}").status_code == 204
    assert anonymous.delete(f"{IDENTITIES}/{second}").status_code == 409


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "9" * 30, "٣"])
def test_an_identity_that_is_not_ones_own_is_not_there(wrong, ann, signed_in, browser, theirs, make_user, as_user):
    theirs.set(ann=ANN)
    identity = link(signed_in, browser).json()["id"]
    stranger = as_user(make_user("stranger"))
    assert stranger.delete(f"{IDENTITIES}/{identity}").status_code == 404
    assert signed_in.delete(f"{IDENTITIES}/{wrong}").status_code == 404
    assert ExternalIdentity.objects.count() == 1


def test_nobody_has_identities(theirs, anonymous):
    assert anonymous.get(IDENTITIES).status_code == 401
    assert anonymous.post(IDENTITIES, {"code": "x"}).status_code == 401
    assert anonymous.post(f"{IDENTITIES}/oidc/link").status_code == 401
    assert anonymous.delete(f"{IDENTITIES}/1").status_code == 401


def test_nothing_is_linked_before_the_address_is_verified(make_user, as_user, browser, theirs):
    theirs.set(ann=ANN)
    ann = make_user("ann", verified=False)
    signed_in = as_user(ann)
    refused = signed_in.post(f"{IDENTITIES}/oidc/link", {})
    assert refused.status_code == 400 and "verify" in refused.json()["detail"]
    ann.verified = True
    ann.save()
    proof = browser.sign_in(**start(signed_in)).json()["code"]
    ann.verified = False
    ann.save()
    assert signed_in.post(IDENTITIES, {"code": proof}).status_code == 400
    assert not ExternalIdentity.objects.exists()


def test_a_reset_ends_the_ways_in_by_providers_of_a_verified_account_too(make_user, browser, theirs, anonymous):
    """Whoever registered the address may have come by one before its owner verified it."""
    theirs.set(mallory={**ANN, "sub": "mallory-1", "email": "ann@example.com", "email_verified": False})
    made = browser.sign_in(login="mallory").json()
    user = User.objects.get(pk=made["user"]["id"])
    realms.staff().set_verified(user)  # Ann has followed the link of a mail
    anonymous.post(f"{AUTH}request-password-reset", {"email": "ann@example.com"})
    mailing.send_due()
    token = re.search(r"reset-password\?token=([\w-]+)", mail.outbox[-1].body)[1]
    answer = anonymous.post(f"{AUTH}reset-password", {"token": token, "new_password": "another-staple-7"})
    assert answer.status_code == 200 and not ExternalIdentity.objects.exists()
    assert browser.sign_in(login="mallory").status_code == 409
    mailing.send_due()
    assert [sent.subject for sent in mail.outbox][-2:] == [
        "Acme was removed from your account",
        "Your password was changed",
    ]
    theirs.set(ann=ANN)
    assert browser.sign_in().json()["user"]["id"] == made["user"]["id"]  # links itself anew
