"""Register, log in, refresh, log out: the story of one account over HTTP."""

from __future__ import annotations

import pytest

from accounts import tokens
from accounts.models import SignIn, User

PASSWORD = "correct-horse-battery"
pytestmark = [pytest.mark.django_db, pytest.mark.engine]


@pytest.fixture
def login(anonymous):
    def post(identifier="owner@example.com", password=PASSWORD, prefix="/api/v1/auth", **extra):
        return anonymous.post(f"{prefix}/login", {"username_or_email": identifier, "password": password, **extra})

    return post


def bearer(client, token):
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.mark.parametrize("prefix", ["/api/v1/auth", "/api/auth"])
def test_an_account_registers_signs_in_and_out_under_both_prefixes(prefix, admin, anonymous):
    made = anonymous.post(
        f"{prefix}/register/",
        {
            "email": "Eve@Example.com",
            "password": PASSWORD,
            "login": "eve",
            "bio": "Hi",
            "timezone": "Europe/Berlin",
        },
    )
    assert made.status_code == 201, made.content
    body = made.json()
    assert (body["email"], body["username"], body["role"], body["bio"]) == (
        "eve@example.com",
        "eve",
        "user",
        "Hi",
    )
    assert body["user"]["timezone"] == "Europe/Berlin"
    assert body["verified"] is body["email_verified"] is False
    assert "password" not in str(body["user"]) and "token_key" not in str(body["user"])

    tokens = anonymous.post(f"{prefix}/login", {"username": "eve", "password": PASSWORD}).json()
    assert made.headers["Cache-Control"] == "no-store"
    assert tokens["token_type"] == "bearer" and tokens["expires_in"] == 900
    client = bearer(anonymous, tokens["access_token"])
    assert client.get(f"{prefix}/me").json()["id"] == body["id"]
    assert client.get("/api/v1/users/me/").json()["email"] == "eve@example.com"
    assert client.post(f"{prefix}/logout").json() == {"message": "Logged out successfully"}
    assert client.get(f"{prefix}/me").status_code == 401


@pytest.mark.parametrize("name", ["email", "username", "login", "username_or_email"])
@pytest.mark.parametrize("value", ["OWNER@example.com", "Owner"])
@pytest.mark.parametrize("form", ["json", "multipart"])
def test_every_spelling_of_the_identifier_signs_in(name, value, form, owner, anonymous):
    answer = anonymous.post("/api/v1/auth/login", {name: value, "password": PASSWORD}, format=form)
    assert answer.status_code == 200
    assert answer.json()["user"]["id"] == str(owner.id)


def test_the_oauth2_password_form_signs_in(owner, anonymous):
    answer = anonymous.post(
        "/api/auth/login",
        "grant_type=password&username=owner&password=correct-horse-battery&scope=",
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.status_code == 200
    owner.refresh_from_db()
    assert owner.last_login_at is not None


def test_an_old_token_in_the_header_does_not_keep_anybody_from_signing_in(owner, anonymous):
    client = bearer(anonymous, "nonsense")
    assert client.post("/api/v1/auth/login", {"email": owner.email, "password": PASSWORD}).status_code == 200


def test_a_failed_login_says_one_thing_whatever_the_cause(owner, login):
    owner.is_active = False
    owner.save()
    wrong = [
        login("owner", "wrong-password"),
        login("nobody", PASSWORD),
        login("nobody@example.com", PASSWORD),
        login("owner", "x" * 5000),
        login("x" * 5000, PASSWORD),
    ]
    bodies = [{k: v for k, v in a.json().items() if k not in ("request_id", "timestamp")} for a in wrong]
    assert {a.status_code for a in wrong} == {401}
    assert all(body == bodies[0] for body in bodies)
    assert all(a.headers["WWW-Authenticate"] == "Bearer" for a in wrong)
    assert not SignIn.objects.exists()


def test_a_disabled_account_with_the_right_password_is_403(owner, login):
    owner.is_active = False
    owner.save()
    answer = login()
    assert answer.status_code == 403
    assert not SignIn.objects.exists()


def test_a_deleted_account_is_unknown_and_its_address_is_free_again(owner, admin, login, anonymous):
    owner.soft_delete()
    assert login().status_code == 401
    assert not User.objects.filter(pk=owner.pk).exists()
    assert User.all_objects.filter(pk=owner.pk).exists()
    answer = anonymous.post("/api/v1/auth/register", {"email": owner.email, "password": PASSWORD, "username": "owner"})
    assert answer.status_code == 201


def test_a_taken_email_or_username_is_409_and_makes_nothing(owner, anonymous):
    before = User.all_objects.count()
    for body, field in (
        ({"email": "OWNER@example.com", "password": PASSWORD}, "email"),
        ({"email": "new@example.com", "username": "oWner", "password": PASSWORD}, "username"),
    ):
        answer = anonymous.post("/api/v1/auth/register", body)
        assert answer.status_code == 409
        assert list(answer.json()["fields"]) == [field]
    assert User.all_objects.count() == before


def test_a_refresh_token_works_once_and_its_reuse_ends_the_sign_in(owner, login, anonymous):
    first = login().json()
    second = anonymous.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert second.status_code == 200
    assert bearer(anonymous, second.json()["access_token"]).get("/api/v1/auth/me").status_code == 200

    anonymous.credentials()
    assert anonymous.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}).status_code == 401
    newest = {"refresh_token": second.json()["refresh_token"]}
    assert anonymous.post("/api/v1/auth/refresh", newest).status_code == 401
    for token in (first["access_token"], second.json()["access_token"]):
        assert bearer(anonymous, token).get("/api/v1/auth/me").status_code == 401


def test_one_reused_token_leaves_other_sign_ins_alone(owner, login, anonymous):
    phone, laptop = login().json(), login().json()
    for _ in range(2):
        anonymous.post("/api/v1/auth/refresh", {"refresh_token": phone["refresh_token"]})
    assert bearer(anonymous, laptop["access_token"]).get("/api/v1/auth/me").status_code == 200


def test_logout_by_refresh_token_ends_the_access_token_too(owner, login, anonymous):
    tokens = login().json()
    assert anonymous.post("/api/v1/auth/logout", {"refresh_token": tokens["refresh_token"]}).status_code == 200
    assert anonymous.post("/api/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]}).status_code == 401
    assert bearer(anonymous, tokens["access_token"]).get("/api/v1/auth/me").status_code == 401


def test_logout_without_any_token_is_401(anonymous):
    assert anonymous.post("/api/v1/auth/logout").status_code == 401


def test_changing_the_password_ends_older_tokens_and_answers_with_new_ones(owner, as_user, anonymous):
    old, other = as_user(owner), as_user(owner)
    answer = old.post("/api/v1/auth/change-password", {"old_password": PASSWORD, "new_password": "another-staple-7"})
    assert answer.status_code == 200, answer.content
    assert old.get("/api/v1/auth/me").status_code == other.get("/api/v1/auth/me").status_code == 401
    assert bearer(anonymous, answer.json()["access_token"]).get("/api/v1/auth/me").status_code == 200


def test_a_wrong_current_password_changes_nothing(owner, as_user):
    client, before = as_user(owner), owner.password
    answer = client.post(
        "/api/v1/auth/change-password", {"current_password": "wrong", "new_password": "another-staple-7"}
    )
    assert answer.status_code == 422 and "current_password" in answer.json()["fields"]
    owner.refresh_from_db()
    assert owner.password == before
    assert client.get("/api/v1/auth/me").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"role": "admin"},
        {"email": "new@example.com"},
        {"token_key": "0" * 32},
        {"is_active": False},
        {"password": "!unusable"},
    ],
)
def test_a_change_of_credentials_ends_older_tokens_at_once(change, owner, as_user):
    client = as_user(owner)
    assert client.get("/api/v1/auth/me").status_code == 200
    User.objects.filter(pk=owner.pk).update(**change)
    assert client.get("/api/v1/auth/me").status_code == 401


def test_tokens_do_not_come_back_with_an_account_that_is_opened_again(owner, as_user):
    client = as_user(owner)
    owner.is_active = False
    owner.save(update_fields=["is_active"])
    owner.is_active = True
    owner.save(update_fields=["is_active"])
    assert client.get("/api/v1/auth/me").status_code == 401


def test_a_change_of_the_profile_keeps_tokens_and_is_seen_at_once(owner, as_user):
    client = as_user(owner)
    client.get("/api/v1/auth/me")
    User.objects.filter(pk=owner.pk).update(bio="New")
    assert client.get("/api/v1/auth/me").json()["bio"] == "New"


def test_login_costs_the_same_for_nobody_as_for_somebody(real_hashers, make_user, login, monkeypatch):
    make_user("owner")
    checked = []
    monkeypatch.setattr(
        "django.contrib.auth.hashers.Argon2PasswordHasher.verify",
        lambda self, password, encoded: checked.append(encoded) or False,
    )
    login("owner", "wrong-password")
    login("nobody", "wrong-password")
    assert len(checked) == 2


def test_an_account_has_a_hundred_open_sign_ins_and_the_next_ends_the_least_used(owner, member, login, anonymous):
    tokens.issue(member)
    pairs = [tokens.issue(owner) for _ in range(tokens.MOST)]
    answer = anonymous.post("/api/v1/auth/refresh", {"refresh_token": pairs[0].refresh})  # old, and in use
    newest = login().json()["access_token"]
    assert SignIn.objects.of(owner).filter(revoked=None).count() == tokens.MOST and SignIn.objects.of(member).exists()
    kept = answer.json()["access_token"]
    for access, status in ((kept, 200), (newest, 200), (pairs[1].access, 401), (pairs[2].access, 200)):
        assert bearer(anonymous, access).get("/api/v1/auth/me").status_code == status
    assert len(bearer(anonymous, newest).get("/api/v1/auth/sessions").json()["items"]) == tokens.MOST
