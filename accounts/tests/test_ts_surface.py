"""The surface in envelopes: its shapes, its sentences, and that it is the same house behind it."""

from __future__ import annotations

from typing import Any

import pytest
from django.forms.models import model_to_dict

from accounts.models import Invite, Mail, User
from settings_app import services

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
PASSWORD = "correct-horse-battery"
NEWCOMER = {"login": "newcomer", "email": "newcomer@example.com", "password": PASSWORD}


def state() -> list[Any]:
    return [*[model_to_dict(user) for user in User.all_objects.order_by("pk")], Mail.objects.count()]


def data_of(answer: Any, message: str, status: int = 200) -> Any:
    body = answer.json()
    assert answer.status_code == status, body
    assert body["success"] is True and body["message"] == message
    assert "errors" not in body and answer.headers["Content-Type"] == "application/json"
    return body["data"]


def refused(answer: Any, status: int, message: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["success"], body["message"]) == (status, False, message), body
    assert body["errors"] and all(isinstance(line, str) for line in body["errors"])
    return body


class TestRegister:
    def test_answers_the_documented_three_fields(self, admin, anonymous):
        data = data_of(anonymous.post("/api/register", NEWCOMER), "User registered successfully", 201)
        user = User.objects.get(username="newcomer")
        assert data == {"id": str(user.pk), "login": "newcomer", "email": "newcomer@example.com"}
        assert user.role == "user" and user.check_password(PASSWORD)
        assert Mail.objects.get().template == "verify"

    def test_says_what_is_wrong_in_the_documented_sentences(self, admin, anonymous):
        before = state()
        body = refused(
            anonymous.post("/api/register", {"login": "abc", "email": "nonsense", "password": PASSWORD}),
            422,
            "Validation failed",
        )
        assert sorted(body["errors"]) == ["Email format is invalid", "Username must be at least 4 characters"]
        assert set(body["fields"]) == {"login", "email"}
        body = refused(anonymous.post("/api/register", {}), 422, "Validation failed")
        assert set(body["errors"]) == {"Username is required.", "Email is required.", "Password is required."}
        assert set(body["fields"]) == {"login", "email", "password"}
        body = refused(anonymous.post("/api/register", {**NEWCOMER, "is_staff": True}), 422, "Validation failed")
        assert body["errors"] == ["Unknown field: is_staff"]
        assert state() == before

    def test_a_taken_name_is_422_in_its_own_sentence(self, admin, anonymous):
        before = state()
        login = anonymous.post("/api/register", {**NEWCOMER, "login": "ADMIN"})
        assert refused(login, 422, "This username is already taken.")["fields"] == {
            "login": ["This username is already taken."]
        }
        email = anonymous.post("/api/register", {**NEWCOMER, "email": "Admin@example.com"})
        assert refused(email, 422, "This email address is already registered.")["errors"] == [
            "This email address is already registered."
        ]
        both = anonymous.post("/api/register", {**NEWCOMER, "login": "admin", "email": "admin@example.com"}).json()
        assert len(both["errors"]) == 2
        assert state() == before

    def test_a_short_login_counts_characters(self, admin, anonymous):
        data_of(anonymous.post("/api/register", {**NEWCOMER, "login": "four"}), "User registered successfully", 201)

    @pytest.mark.parametrize("field", ["role", "verified", "is_active", "id", "token_key", "created"])
    def test_nothing_of_the_servers_is_taken(self, field, admin, anonymous):
        before = state()
        answer = anonymous.post("/api/register", {**NEWCOMER, field: "superadmin"})
        assert answer.status_code == (401 if field == "role" else 422)
        raw = b'{"login": "newcomer", "role": "user", "email": "n@example.com", "password": "correct-horse-battery", "role": "admin"}'
        assert anonymous.generic("POST", "/api/register", raw, content_type="application/json").status_code == 401
        assert anonymous.post("/api/register", {**NEWCOMER, field: "admin"}, format="multipart").status_code in (
            401,
            422,
        )
        assert state() == before


class TestLogin:
    def test_gives_a_token_that_works_everywhere(self, owner, anonymous):
        data = data_of(anonymous.post("/api/login", {"login": "owner", "password": PASSWORD}), "Login successful")
        assert data["token"] and data["refresh_token"] and data["user"]["login"] == "owner"
        for path in ("/api/profile", "/api/v1/auth/me", "/api/auth/me"):
            assert anonymous.get(path, HTTP_AUTHORIZATION=f"Bearer {data['token']}").status_code == 200

    def test_fails_in_one_sentence_whatever_the_cause(self, owner, stranger, anonymous):
        stranger.is_active = False
        stranger.save()
        bodies = []
        for login, password in (("owner", "wrong-password"), ("nobody", PASSWORD), ("stranger", PASSWORD), ("", "x")):
            answer = anonymous.post("/api/login", {"login": login, "password": password})
            if login:
                body = refused(answer, 401, "Invalid login credentials")
                bodies.append({name: body[name] for name in ("message", "errors", "fields", "error_code", "detail")})
            else:
                assert answer.status_code == 422
        assert all(body == bodies[0] for body in bodies)

    def test_asks_for_the_second_factor(self, owner, anonymous):
        owner.two_fa_enabled = True
        owner.save()
        answer = anonymous.post("/api/login", {"login": "owner", "password": PASSWORD})
        data = data_of(answer, "2FA code sent to your email")
        assert data["requires_2fa"] is True and data["user_id"] == str(owner.pk) and data["challenge"]
        assert "token" not in data and "access_token" not in data

    def test_unreadable_bodies_are_400(self, anonymous):
        answer = anonymous.generic("POST", "/api/login", b'{"login":', content_type="application/json")
        assert "Unreadable JSON" in refused(answer, 400, "Invalid request data")["errors"][0]


class TestProfile:
    def test_is_the_callers(self, admin, as_user, anonymous):
        data = data_of(as_user(admin).get("/api/profile"), "Profile retrieved successfully")
        assert set(data) == {
            "user_id", "public_name", "profile_picture_url", "bio", "created_at", "updated_at", "roles",
        }  # fmt: skip
        assert data["roles"] == ["user", "admin"] and data["user_id"] == str(admin.pk)
        refused(anonymous.get("/api/profile"), 401, "Authentication required. Please log in.")

    def test_is_changed_by_put(self, owner, as_user, anonymous):
        client = as_user(owner)
        data = data_of(
            client.put("/api/profile", {"public_name": "Ann <b>x</b>", "bio": "a<script>1</script>b & <i>c</i>"}),
            "Profile updated successfully",
        )
        assert data == {"public_name": "Ann <b>x</b>", "bio": "ab & <i>c</i>"}
        owner.refresh_from_db()
        assert owner.bio == "ab & <i>c</i>"
        before = state()
        for body in ({}, {"role": "admin"}, {"bio": "x", "email": "x@y.zz"}, {"bio": 5}, {"bio": "x" * 5001}, []):
            assert client.put("/api/profile", body).status_code == 422
        assert anonymous.put("/api/profile", {"bio": "x"}).status_code == 401
        assert state() == before

    def test_is_changed_by_post_and_the_rest_is_not_for_members(self, owner, stranger, as_user):
        data = data_of(
            as_user(owner).post(
                "/api/profile",
                {
                    "profile": {"public_name": "New", "bio": "b", "profile_picture_url": "https://example.com/a.png"},
                    "user_id": str(stranger.pk),
                    "base": {"email": "taken@example.com"},
                    "roles": ["superadmin"],
                },
            ),
            "User profile updated successfully",
        )
        assert data["user_id"] == str(owner.pk) and data["roles"] == ["user"]
        assert data["profile_picture_url"] == "https://example.com/a.png"
        for user in (owner, stranger):
            user.refresh_from_db()
        assert (owner.public_name, owner.email, owner.role) == ("New", "owner@example.com", "user")
        assert stranger.public_name == "" and stranger.role == "user"
        before = state()
        for body in ({}, {"user_id": str(stranger.pk)}, {"profile": {}}, {"profile": {"role": "admin"}}, {"x": 1}, []):
            assert as_user(owner).post("/api/profile", body).status_code == 422, body
        assert state() == before

    def test_of_anybody_is_changed_by_admins(self, owner, superadmin, as_user):
        body = {
            "user_id": str(owner.pk),
            "profile": {"public_name": "New Name", "bio": "New bio"},
            "base": {"email": "newemail@example.com"},
            "roles": ["user", "admin"],
        }
        data = data_of(as_user(superadmin).post("/api/profile", body), "User profile updated successfully")
        assert data["roles"] == ["user", "admin"] and data["public_name"] == "New Name"
        owner.refresh_from_db()
        assert (owner.email, owner.verified, owner.role) == ("newemail@example.com", False, "admin")

    def test_roles_and_superadmins_are_not_the_admins_to_change(self, owner, admin, superadmin, as_user):
        client, before = as_user(admin), state()
        up = client.post("/api/profile", {"user_id": str(owner.pk), "roles": ["admin"]})
        refused(up, 403, "Only superadmin can change user roles")
        touch = client.post("/api/profile", {"user_id": str(superadmin.pk), "profile": {"bio": "x"}})
        assert touch.status_code == 403
        taken = client.post("/api/profile", {"user_id": str(owner.pk), "base": {"email": "admin@example.com"}})
        assert taken.status_code == 422
        for body in ({"roles": ["boss"]}, {"roles": []}, {"base": {"email": "x"}}, {"base": {"is_active": False}}):
            assert client.post("/api/profile", {"user_id": str(owner.pk), **body}).status_code == 422
        refused(client.post("/api/profile", {"user_id": "x", "profile": {"bio": "x"}}), 404, "User not found")
        assert state() == before
        same = client.post("/api/profile", {"user_id": str(owner.pk), "roles": ["user"], "profile": {"bio": "ok"}})
        assert same.status_code == 200

    def test_of_others_is_seen_by_admins(self, owner, admin, member, as_user, anonymous):
        data = data_of(as_user(admin).get(f"/api/profile/{owner.pk}"), "Profile retrieved successfully")
        assert data["user_id"] == str(owner.pk)
        refused(as_user(admin).get("/api/profile/nobody"), 404, "User not found")
        for path in (owner.pk, member.pk, "nobody"):  # the role is looked at first
            refused(as_user(member).get(f"/api/profile/{path}"), 403, "Admin access required")
            assert anonymous.get(f"/api/profile/{path}").status_code == 401


def test_accounts_are_listed_for_admins(admin, owner, member, as_user, anonymous):
    answer = as_user(admin).get("/api/admin/users")
    data = data_of(answer, "Users retrieved successfully")
    assert len(data) == answer.json()["total"] == 3
    assert set(data[0]) == {"id", "login", "email", "is_active", "created_at"}
    assert len(as_user(admin).get("/api/admin/users?page=2&per_page=2").json()["data"]) == 1
    refused(as_user(admin).get("/api/admin/users?x=1"), 400, "Invalid request data")
    refused(as_user(member).get("/api/admin/users"), 403, "Admin access required")
    refused(anonymous.get("/api/admin/users"), 401, "Authentication required. Please log in.")


def test_invites_as_documented(admin, as_user, anonymous):
    client = as_user(admin)
    made = data_of(client.post("/api/admin/invites"), "Invite created successfully", 201)
    assert made["created_by"] == str(admin.pk) and made["used_by"] is None and made["used_at"] is None
    assert made["code"].isalnum() and made["code"] == made["code"].upper()
    [listed] = data_of(client.get("/api/admin/invites"), "Invites retrieved successfully")
    assert listed["creator_login"] == "admin" and listed["creator_email"] == "admin@example.com"
    services.put("registration_mode", "INVITE_ONLY", by="")
    refused(anonymous.post("/api/register", NEWCOMER), 422, "An invite code is required to register.")
    wrong = refused(
        anonymous.post("/api/register", {**NEWCOMER, "inviteCode": "ABC123XYZ"}), 422, "Invalid invite code"
    )
    assert wrong["fields"] == {"inviteCode": ["Invalid invite code"]}
    assert anonymous.post("/api/register", {**NEWCOMER, "inviteCode": made["code"].lower()}).status_code == 201
    [used] = data_of(client.get("/api/admin/invites"), "Invites retrieved successfully")
    assert used["user_login"] == "newcomer" and used["used_at"]
    refused(client.delete(f"/api/admin/invites/{made['id']}"), 422, "Cannot delete used invite")
    other = data_of(client.post("/api/admin/invites", {}), "Invite created successfully", 201)
    assert data_of(client.delete(f"/api/admin/invites/{other['id']}"), "Invite deleted successfully") == {
        "deleted": True
    }
    refused(client.delete(f"/api/admin/invites/{other['id']}"), 404, "Invite not found")
    assert Invite.objects.count() == 1


def test_everybody_sees_the_mode_of_registration(anonymous):
    for mode in ("INVITE_ONLY", "CLOSED", "OPEN"):
        services.put("registration_mode", mode, by="")
        data = data_of(anonymous.get("/api/cms/registration-mode"), "Registration mode retrieved successfully")
        assert data == {"registration_mode": mode}


def test_elements_are_taken_out_of_json_and_forms_but_not_of_passwords(admin, anonymous):
    odd = "<script>long</script>-word-17"
    for number, form in enumerate(("json", "multipart")):
        body = {"login": f"someone{number}", "email": f"s{number}@example.com", "password": odd}
        body["public_name"] = "A<iframe src=x></iframe>nn"
        assert anonymous.post("/api/register", body, format=form).status_code == 201
        user = User.objects.get(username=f"someone{number}")
        assert user.public_name == "Ann" and user.check_password(odd)
        for path in ("/api/login", "/api/v1/auth/login"):
            assert anonymous.post(path, {"login": user.username, "password": odd}).status_code == 200


def test_other_methods_are_405_in_the_same_body(anonymous):
    body = refused(anonymous.get("/api/login"), 405, 'Method "GET" not allowed.')
    assert body["error_code"] == "METHOD_NOT_ALLOWED"


ODD = [None, True, 5, -1.5, "", "x" * 70_000, [], [[]], ["x", 1], {}, {"a": {"b": []}}, "\ufffd\u202e", "é" * 300]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_whatever_is_sent_is_answered(value, superadmin, owner, as_user):
    client = as_user(superadmin)
    for method, path, names in (
        ("post", "/api/register", ("login", "email", "password", "inviteCode", "role", "public_name", "setup_token")),
        ("post", "/api/login", ("login", "password", "email")),
        ("put", "/api/profile", ("public_name", "bio", "profile_picture_url")),
        ("post", "/api/profile", ("profile", "user_id", "base", "roles", "current_password")),
        ("post", "/api/admin/invites", ("email", "role", "expires_at")),
        ("put", "/api/cms/settings/custom", ("value", "type", "category", "description")),
    ):
        for body in (value, *({name: value} for name in names), {**NEWCOMER, names[0]: value}):
            answer = getattr(client, method)(path, body)
            assert answer.status_code < 500 and isinstance(answer.json()["success"], bool), (path, body)
    assert User.objects.get(pk=superadmin.pk).role == "superadmin"
