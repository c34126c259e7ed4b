"""Somebody means harm: each story ends with nothing gained, and says what did not change."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache

from accounts import mailing
from accounts.models import ApiKey, ExternalIdentity, Mail, OneTimeToken, SignIn, User
from accounts.oauth import handshake, redirects
from accounts.oauth.tests import provider
from accounts.oauth.tests.conftest import ANN, APP, AUTH, OAUTH, query_of
from core import networks
from settings_app import services

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.engine,
    pytest.mark.usefixtures("house"),
]

PASSWORD = "correct-horse-battery"
MALLORY = {"sub": "mallory-1", "email": "mallory@example.com", "email_verified": True}


def nothing_came_of_it() -> bool:
    return not (SignIn.objects.exists() or ExternalIdentity.objects.exists() or OneTimeToken.objects.exists())


def with_query(place: str, **changes: str | None) -> str:
    parts = urlsplit(place)
    query = {**dict(parse_qsl(parts.query)), **changes}
    return parts._replace(query=urlencode({k: v for k, v in query.items() if v is not None})).geturl()


# --- state, PKCE, nonce ----------------------------------------------------------------------


def test_a_sign_in_begun_in_another_browser_does_not_end_in_this_one(browser, another_browser, theirs):
    """Login CSRF: Mallory has Ann's browser open the end of Mallory's own sign-in."""
    theirs.set(mallory=MALLORY)
    place = theirs.sign_in(another_browser.begin(), "mallory")
    for place_here in (place, with_query(place, state=None), with_query(place, state="x" * 5000)):
        assert browser.come_back(place_here).status_code == 400
    browser.begin()  # Ann is on her way herself
    assert browser.come_back(place).status_code == 400
    assert nothing_came_of_it()
    assert another_browser.come_back(place).status_code == 200


def test_an_answer_works_once(browser, theirs):
    theirs.set(ann=ANN)
    place = theirs.sign_in(browser.begin())
    assert browser.come_back(place).status_code == 200
    assert browser.come_back(place).status_code == 400
    assert SignIn.objects.count() == 1


def test_a_code_put_into_another_session_is_refused_by_pkce(browser, another_browser, theirs):
    """Mallory has got hold of Ann's code and finishes his own sign-in with it."""
    theirs.set(ann=ANN, mallory=MALLORY)
    anns = dict(parse_qsl(urlsplit(theirs.sign_in(another_browser.begin())).query))
    mine = theirs.sign_in(browser.begin(), "mallory")
    assert browser.come_back(with_query(mine, code=anns["code"])).status_code == 400
    assert nothing_came_of_it()


def test_a_code_put_into_another_session_is_refused_by_the_nonce(browser, another_browser, theirs):
    """The same, where the provider does not look at PKCE."""
    theirs.set({"without_pkce": True}, ann=ANN, mallory=MALLORY)
    anns = dict(parse_qsl(urlsplit(theirs.sign_in(another_browser.begin())).query))
    mine = theirs.sign_in(browser.begin(), "mallory")
    assert browser.come_back(with_query(mine, code=anns["code"])).status_code == 400
    assert nothing_came_of_it()


def test_a_state_is_for_the_provider_that_it_was_made_for(browser, theirs):
    theirs.set(ann=ANN)
    place = theirs.sign_in(browser.begin("google"))
    assert browser.come_back(place.replace("/google/", "/oidc/")).status_code == 400
    assert nothing_came_of_it()


def test_a_state_ends_after_ten_minutes(browser, theirs, monkeypatch):
    theirs.set(ann=ANN)
    place = theirs.sign_in(browser.begin())
    later = time.time() + handshake.SECONDS + 1
    monkeypatch.setattr("allauth.socialaccount.internal.statekit.time.time", lambda: later)
    assert browser.come_back(place).status_code == 400
    assert nothing_came_of_it()


def test_the_cookie_of_a_sign_in_under_way_signs_nobody_in(browser, theirs, client, settings):
    theirs.set(ann=ANN)
    browser.begin()
    cookie = browser.api.cookies["oauth"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and int(cookie["max-age"]) == 600
    client.cookies[settings.SESSION_COOKIE_NAME] = cookie.value
    assert client.get(f"{AUTH}me").status_code == 401
    assert client.get("/admin/").status_code == 302
    browser.sign_in()
    assert browser.api.get(f"{AUTH}me").status_code == 401
    assert settings.SESSION_COOKIE_NAME not in browser.api.cookies


@pytest.mark.parametrize("cookie", ['"\\000aaaaaaaaaa"', "x", "", "a" * 3000, "'; DROP TABLE users", "ä" * 32])
def test_a_cookie_that_is_not_ours_is_none(cookie, browser, theirs):
    theirs.set(ann=ANN)
    answer = browser.api.get(f"{OAUTH}oidc/callback", {"state": "x", "code": "y"}, HTTP_COOKIE=f"oauth={cookie}")
    assert answer.status_code == 400
    begun = browser.api.get(f"{OAUTH}oidc/login", HTTP_COOKIE=f"oauth={cookie}")
    assert begun.status_code == 302 and re.fullmatch("[a-z0-9]{32}", begun.cookies["oauth"].value)


def test_a_finished_sign_in_leaves_no_session_behind(browser, theirs):
    theirs.set(ann=ANN)
    browser.sign_in()
    assert not Session.objects.exists() and browser.api.cookies["oauth"].value == ""


def test_two_windows_may_be_on_their_way_at_once(browser, theirs):
    theirs.set(ann=ANN)
    first, second = browser.begin(), browser.begin("google")
    assert browser.come_back(theirs.sign_in(first)).status_code == 200
    assert browser.come_back(theirs.sign_in(second)).status_code == 200


def test_who_is_signed_in_to_the_admin_stays_so(browser, theirs, house, settings):
    theirs.set(ann=ANN)
    browser.api.force_login(house)
    before = browser.api.cookies[settings.SESSION_COOKIE_NAME].value
    assert browser.sign_in().status_code == 200
    assert browser.api.cookies[settings.SESSION_COOKIE_NAME].value == before
    assert browser.api.get("/admin/").status_code == 200


def test_with_https_neighbours_cant_set_the_cookie(browser, theirs, settings):
    theirs.set(ann=ANN)
    settings.SESSION_COOKIE_SECURE = True
    browser.begin()
    assert browser.api.cookies["__Host-oauth"]["secure"] and browser.api.cookies["__Host-oauth"]["path"] == "/"


# --- who signs what the provider says ---------------------------------------------------------


@pytest.mark.parametrize("provider_id", ["oidc", "google"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": {"iss": "https://evil.example"}},
        {"claims": {"aud": "another-client"}},
        {"claims": {"aud": ["cms", "another-client"], "azp": "another-client"}},
        {"claims": {"exp": 1_700_000_000}},
        {"claims": {"nonce": "another"}},
        {"claims": {"nonce": None}},
        {"claims": {"sub": 5}},
        {"claims": {"sub": ""}},
        {"claims": {"sub": "x" * 300}},
        {"claims": {"sub": "ann-1\u0000"}},
        {"signed": "none"},
        {"signed": "by a stranger"},
        {"signed": "by the client's secret"},
    ],
    ids=str,
)
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(wrong, provider_id, browser, theirs):
    theirs.set(wrong, ann=ANN)
    answer = browser.sign_in(provider_id)
    assert answer.status_code == 400, answer.content
    assert nothing_came_of_it()


def test_userinfo_about_somebody_else_is_refused(browser, theirs, make_user):
    make_user("ann")
    theirs.set({"userinfo": {"sub": "ann-1", "email": "ann@example.com"}}, mallory=MALLORY)
    assert browser.sign_in(login="mallory").status_code == 400
    assert nothing_came_of_it()


def test_claims_in_the_librarys_own_boxes_are_not_looked_at(browser, theirs, make_user):
    make_user("ann")
    theirs.set({"userinfo": {"userinfo": ANN, "id_token": ANN}}, mallory=MALLORY)
    assert browser.sign_in(login="mallory").json()["user"]["email"] == "mallory@example.com"
    assert ExternalIdentity.objects.get().subject == "mallory-1"


def test_an_answer_in_another_issuers_name_is_refused(browser, theirs):
    """Issuer mix-up (RFC 9207)."""
    theirs.set({"answer_iss": "https://evil.example"}, ann=ANN)
    assert browser.sign_in().status_code == 400
    assert nothing_came_of_it()


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
    ],
    ids=str,
)
def test_a_discovery_document_that_is_not_the_issuers_begins_nothing(discovery, theirs, anonymous):
    theirs.set({"discovery": discovery})
    answer = anonymous.get(f"{OAUTH}oidc/login")
    assert answer.status_code == 503 and not answer.cookies


def test_an_authorization_address_with_a_query_of_its_own_keeps_it(theirs, anonymous):
    theirs.set({"discovery": {"authorization_endpoint": f"{theirs.url}/authorize?p=policy"}})
    begun = anonymous.get(f"{OAUTH}oidc/login")["Location"]
    assert begun.count("?") == 1 and "p=policy&" in begun.replace("?", "?&") + "&" and "state=" in begun


def test_the_providers_own_word_is_told_and_nothing_else_of_its_answer(browser, theirs):
    theirs.set(ann=ANN)
    for word, told in (("invalid_scope", ": invalid_scope."), ("<b>x</b>", "could not sign you in.")):
        place = with_query(theirs.sign_in(browser.begin(), deny="1"), error=word, error_description="<b>")
        answer = browser.come_back(place)
        assert answer.status_code == 400 and answer.json()["message"].endswith(told)


def test_redirects_of_the_providers_machines_are_not_followed(browser, theirs):
    theirs.set({"moved": f"{theirs.url}/-/trap"}, ann=ANN)
    assert browser.sign_in().status_code == 400
    assert not any("trap" in place for _, place in theirs.http.get(f"{theirs.url}/-/log").json())
    assert nothing_came_of_it()


def test_a_provider_that_is_away_is_said_to_be(browser, theirs, settings):
    theirs.set(ann=ANN)
    place = theirs.sign_in(browser.begin("google"))
    settings.OAUTH_PROVIDERS["oidc"] = {**settings.OAUTH_PROVIDERS["oidc"], "issuer": "http://127.0.0.1:9"}
    answer = browser.api.get(f"{OAUTH}oidc/login")
    assert answer.status_code == 503 and "Retry-After" in answer
    assert browser.come_back(place).status_code == 200


def test_an_issuer_that_a_setting_names_is_on_the_public_internet(browser, theirs, settings, monkeypatch):
    theirs.set(ann=ANN)
    settings.OAUTH_PROVIDERS["oidc"] = {**settings.OAUTH_PROVIDERS["oidc"], "issuer": "https://id.example"}
    services.put_several({"oidc_issuer": theirs.url, "oidc_client_secret": provider.CLIENT_SECRET}, by="")

    def asked() -> int:
        return sum("well-known" in place for _, place in theirs.http.get(f"{theirs.url}/-/log").json())

    before = asked()
    assert browser.api.get(f"{OAUTH}oidc/login").status_code == 503
    assert asked() == before and nothing_came_of_it()
    cache.clear()  # which remembers that it gave no answer
    monkeypatch.setattr(networks, "is_public", lambda address: address == "127.0.0.1")
    assert browser.sign_in("oidc").status_code == 200


NONSENSE = [
    (500, "text/html", "<h1>Oops</h1>"),
    (200, "text/html", "<h1>Hello</h1>"),
    (200, "application/json", ""),
    (200, "application/json", "null"),
    (200, "application/json", "[]"),
    (200, "application/json", "[5]"),
    (200, "application/json", "5"),
    (200, "application/json", "{}"),
    (200, "application/json", '{"access_token": null, "id": null, "sub": null, "keys": null}'),
    (200, "application/json", '{"access_token": 5, "id": [], "keys": [5], "email": 5, "expires_in": "soon"}'),
    (200, "application/json", '{"access_token": {}, "keys": [], "id": {"x": 1}, "mail": ["a"]}'),
    (200, "application/json", "[" * 100_000),
    (200, "application/json", '"' + "x" * 2_000_000 + '"'),
    (200, "application/x-www-form-urlencoded", "access_token"),
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize(
    ("provider_id", "path"),
    [
        ("oidc", "/token"),
        ("oidc", "/jwks"),
        ("oidc", "/userinfo"),
        ("google", "/jwks"),
        ("github", "/github/access_token"),
        ("github", "/github/user"),
        ("github", "/github/user/emails"),
        ("microsoft", "/microsoft/common/oauth2/v2.0/token"),
        ("microsoft", "/microsoft/v1.0/me"),
    ],
)
def test_nonsense_of_a_provider_is_no_fault_of_ours(provider_id, path, nonsense, browser, theirs):
    person = {**ANN, "id": 1, "mail": "ann@example.com", "emails": []}
    if provider_id == "github":
        person["email"] = None  # without its list of addresses it may have an unverified one
    theirs.set({"raw": {path: nonsense}}, ann=person)
    answer = browser.sign_in(provider_id)
    assert answer.status_code in (400, 422), answer.content
    assert nothing_came_of_it() and User.objects.count() == 1


@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_instead_of_a_discovery_document_begins_nothing(nonsense, theirs, anonymous):
    theirs.set({"raw": {"/.well-known/openid-configuration": nonsense}})
    answer = anonymous.get(f"{OAUTH}oidc/login")
    assert answer.status_code == 503 and not answer.cookies


@pytest.mark.parametrize("said", ["false", "", 0, None, "yes", 1, [True]])
def test_only_a_clear_word_makes_an_address_verified(said, browser, theirs, make_user):
    make_user("ann")
    theirs.set(mallory={**MALLORY, "email": "ann@example.com", "email_verified": said})
    assert browser.sign_in(login="mallory").status_code == 409
    assert nothing_came_of_it()


# --- whose account --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider_id", "person"),
    [
        ("oidc", {"sub": "m", "email": "ann@example.com", "email_verified": False}),
        ("google", {"sub": "m", "email": "ann@example.com"}),
        (
            "microsoft",
            {"id": "m", "mail": "ann@example.com", "email_verified": True, "userPrincipalName": "ann@example.com"},
        ),
        (
            "github",
            {
                "id": 1,
                "login": "m",
                "email": "ann@example.com",
                "emails": [{"email": "ann@example.com", "primary": True, "verified": False}],
            },
        ),
        ("github", {"id": 1, "login": "m", "email": "ann@example.com", "emails": []}),
    ],
)
@pytest.mark.parametrize("verified", [True, False])
def test_an_address_that_the_provider_does_not_vouch_for_opens_nobodys_account(
    provider_id, person, verified, browser, theirs, make_user
):
    ann = make_user("ann", verified=verified)
    theirs.set(mallory=person)
    answer = browser.sign_in(provider_id, "mallory")
    assert answer.status_code == 409 and "Sign in with your password" in answer.json()["message"]
    assert nothing_came_of_it()
    before = ann.credential_stamp()
    ann.refresh_from_db()
    assert ann.credential_stamp() == before and ann.verified is verified


def test_a_username_that_looks_like_an_address_opens_nothing(browser, theirs, make_user):
    ann = make_user("ann")
    theirs.set(mallory={**MALLORY, "preferred_username": "ann", "email": "mallory@example.com"})
    user = browser.sign_in(login="mallory").json()["user"]
    assert user["id"] != str(ann.pk) and user["username"].startswith("ann-")


@pytest.fixture
def waiting(theirs, another_browser, anonymous, make_user, api_key_of):
    """Mallory has made an account with Ann's address, and every way into it that he can think of."""
    body = anonymous.post(f"{AUTH}register", {"email": "ann@example.com", "password": PASSWORD, "role": "user"}).json()
    user = User.objects.get(email="ann@example.com")
    ExternalIdentity.objects.create(
        realm="users", account_id=user.account_id, provider="oidc", issuer=theirs.url, subject="mallory-1"
    )
    key = api_key_of(user)
    mailing.send_due()
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {body['access_token']}"}
    anonymous.post(f"{AUTH}request-password-reset", {"email": "ann@example.com"})
    mailing.send_due()
    reset = re.search(r"reset-password\?token=([\w-]+)", mail.outbox[-1].body)[1]
    # Not sent yet when Ann comes:
    anonymous.post(f"{AUTH}change-email", {"new_email": "mallory@example.com", "password": PASSWORD}, **bearer)
    assert Mail.objects.count() == 1
    return {**body, "key": key, "reset": reset, "user_id": str(user.pk)}


@pytest.fixture
def api_key_of():
    def make(user: User) -> ApiKey:
        return ApiKey.objects.create(user=user, name="mallory's", prefix="x", digest="0" * 64)

    return make


def test_an_account_that_waits_for_its_owner_is_the_owners_when_they_come(waiting, browser, theirs, anonymous):
    theirs.set(ann=ANN, mallory=MALLORY)
    body = browser.sign_in().json()
    assert body["user"]["id"] == waiting["user_id"] and body["user"]["verified"] is True
    nothing_opens_it(waiting, browser, anonymous)
    assert browser.sign_in().json()["user"]["id"] == waiting["user_id"]
    assert mail.outbox[-1].to == ["ann@example.com"]


def test_an_account_that_waits_for_its_owner_is_the_owners_when_they_reset_its_password(
    waiting, browser, theirs, anonymous
):
    theirs.set(ann=ANN, mallory=MALLORY)
    anonymous.post(f"{AUTH}request-password-reset", {"email": "ann@example.com"})
    mail.outbox.clear()
    Mail.objects.filter(template="change_email").update(due="2100-01-01T00:00Z")
    mailing.send_due()
    reset = re.search(r"reset-password\?token=([\w-]+)", mail.outbox[-1].body)[1]
    answer = anonymous.post(f"{AUTH}reset-password", {"token": reset, "new_password": "another-staple-7"})
    assert answer.status_code == 200
    nothing_opens_it(waiting, browser, anonymous)
    assert browser.sign_in().json()["user"]["id"] == waiting["user_id"]


def nothing_opens_it(waiting, browser, anonymous) -> None:
    mail.outbox.clear()
    mailing.send_due()
    assert not any("mallory@example.com" in sent.to for sent in mail.outbox)
    login = anonymous.post(f"{AUTH}login", {"email": "ann@example.com", "password": PASSWORD})
    assert login.status_code == 401
    me = anonymous.get(f"{AUTH}me", HTTP_AUTHORIZATION=f"Bearer {waiting['access_token']}")
    assert me.status_code == 401
    refreshed = anonymous.post(f"{AUTH}refresh", {"refresh_token": waiting["refresh_token"]})
    assert refreshed.status_code == 401
    reset = anonymous.post(f"{AUTH}reset-password", {"token": waiting["reset"], "new_password": "mallorys-own-1"})
    assert reset.status_code == 400
    waiting["key"].refresh_from_db()
    assert waiting["key"].revoked is not None
    assert browser.sign_in(login="mallory").json()["user"]["id"] != waiting["user_id"]


def test_one_subject_at_two_providers_is_two_people(browser, theirs):
    theirs.set(
        one={**ANN, "sub": "7"},
        two={"id": 7, "login": "two", "emails": [{"email": "two@example.com", "primary": True, "verified": True}]},
    )
    first = browser.sign_in("oidc", "one").json()["user"]["id"]
    second = browser.sign_in("google", "one").json()["user"]["id"]
    third = browser.sign_in("github", "two").json()["user"]["id"]
    assert first == second != third  # the first two by their address
    assert ExternalIdentity.objects.filter(subject="7").count() == 3


def test_one_subject_of_two_issuers_is_two_people(browser, theirs, make_user):
    """The operator has changed OIDC_ISSUER: who had the same number at the old one is somebody else."""
    old = make_user("old")
    ExternalIdentity.objects.create(
        realm="users", account_id=old.account_id, provider="oidc", issuer="https://old.example", subject="ann-1"
    )
    theirs.set(ann=ANN)
    assert browser.sign_in().json()["user"]["id"] != str(old.pk)


# --- the way back to a page -------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "https://app.example.com@evil.example",
        "https://evil.example@app.example.com",
        "https://app.example.com:443@evil.example/",
        "https://app.example.com\\@evil.example",
        "https://evil.example\\.app.example.com",
        "https://evil.example/https://app.example.com",
        "https://evil.example#https://app.example.com",
        "https://evil.example?https://app.example.com",
        "http://app.example.com",
        "https://app.example.com:8443/",
        "https://app.example.com:port/",
        "//app.example.com/in",
        "///evil.example",
        "/in",
        "javascript:alert(1)//app.example.com",
        "data:text/html,x",
        "https:evil.example",
        "https:/\\evil.example",
        "https://app.example.com\t.evil.example",
        "https://app.example.com/\r\nLocation: https://evil.example",
        "https://аpp.example.com",
        "https://app.example.com%2eevil.example",
        "https://[app.example.com]/",
        "null",
        "*",
        "https://" + "a" * 3000,
    ],
)
def test_only_pages_of_allowed_origins_are_come_back_to(place, theirs, anonymous, settings):
    settings.ORIGINS = [APP, "*", "null"]
    answer = anonymous.get(f"{OAUTH}oidc/login", {"redirect_to": place})
    assert answer.status_code in (400, 422), answer.content
    assert "Location" not in answer and not answer.cookies


def test_an_origin_is_one_whatever_its_spelling(settings):
    settings.ORIGINS = ["https://app.example.com/", "http://localhost:5173"]
    for place in ("https://APP.example.com:443/x", "http://localhost:5173"):
        assert redirects.allowed(place) == place


def test_a_code_works_once(browser, theirs, anonymous):
    theirs.set(ann=ANN)
    code = query_of(browser.sign_in(redirect_to=APP))["code"]
    assert anonymous.post(f"{OAUTH}exchange", {"code": code}).status_code == 200
    assert anonymous.post(f"{OAUTH}exchange", {"code": code}).status_code == 400
    assert SignIn.objects.count() == 1


def test_a_code_ends_with_the_accounts_password_and_after_a_minute(browser, theirs, anonymous, make_user):
    ann = make_user("ann")
    theirs.set(ann=ANN)
    code = query_of(browser.sign_in(redirect_to=APP))["code"]
    ann.set_password("another-staple-7")
    ann.save()
    assert anonymous.post(f"{OAUTH}exchange", {"code": code}).status_code == 400
    code = query_of(browser.sign_in(redirect_to=APP))["code"]
    OneTimeToken.objects.update(expires="2026-01-01T00:00Z")
    assert anonymous.post(f"{OAUTH}exchange", {"code": code}).status_code == 400
    assert not SignIn.objects.exists()


@pytest.mark.parametrize("body", [{}, {"code": ""}, {"code": 5}, {"code": "x", "more": 1}, {"code": "x" * 300}])
def test_a_wrong_body_is_422(body, theirs, anonymous):
    assert anonymous.post(f"{OAUTH}exchange", body, format="json").status_code == 422


def test_tokens_are_kept_by_no_cache(browser, theirs):
    theirs.set(ann=ANN)
    begun = browser.api.get(f"{OAUTH}oidc/login")
    assert begun["Cache-Control"] == "no-store"
    assert browser.sign_in()["Cache-Control"] == "no-store"
