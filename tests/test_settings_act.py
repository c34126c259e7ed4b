"""What the settings say is so, on the pages, at the doors and in the answers, from the next request on."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts import declared, invites, mailing
from accounts.models import User
from accounts.oauth import providers
from accounts.principals import principal_of
from cms_project import health
from cms_project.front import Front
from core.asgi import send_answer
from settings_app import seen, services, values
from tests.asgi_client import request

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
PASSWORD = "correct-horse-battery"
NAME = 'Söhne & <b>Co</b> "日本"'
ESCAPED = "Söhne &amp; &lt;b&gt;Co&lt;/b&gt; &quot;日本&quot;"


def put(**changes: Any) -> None:
    for key, value in changes.items():
        services.put(key, value, by="")


@pytest.fixture
def looked() -> Any:
    """Have this process look, as after a commit, which a test's transaction never sees."""
    yield seen.look
    seen.forget()


# --- names -----------------------------------------------------------------------------------


def test_the_name_of_the_site_is_on_every_page_for_visitors_and_is_no_html(anonymous, admin):
    put(site_name=NAME)
    for path in ("/verify", "/reset-password", "/verify?token=x", "/reset-password?token=x", "/register?code=x"):
        page = anonymous.get(path, headers={"accept": "text/html"}).content.decode()
        assert ESCAPED in page and "<b>Co" not in page, path


def test_the_name_of_the_installation_is_in_the_admin_and_the_documents_and_is_no_html(admin, anonymous, looked):
    put(app_name=NAME)
    looked()
    browser = Client()
    assert ESCAPED in browser.get("/admin/login/").content.decode()
    browser.force_login(admin)
    pages = [browser.get("/admin/"), browser.get("/docs"), browser.get("/api/redoc")]
    pages.append(browser.get("/api/v1/settings", headers={"accept": "text/html"}))
    for page in pages:
        assert page.status_code == 200 and "<b>Co" not in page.content.decode(), page.wsgi_request.path
        assert ESCAPED in page.content.decode(), page.wsgi_request.path
    assert anonymous.get("/api/schema").json()["info"]["title"] == NAME
    assert health.health()[0]["service"] == health.info()[0]["service"] == NAME
    put(app_name="Another")
    assert anonymous.get("/api/schema").json()["info"]["title"] == "Another"


def test_a_site_without_a_name_has_that_of_the_installation(anonymous, settings, admin):
    assert values.get("site_name") == settings.PROJECT_NAME
    put(app_name="Shop")
    assert values.get("site_name") == "Shop"
    assert mailing.compose("welcome", "a@b.example", {"account": admin}).subject == "Welcome to Shop"


@pytest.mark.parametrize("key", ["app_name", "site_name", "site_description", "maintenance_message"])
@pytest.mark.parametrize(
    "bad", ["a\r\nBcc: x@y.example", "a\nb", "a\u2028b", "a\x7fb", "\x1b[31m", "x" * 1001, 5, None]
)
def test_a_text_that_could_become_a_header_is_refused(admin, as_user, key, bad):
    assert as_user(admin).post("/api/v1/settings", {"key": key, "value": bad}).status_code == 422
    assert as_user(admin).patch("/api/v1/settings", {key: bad}).status_code == 422
    assert not values.overrides([key])


def test_a_name_is_not_empty(admin, as_user):
    for empty in ("", "  "):
        assert as_user(admin).post("/api/v1/settings", {"key": "app_name", "value": empty}).status_code == 422


# --- who may make an account ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "mode", "holds"),
    [
        (True, "OPEN", "OPEN"),
        (True, "INVITE_ONLY", "INVITE_ONLY"),
        (True, "CLOSED", "CLOSED"),
        (False, "OPEN", "CLOSED"),
        (False, "INVITE_ONLY", "CLOSED"),
    ],
)
def test_both_settings_of_registration_have_to_let_somebody_in(admin, anonymous, allowed, mode, holds):
    put(allow_registration=allowed, registration_mode=mode)
    assert anonymous.get("/api/cms/registration-mode").json()["data"] == {"registration_mode": holds}
    body = {"email": "new@example.com", "password": PASSWORD}
    status = anonymous.post("/api/v1/auth/register", body).status_code
    assert status == {"OPEN": 201, "INVITE_ONLY": 422, "CLOSED": 403}[holds]
    assert User.objects.filter(email="new@example.com").exists() is (status == 201)


def test_a_role_for_all_is_for_the_invited_only(superadmin, admin, anonymous, as_user):
    put(default_user_role="admin")
    body = {"email": "open@example.com", "password": PASSWORD}
    assert anonymous.post("/api/v1/auth/register", body).json()["role"] == "user"
    code = invites.code_of(invites.create(principal_of(admin), admin, expires_at=None))
    body = {"email": "coded@example.com", "password": PASSWORD, "invite_code": code}
    assert anonymous.post("/api/v1/auth/register", body).json()["role"] == "user"  # the door was open to all
    put(registration_mode=declared.INVITE_ONLY)
    code = invites.code_of(invites.create(principal_of(admin), admin, expires_at=None))
    body = {"email": "invited@example.com", "password": PASSWORD, "invite_code": code}
    assert anonymous.post("/api/v1/auth/register", body).json()["role"] == "admin"
    change = {"key": "default_user_role", "value": "superadmin"}
    assert as_user(superadmin).post("/api/v1/settings", change).status_code == 422
    assert as_user(admin).post("/api/v1/settings", {**change, "value": "user"}).status_code == 403


# --- signing in elsewhere --------------------------------------------------------------------------


@pytest.fixture
def no_providers(settings: Any) -> None:
    settings.OAUTH_PROVIDERS = {
        name: {"client_id": "", "client_secret": "", "redirect_uri": ""} for name in ("google", "github", "microsoft")
    } | {"oidc": {"client_id": "", "client_secret": "", "redirect_uri": "", "issuer": "", "name": "Acme"}}


def test_a_provider_is_there_as_soon_as_it_has_its_client(no_providers, superadmin, as_user, anonymous):
    client = as_user(superadmin)
    assert anonymous.get("/api/v1/oauth/github/login").status_code == 404
    change = {"github_client_id": "gh-id", "github_client_secret": "gh-secret"}
    answer = client.patch("/api/v1/settings", change)
    assert answer.status_code == 200 and "gh-secret" not in answer.content.decode()
    assert [one["id"] for one in anonymous.get("/api/v1/oauth/providers").json()["items"]] == ["github"]
    begun = anonymous.get("/api/v1/oauth/github/login")
    assert begun.status_code == 302 and "client_id=gh-id" in begun["Location"] and "gh-secret" not in begun["Location"]
    assert providers.get("github").client_secret == "gh-secret"
    client.patch("/api/v1/settings", {"github_client_id": ""})
    assert anonymous.get("/api/v1/oauth/github/login").status_code == 404


def test_a_secret_is_for_the_client_and_the_issuer_that_it_was_given_for(no_providers, settings):
    settings.OAUTH_PROVIDERS["oidc"] |= {"client_id": "env", "client_secret": "of-env", "issuer": "https://id.example"}
    assert providers.get("oidc").client_secret == "of-env"
    put(oidc_issuer="https://evil.example")
    assert providers.configured() == []
    put(oidc_client_secret="of-evil")
    assert (providers.get("oidc").issuer, providers.get("oidc").client_secret) == ("https://evil.example", "of-evil")
    put(oidc_issuer="https://third.example")
    assert providers.configured() == []
    services.remove("oidc_issuer")
    assert providers.get("oidc").client_secret == "of-env"


def test_an_issuer_is_reached_by_https_in_production(superadmin, as_user, settings):
    settings.PRODUCTION = True
    for issuer, status in (("http://id.example", 422), ("ftp://x", 422), ("https://id.example", 200)):
        answer = as_user(superadmin).post("/api/v1/settings", {"key": "oidc_issuer", "value": issuer})
        assert answer.status_code == status, issuer


# --- the documents, limits ---------------------------------------------------------------------------


def test_the_documents_can_be_for_admins_only(admin, as_user, anonymous, member):
    put(api_docs_enabled=False)
    for path in ("/docs", "/api/docs", "/api/redoc", "/api/schema"):
        assert anonymous.get(path).status_code == 404, path
    browser = Client()
    browser.force_login(member)
    for path in ("/docs", "/api/docs", "/api/redoc", "/api/schema"):
        assert browser.get(path).status_code == as_user(member).get(path).status_code == 404, path
        assert as_user(admin).get(path).status_code == 200, path
    browser.force_login(admin)
    for path in ("/docs", "/api/docs", "/api/redoc", "/api/schema"):
        assert browser.get(path).status_code == 200, path
    assert anonymous.get("/")["Location"].startswith("/admin")
    put(api_docs_enabled=True)
    assert anonymous.get("/docs").status_code == 200 and "docs" in anonymous.get("/")["Location"]


async def _inner(scope: Any, receive: Any, send: Any) -> None:
    await send_answer(send, 200, [], b"in")


def test_the_limit_of_requests_is_that_of_the_settings_before_the_environment_s(settings, looked):
    settings.RATE_LIMIT_ENABLED, settings.RATE_LIMIT_REQUESTS, settings.REDIS_URL = True, 100, ""
    front = Front(_inner)

    def ask(client: str = "192.0.2.1") -> Any:
        return request(front, path="/api/v1/x", client=client)

    assert ask().header("X-RateLimit-Limit") == "100"
    put(api_rate_limit=3, api_rate_limit_window=1000)
    looked()
    answers = [ask("192.0.2.2") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[0].header("X-RateLimit-Limit") == "3" and answers[0].header("X-RateLimit-Remaining") == "2"
    services.remove("api_rate_limit")
    looked()
    assert ask("192.0.2.3").header("X-RateLimit-Limit") == "100"


@pytest.mark.parametrize("bad", [0, -1, 1_000_001, 1.5, "10", True, None, [10]])
def test_a_limit_that_none_can_be_is_refused(superadmin, as_user, bad):
    answer = as_user(superadmin).post("/api/v1/settings", {"key": "api_rate_limit", "value": bad})
    assert answer.status_code == 422 and not values.overrides(["api_rate_limit"])


@pytest.mark.parametrize("key", ["api_rate_limit", "api_rate_limit_window"])
def test_an_admin_can_not_lock_superadmins_out_by_a_limit(admin, superadmin, as_user, key):
    body = {"key": key, "value": 10}
    assert as_user(admin).post("/api/v1/settings", body).status_code == 403
    assert as_user(admin).patch("/api/v1/settings", {key: 10}).status_code == 403 and not values.overrides([key])
    assert as_user(superadmin).post("/api/v1/settings", body).status_code == 200


def test_what_was_set_before_a_key_was_known_does_not_count_where_it_can_not_be(admin):
    from settings_app.models import CmsSetting

    CmsSetting.objects.create(key="api_rate_limit", value="many", category="custom", type="string")
    CmsSetting.objects.create(key="site_name", value={"a": 1}, category="custom", type="json")
    assert values.overrides(["api_rate_limit", "site_name"]) == {}
    assert values.get("site_name") == values.get("app_name")


@pytest.mark.parametrize("key", ["max_upload_size", "max_file_size"])
def test_either_limit_of_files_holds(key, admin, as_user, make_collection, settings, tmp_path):
    settings.MEDIA_ROOT = str(tmp_path)
    pictures = make_collection("pictures", file="file")
    put(**{key: 10})
    path = f"/api/v1/collections/{pictures.name}/records"
    for size, status in ((10, 201), (11, 422)):
        upload = SimpleUploadedFile("a.txt", b"x" * size)
        answer = as_user(admin).post(path, {"file": upload}, format="multipart")
        assert answer.status_code == status, answer.content
    services.remove(key)
    upload = SimpleUploadedFile("a.txt", b"x" * 11)
    assert as_user(admin).post(path, {"file": upload}, format="multipart").status_code == 201
