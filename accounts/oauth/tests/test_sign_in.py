"""The whole way with well-behaved people, over HTTP to a provider in a process of its own."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from django.core import mail

from accounts import invites, mailing, two_factor
from accounts.models import ExternalIdentity, Invite, Mail, OneTimeToken, SignIn, User
from accounts.oauth.tests.conftest import ANN, APP, AUTH, OAUTH, query_of
from accounts.principals import SYSTEM
from settings_app.models import CmsSetting

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.engine,
    pytest.mark.usefixtures("house"),
]

PASSWORD = "correct-horse-battery"


def bearer(body: dict) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {body['access_token']}"}


# --- who comes -------------------------------------------------------------------------------


def test_somebody_new_gets_an_account_and_tokens(browser, theirs, anonymous):
    theirs.set(ann=ANN)
    body = browser.sign_in().json()
    assert body["token_type"] == "bearer" and body["expires_in"] > 0
    user = body["user"]
    assert (user["oauth_provider"], user["email"], user["name"]) == ("oidc", "ann@example.com", "Ann Lee")
    assert user["verified"] is True and user["role"] == "user"
    assert anonymous.get(f"{AUTH}me", **bearer(body)).json()["id"] == user["id"]
    assert anonymous.post(f"{AUTH}refresh", {"refresh_token": body["refresh_token"]}).status_code == 200
    assert SignIn.objects.get().method == "oauth:oidc"
    assert not User.objects.get(email="ann@example.com").has_usable_password()
    assert not Mail.objects.exists()


def test_the_same_person_comes_back_to_the_same_account_whatever_their_address_is_now(browser, theirs):
    theirs.set(ann=ANN)
    first = browser.sign_in().json()["user"]
    theirs.set(ann={**ANN, "email": "ann.lee@elsewhere.example", "name": "Ann Li"})
    again = browser.sign_in().json()["user"]
    assert again["id"] == first["id"] and again["email"] == "ann@example.com"
    assert ExternalIdentity.objects.get().email == "ann.lee@elsewhere.example"
    theirs.set(ann={"sub": "ann-1"})
    assert browser.sign_in().json()["user"]["id"] == first["id"]  # not even an address is needed any more


def test_an_account_with_the_address_is_linked_where_both_sides_have_verified_it(browser, theirs, make_user, anonymous):
    ann = make_user("ann")
    theirs.set(ann={**ANN, "email": "Ann@Example.com"})
    assert browser.sign_in().json()["user"]["id"] == str(ann.pk)
    by_password = anonymous.post(f"{AUTH}login", {"email": "ann@example.com", "password": PASSWORD})
    assert by_password.status_code == 200
    assert User.objects.count() == 2


def test_github_says_in_its_list_of_addresses_which_are_verified(browser, theirs):
    addresses = [
        {"email": "old@example.com", "primary": True, "verified": False},
        {"email": "other@example.com", "primary": False, "verified": True},
    ]
    person = {"id": 583231, "login": "octo.cat", "name": None, "email": "old@example.com", "emails": addresses}
    theirs.set(octo={**person, "avatar_url": "https://avatars.example.com/octo.png"})
    user = browser.sign_in("github", "octo").json()["user"]
    assert (user["email"], user["verified"], user["username"]) == ("other@example.com", True, "octo.cat")
    assert user["avatar_url"] == "https://avatars.example.com/octo.png"
    identity = ExternalIdentity.objects.get()
    assert (identity.provider, identity.subject, identity.issuer) == ("github", "583231", "")


def test_google_speaks_by_its_id_token(browser, theirs):
    theirs.set(ann={**ANN, "picture": "https://lh3.example.com/a"})
    user = browser.sign_in("google").json()["user"]
    assert (user["oauth_provider"], user["verified"], user["avatar_url"]) == (
        "google",
        True,
        "https://lh3.example.com/a",
    )


def test_an_address_of_microsofts_is_not_verified_until_our_mail_is_answered(browser, theirs, anonymous):
    theirs.set(
        ann={"id": "0f-oid", "displayName": "Ann Lee", "mail": "ann@example.com", "userPrincipalName": "a@x.example"}
    )
    user = browser.sign_in("microsoft").json()["user"]
    assert (user["email"], user["verified"], user["name"]) == ("ann@example.com", False, "Ann Lee")
    mailing.send_due()
    token = re.search(r"/verify\?token=([\w-]+)", mail.outbox[-1].body)
    assert anonymous.post(f"{AUTH}verify-email", {"token": token[1]}).status_code == 200
    again = browser.sign_in("microsoft").json()["user"]
    assert again["id"] == user["id"] and again["verified"] is True


def test_somebody_without_an_address_is_asked_for_one(browser, theirs):
    theirs.set(ann={"sub": "ann-1"})
    answer = browser.sign_in()
    assert answer.status_code == 422 and "e-mail address" in answer.json()["message"]
    assert User.objects.count() == 1 and not ExternalIdentity.objects.exists()


@pytest.mark.parametrize(
    "address",
    ["no-at-sign", "a b@example.com", "a@example.com,b@example.com", f"{'a' * 260}@example.com", "İ@example.com"],
)
def test_what_is_no_address_is_none_at_a_provider_either(address, browser, theirs):
    theirs.set(ann={**ANN, "email": address})
    assert browser.sign_in().status_code == 422
    assert User.objects.count() == 1 and not (ExternalIdentity.objects.exists() or Mail.objects.exists())


def test_of_several_addresses_the_first_that_is_one_counts(browser, theirs):
    emails = [
        {"email": "not one", "primary": True, "verified": True},
        {"email": "Octo@example.com", "primary": False, "verified": True},
    ]
    theirs.set(octo={"id": 7, "login": "octo", "emails": emails})
    user = browser.sign_in("github", "octo").json()["user"]
    assert (user["email"], user["verified"]) == ("octo@example.com", True)


def test_who_says_no_at_the_provider_is_told_so(browser, theirs):
    theirs.set(ann=ANN)
    answer = browser.come_back(theirs.sign_in(browser.begin(), deny="1"))
    assert answer.status_code == 403 and "access was denied" in answer.json()["message"]
    answer = browser.come_back(theirs.sign_in(browser.begin(redirect_to=f"{APP}/in"), deny="1"))
    assert query_of(answer)["error"] == "access_denied"


def test_a_deleted_account_does_not_come_back_with_its_identity(browser, theirs):
    theirs.set(ann=ANN)
    first = browser.sign_in().json()["user"]
    User.objects.get(pk=first["id"]).soft_delete()
    second = browser.sign_in().json()["user"]
    assert second["id"] != first["id"] and second["email"] == "ann@example.com"
    assert ExternalIdentity.objects.count() == 1


# --- who may not, or not yet -----------------------------------------------------------------


def test_a_second_factor_is_asked_for_here_too(browser, theirs, make_user, anonymous):
    ann = make_user("ann")
    two_factor.enable(ann)
    theirs.set(ann=ANN)
    body = browser.sign_in().json()
    assert body["requires_2fa"] is True and "access_token" not in body and "user" not in body
    assert not SignIn.objects.exists()
    mail.outbox.clear()
    mailing.send_due()
    code = next(found[0] for sent in mail.outbox if (found := re.search(r"\b\d{6}\b", sent.body)))
    done = anonymous.post(f"{AUTH}verify-2fa", {"challenge": body["challenge"], "code": code})
    assert done.status_code == 200 and SignIn.objects.get().method == "oauth:oidc+2fa"


def test_a_redirect_with_a_second_factor_exchanges_into_the_challenge(browser, theirs, make_user, anonymous):
    two_factor.enable(make_user("ann"))
    theirs.set(ann=ANN)
    code = query_of(browser.sign_in(redirect_to=f"{APP}/in"))["code"]
    body = anonymous.post(f"{OAUTH}exchange", {"code": code}).json()
    assert body["requires_2fa"] is True and "access_token" not in body and not SignIn.objects.exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_disabled_account_stays_out(known, browser, theirs, make_user):
    ann = make_user("ann")
    theirs.set(ann=ANN)
    if known:
        browser.sign_in()
    ann.refresh_from_db()
    ann.is_active = False
    ann.save()
    before = SignIn.objects.count(), ExternalIdentity.objects.count()
    assert browser.sign_in().status_code == 403
    there = query_of(browser.sign_in(redirect_to=f"{APP}/in"))
    assert there == {"error": "forbidden", "error_description": "This account is disabled."}
    assert (SignIn.objects.count(), ExternalIdentity.objects.count()) == before
    assert not OneTimeToken.objects.exists()


def test_closed_registration_is_closed_here_too_but_not_for_who_has_an_account(browser, theirs, make_user):
    CmsSetting.objects.create(key="registration_mode", value="CLOSED", category="security")
    theirs.set(ann=ANN)
    assert browser.sign_in().status_code == 403
    assert User.objects.count() == 1 and not ExternalIdentity.objects.exists()
    make_user("ann")
    assert browser.sign_in().status_code == 200


def test_registration_by_invitation_takes_the_code_along(browser, theirs):
    CmsSetting.objects.create(key="registration_mode", value="INVITE_ONLY", category="security")
    invite = invites.create(SYSTEM, None, email="", role="user", expires_at=None)
    theirs.set(ann=ANN)
    for query in ({}, {"invite_code": "WRONG"}):
        answer = browser.sign_in(**query)
        assert answer.status_code == 422 and "invite_code" in answer.json()["fields"]
    assert User.objects.count() == 1
    assert browser.sign_in(invite_code=invites.code_of(invite)).status_code == 200
    assert Invite.objects.get().used_by.email == "ann@example.com"


def test_the_first_account_of_an_installation_is_not_made_by_a_provider(browser, theirs, house):
    User.all_objects.all().delete()
    theirs.set(ann=ANN)
    assert browser.sign_in().status_code == 403
    assert not User.objects.exists()


# --- the redirect to a page ------------------------------------------------------------------


def test_a_page_gets_a_code_for_tokens_and_keeps_its_own_query(browser, theirs, anonymous):
    theirs.set(ann=ANN)
    answer = browser.sign_in(redirect_to=f"{APP}/in?from=cart&code=mine#top")
    assert answer.headers["Location"].startswith(f"{APP}/in?from=cart&code=") and answer.headers["Location"].endswith(
        "#top"
    )
    given = query_of(answer)
    assert given.keys() == {"from", "code"} and given["code"] != "mine"
    assert not SignIn.objects.exists()
    done = anonymous.post(f"{OAUTH}exchange", {"code": given["code"]}).json()
    assert done["user"]["oauth_provider"] == "oidc"
    assert anonymous.get(f"{AUTH}me", **bearer(done)).status_code == 200


def test_our_own_pages_may_be_come_back_to(browser, theirs):
    theirs.set(ann=ANN)
    answer = browser.sign_in(redirect_to="http://testserver/app/")
    assert answer.headers["Location"].startswith("http://testserver/app/?code=")


def test_a_page_that_sent_a_challenge_has_to_know_its_verifier(browser, theirs, anonymous):
    theirs.set(ann=ANN)
    verifier = "v" * 50
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    for sent, status in (({}, 400), ({"code_verifier": "w" * 50}, 400), ({"code_verifier": verifier}, 200)):
        code = query_of(browser.sign_in(redirect_to=APP, code_challenge=challenge))["code"]
        assert anonymous.post(f"{OAUTH}exchange", {"code": code, **sent}).status_code == status
    code = query_of(browser.sign_in(redirect_to=APP))["code"]
    assert anonymous.post(f"{OAUTH}exchange", {"code": code, "code_verifier": verifier}).status_code == 400


def test_faults_reach_the_page_as_words(browser, theirs):
    theirs.set(ann={"sub": "ann-1"})
    told = query_of(browser.sign_in(redirect_to=f"{APP}/in"))
    assert told["error"] == "validation_error" and "e-mail address" in told["error_description"]


# --- what is set up --------------------------------------------------------------------------


def test_the_list_of_providers_is_public_and_holds_no_secret(theirs, anonymous):
    answer = anonymous.get(f"{OAUTH}providers")
    assert [item["id"] for item in answer.json()["items"]] == ["google", "github", "microsoft", "oidc"]
    acme = {"id": "oidc", "name": "Acme", "login_url": "http://testserver/api/v1/oauth/oidc/login"}
    assert acme in answer.json()["items"]
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize("missing", ["client_id", "client_secret", "issuer"])
def test_a_provider_that_is_not_set_up_is_not_there(missing, theirs, anonymous, settings):
    settings.OAUTH_PROVIDERS = {"oidc": {**settings.OAUTH_PROVIDERS["oidc"], missing: ""}}
    assert anonymous.get(f"{OAUTH}providers").json() == {"items": []}
    for path in ("oidc/login", "oidc/callback?state=x", "google/login", "nothing/login", "openid_connect/login"):
        assert anonymous.get(f"{OAUTH}{path}").status_code == 404


def test_the_callback_address_is_the_one_that_was_set_up(browser, theirs, settings):
    settings.OAUTH_PROVIDERS["github"] = {
        **settings.OAUTH_PROVIDERS["github"],
        "redirect_uri": "https://cms.example.com/cb",
    }
    assert "redirect_uri=https%3A%2F%2Fcms.example.com%2Fcb" in browser.begin("github")
    assert "redirect_uri=http%3A%2F%2Ftestserver%2Fapi%2Fv1%2Foauth%2Foidc%2Fcallback" in browser.begin()


def test_a_sign_in_begins_on_the_host_that_it_comes_back_to(theirs, anonymous, settings):
    back = "http://localhost:8000/api/v1/oauth/github/callback"
    settings.OAUTH_PROVIDERS = {"github": {**settings.OAUTH_PROVIDERS["github"], "redirect_uri": back}}
    listed = anonymous.get(f"{OAUTH}providers").json()["items"]
    assert listed[0]["login_url"] == "http://localhost:8000/api/v1/oauth/github/login"


@pytest.mark.parametrize("provider_id", ["google", "github", "microsoft", "oidc"])
def test_every_provider_is_asked_with_state_and_pkce(provider_id, browser):
    begun = browser.begin(provider_id)
    assert re.search(r"[?&]state=[\w-]{43}(&|$)", begun) and "code_challenge_method=S256" in begun
    assert re.search(r"[?&]code_challenge=[\w-]{43}(&|$)", begun)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"collection": "nothing"}, 404),
        ({"scope": "admin"}, 400),
        ({"auth_params": "prompt=none"}, 400),
        ({"redirect_to": "https://evil.example"}, 422),
        ({"code_challenge": "short"}, 422),
        ({"link": "nonsense"}, 400),
    ],
)
def test_a_wrong_query_begins_nothing(query, status, theirs, anonymous):
    answer = anonymous.get(f"{OAUTH}oidc/login", query)
    assert answer.status_code == status and not answer.cookies


def test_the_library_has_no_pages_of_its_own(client):
    for path in (
        "/accounts/login/",
        "/accounts/google/login/",
        "/google/login/",
        "/oidc/oidc/login/",
        "/accounts/signup/",
    ):
        assert client.get(path).status_code == 404
