"""The document of the API in envelopes (docs/envelopes.md), section by section: one test for each thing it promises.

What else must hold of these endpoints stands with the apps; here is what a client that was written from the
document relies on, in its own words. ``settings`` and ``checkdb`` have their tests beside their code.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from rest_framework.test import APIClient

from accounts.models import Invite, User
from cms_project.front import Front
from core import ratelimit
from core.asgi import send_answer
from settings_app import services as site
from settings_app.models import Theme
from settings_app.themes import services as themes
from tests.asgi_client import Answer, call, request

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("schema_db")]
PASSWORD = "correct-horse-battery"
NEW = {"login": "username", "email": "user@example.com", "password": "password-for-1"}
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture
def boss(admin: User, as_user: Callable[[User], APIClient]) -> APIClient:
    return as_user(admin)


def success(answer: Any, status: int = 200, message: str | None = None) -> Any:
    body = answer.json()
    assert answer.status_code == status and body["success"] is True, body
    assert message is None or body["message"] == message
    assert "errors" not in body
    return body["data"]


def refusal(answer: Any, status: int, message: str) -> list[str]:
    body = answer.json()
    assert (answer.status_code, body["success"], body["message"]) == (status, False, message), body
    assert "data" not in body and all(isinstance(line, str) for line in body["errors"])
    errors: list[str] = body["errors"]
    return errors


class TestResponseFormat:
    def test_every_answer_is_an_envelope_and_a_bearer_token_says_who_asks(self, owner, as_user):
        body = as_user(owner).get("/api/profile").json()
        assert set(body) == {"success", "data", "message", "timestamp"} and isinstance(body["message"], str)

    def test_refusals_have_the_documented_sentences(self, anonymous, owner, as_user, boss):
        broken = anonymous.generic("POST", "/api/login", b"{", content_type="application/json")
        refusal(broken, 400, "Invalid request data")
        refusal(anonymous.get("/api/profile"), 401, "Authentication required. Please log in.")
        refusal(as_user(owner).get("/api/admin/users"), 403, "Admin access required")
        refusal(boss.get("/api/nothing/of/the/kind"), 404, "Resource not found")
        assert len(refusal(anonymous.post("/api/register", {}), 422, "Validation failed")) == 3

    def test_a_fault_of_ours_is_500_in_the_documented_sentence(self, monkeypatch, anonymous):
        monkeypatch.setattr("settings_app.themes.selectors.current", lambda: 1 // 0)
        anonymous.raise_request_exception = False
        refusal(anonymous.get("/api/cms/active-theme"), 500, "Internal server error")


class TestRegister:
    def test_makes_an_account_and_tells_three_things_of_it(self, admin, anonymous):
        data = success(anonymous.post("/api/register", NEW), 201, "User registered successfully")
        assert set(data) == {"id", "login", "email"} and re.fullmatch(UUID, data["id"])
        assert (data["login"], data["email"]) == ("username", "user@example.com")

    def test_tells_what_is_wrong_in_sentences(self, admin, anonymous):
        answer = anonymous.post("/api/register", {**NEW, "login": "abc", "email": "x"})
        assert refusal(answer, 422, "Validation failed") == [
            "Username must be at least 4 characters",
            "Email format is invalid",
        ]

    def test_is_open_unless_set_otherwise(self, admin, anonymous):
        success(anonymous.post("/api/register", NEW), 201)

    def test_is_refused_while_it_is_closed(self, admin, anonymous):
        site.put("registration_mode", "CLOSED", by="")
        refusal(anonymous.post("/api/register", NEW), 403, "Registration is currently closed.")

    def test_by_invitation_asks_for_a_code(self, admin, anonymous):
        site.put("registration_mode", "INVITE_ONLY", by="")
        refusal(anonymous.post("/api/register", NEW), 422, "An invite code is required to register.")

    def test_by_invitation_refuses_an_unknown_code_and_a_used_one(self, admin, anonymous, boss):
        site.put("registration_mode", "INVITE_ONLY", by="")
        refusal(anonymous.post("/api/register", {**NEW, "inviteCode": "ABC123XYZ"}), 422, "Invalid invite code")
        code = success(boss.post("/api/admin/invites"), 201)["code"]
        success(anonymous.post("/api/register", {**NEW, "inviteCode": code}), 201)
        other = {"login": "other", "email": "other@example.com", "password": "password-for-2", "inviteCode": code}
        refusal(anonymous.post("/api/register", other), 422, "Invite code has already been used")

    def test_by_invitation_notes_who_has_used_the_code(self, admin, anonymous, boss):
        site.put("registration_mode", "INVITE_ONLY", by="")
        code = success(boss.post("/api/admin/invites"), 201)["code"]
        data = success(anonymous.post("/api/register", {**NEW, "inviteCode": code}), 201)
        [invite] = success(boss.get("/api/admin/invites"))
        assert invite["used_by"] == data["id"] and invite["used_at"]
        assert User.objects.get(pk=data["id"]).used_invite_code == code

    def test_makes_the_first_account_an_admin_whatever_the_mode_and_takes_no_name_twice(self, anonymous, settings):
        settings.PRODUCTION = False
        site.put("registration_mode", "CLOSED", by="")
        data = success(anonymous.post("/api/register", NEW), 201)
        assert User.objects.get(pk=data["id"]).role == "superadmin"
        site.put("registration_mode", "OPEN", by="")
        same_login = anonymous.post("/api/register", {**NEW, "email": "other@example.com"})
        refusal(same_login, 422, "This username is already taken.")
        same_email = anonymous.post("/api/register", {**NEW, "login": "another"})
        refusal(same_email, 422, "This email address is already registered.")


class TestLogin:
    def test_answers_a_token(self, owner, anonymous):
        answer = anonymous.post("/api/login", {"login": "owner", "password": PASSWORD})
        token = success(answer, 200, "Login successful")["token"]
        success(anonymous.get("/api/profile", HTTP_AUTHORIZATION=f"Bearer {token}"))

    def test_fails_in_one_sentence(self, owner, anonymous):
        for login in ("owner", "nobody"):
            answer = anonymous.post("/api/login", {"login": login, "password": "wrong-password"})
            refusal(answer, 401, "Invalid login credentials")


class TestProfile:
    def test_is_told_with_roles(self, admin, boss):
        data = success(boss.get("/api/profile"), 200, "Profile retrieved successfully")
        assert list(data) == [
            "user_id", "public_name", "profile_picture_url", "bio", "created_at", "updated_at", "roles",
        ]  # fmt: skip
        assert data["roles"] == ["user", "admin"] and data["created_at"].endswith("Z")

    def test_is_changed_by_put(self, owner, as_user):
        body = {"public_name": "New Display Name", "bio": "Updated biography"}
        assert success(as_user(owner).put("/api/profile", body), 200, "Profile updated successfully") == body
        assert as_user(owner).put("/api/profile", {}).status_code == 422

    def test_is_changed_by_post(self, owner, as_user):
        profile = {"public_name": "New Name", "bio": "New bio", "profile_picture_url": "/img/avatar.png"}
        data = success(
            as_user(owner).post("/api/profile", {"profile": profile}), 200, "User profile updated successfully"
        )
        assert {name: data[name] for name in profile} == profile

    def test_of_somebody_else_is_changed_by_admins_alone(self, owner, stranger, superadmin, as_user):
        body = {
            "user_id": str(owner.pk),
            "profile": {"public_name": "New Name", "bio": "New bio"},
            "base": {"email": "newemail@example.com"},
            "roles": ["user", "admin"],
        }
        mine = success(as_user(stranger).post("/api/profile", body))
        assert mine["user_id"] == str(stranger.pk) and mine["roles"] == ["user"]
        data = success(as_user(superadmin).post("/api/profile", body))
        owner.refresh_from_db()
        assert data["user_id"] == str(owner.pk) and (owner.email, owner.role) == ("newemail@example.com", "admin")

    def test_of_anybody_is_told_to_admins(self, owner, stranger, as_user, boss):
        assert success(boss.get(f"/api/profile/{owner.pk}"))["user_id"] == str(owner.pk)
        assert boss.get("/api/profile/nobody").status_code == 404
        refusal(as_user(stranger).get(f"/api/profile/{owner.pk}"), 403, "Admin access required")


class TestRecords:
    BODY = {
        "title": "New Record", "description": "Record description", "content": "Markdown content here",
        "tags": ["tag1", "tag2"], "categories": ["category1"], "is_published": True,
    }  # fmt: skip

    def test_are_listed_the_published_ones_for_all(self, boss, anonymous):
        for published in (True, False):
            success(boss.post("/api/records", {**self.BODY, "is_published": published}), 201)
        [record] = success(anonymous.get("/api/records"), 200, "Records retrieved successfully")
        assert list(record) == [
            "id", "title", "description", "content", "user_id", "public_name", "tags", "categories", "is_published",
            "created_at", "updated_at",
        ]  # fmt: skip
        assert len(success(boss.get("/api/records"))) == 2

    def test_are_told_one_by_one(self, boss, anonymous):
        record = success(boss.post("/api/records", self.BODY), 201)
        path = f"/api/records/{record['id']}"
        assert success(anonymous.get(path), 200, "Record retrieved successfully") == record
        boss.put(path, {"is_published": False})
        assert anonymous.get(path).status_code == anonymous.get("/api/records/unknown").status_code == 404

    def test_are_made_by_admins(self, boss, admin, owner, as_user):
        data = success(boss.post("/api/records", self.BODY), 201, "Record created successfully")
        assert {name: data[name] for name in self.BODY} == self.BODY and data["user_id"] == str(admin.pk)
        refusal(as_user(owner).post("/api/records", self.BODY), 403, "Admin access required")
        errors = refusal(boss.post("/api/records", {}), 422, "Validation failed")
        assert errors == ["Title is required.", "Content is required."]

    def test_are_changed_by_admins(self, boss, owner, as_user):
        path = f"/api/records/{success(boss.post('/api/records', self.BODY), 201)['id']}"
        change = {
            "title": "Updated Title", "description": "Updated description", "content": "Updated content",
            "tags": ["newtag"], "categories": ["newcategory"], "is_published": False,
        }  # fmt: skip
        data = success(boss.put(path, change))
        assert {name: data[name] for name in change} == change
        refusal(as_user(owner).put(path, change), 403, "Admin access required")

    def test_are_deleted_by_admins_without_a_word(self, boss, owner, as_user):
        path = f"/api/records/{success(boss.post('/api/records', self.BODY), 201)['id']}"
        refusal(as_user(owner).delete(path), 403, "Admin access required")
        answer = boss.delete(path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert boss.delete(path).status_code == 404

    def test_come_in_pages_by_category_tag_and_search(self, boss, anonymous):
        for number in range(3):
            success(boss.post("/api/records", {**self.BODY, "title": f"T{number}", "tags": [f"t{number}"]}), 201)
        data = success(anonymous.get("/api/records?page=2&size=2&categories=category1"))
        assert data["pagination"] == {"page": 2, "size": 2, "total": 3, "total_pages": 2}
        assert [record["title"] for record in data["data"]] == ["T0"]
        assert [record["title"] for record in success(anonymous.get("/api/records?tags=t1,t2"))["data"]] == ["T2", "T1"]
        assert [record["title"] for record in success(anonymous.get("/api/records?search=t2"))["data"]] == ["T2"]
        assert anonymous.get("/api/records?size=51").status_code == 422


class TestThemes:
    SETTINGS = {
        "primary_color": "#00FF00", "secondary_color": "#808080ff", "background_color": "#222222",
        "surface_color": "#444444", "text_color": "#E0E0E0", "font_family": "'Share Tech Mono', monospace",
        "custom_css": "",
    }  # fmt: skip

    @pytest.fixture
    def theme(self, boss: APIClient) -> str:
        body = {"name": "Theme Name", "description": "Theme description", "is_active": True, "settings": self.SETTINGS}
        return str(success(boss.post("/api/themes", body), 201)["id"])

    def test_are_listed_and_several_may_be_active(self, theme, anonymous):
        listed = success(anonymous.get("/api/themes"))
        assert len(listed) == 2 and all(one["is_active"] for one in listed)
        keys = ["id", "name", "description", "is_active", "is_default", "created_by", "created_at"]
        assert list(listed[1])[:7] == keys and re.fullmatch(UUID, listed[1]["id"])

    def test_are_told_one_by_one(self, theme, anonymous, admin):
        data = success(anonymous.get(f"/api/themes/{theme}"))
        assert (data["name"], data["is_default"], data["created_by"]) == ("Theme Name", False, str(admin.pk))
        assert anonymous.get(f"/api/themes/{admin.pk}").status_code == 404

    def test_have_settings_by_key(self, theme, anonymous):
        assert success(anonymous.get(f"/api/themes/{theme}/settings")) == self.SETTINGS

    def test_are_made_by_admins(self, boss, owner, as_user):
        body = {
            "name": "New Theme", "description": "Theme description", "is_active": False,
            "settings": {"primary_color": "#FF0000", "secondary_color": "#00FF00", "background_color": "#000000"},
        }  # fmt: skip
        data = success(boss.post("/api/themes", body), 201)
        assert {name: data[name] for name in body} == body
        refusal(as_user(owner).post("/api/themes", body), 403, "Admin access required")

    def test_are_changed_and_deleted_by_admins(self, theme, boss, owner, as_user):
        path = f"/api/themes/{theme}"
        for method in ("put", "delete"):
            refusal(getattr(as_user(owner), method)(path, {"name": "x"}), 403, "Admin access required")
        assert success(boss.put(path, {"name": "Renamed"}))["name"] == "Renamed"
        success(boss.delete(path))
        assert boss.get(path).status_code == 404

    def test_have_an_active_one_for_everybody(self, theme, boss, anonymous):
        success(boss.post(f"/api/themes/{theme}/activate"))
        data = success(anonymous.get("/api/themes/active"), 200, "Active theme retrieved successfully")
        named = {"id": theme, "name": "Theme Name", "description": "Theme description"}
        assert data == {"theme": named, "settings": self.SETTINGS}
        Theme.objects.all().delete()
        refusal(anonymous.get("/api/themes/active"), 404, "No active theme found")

    def test_take_one_setting_and_are_preferred_by_users(self, theme, boss, owner, as_user):
        path = f"/api/themes/{theme}/settings"
        success(boss.post(path, {"key": "primary_color", "value": "#123456", "type": "color"}))
        assert success(boss.get(path))["primary_color"] == "#123456"
        empty = refusal(boss.post(path, {"key": "primary_color", "value": ""}), 400, "Invalid request data")
        assert empty == ["Key and non-empty value are required"]
        mine = f"/api/themes/user/{owner.pk}/preference"
        success(as_user(owner).post(mine, {"theme_id": theme}))
        assert success(as_user(owner).get(mine))["theme_id"] == theme


class TestActiveTheme:
    def test_of_the_settings_is_told_to_all_and_set_by_admins(self, boss, anonymous, owner, as_user):
        theme = str(themes.create({"name": "Other", "description": "d", "is_active": True}, by="").pk)
        path = "/api/cms/active-theme"
        refusal(as_user(owner).put(path, {"theme_id": theme}), 403, "Admin access required")
        assert refusal(boss.put(path, {}), 422, "Validation failed") == ["Theme id is required."]
        success(boss.put(path, {"theme_id": theme}))
        data = success(anonymous.get(path), 200, "Active theme retrieved successfully")
        assert data == {"id": theme, "name": "Other", "description": "d"}

    def test_is_written_for_the_front_end(self, boss, settings, tmp_path: Path):
        settings.DATA_DIR = tmp_path
        message = 'Theme "Default" config written successfully'
        data = success(boss.put("/api/admin/theme/write-config", {}), 200, message)
        assert list(data) == [
            "primary", "secondary", "background", "surface", "text", "border", "muted", "error", "success",
            "font-family", "font-size", "radius", "spacing", "shadow", "custom_css",
        ]  # fmt: skip
        assert (tmp_path / "theme-config.json").is_file()
        other = themes.create({"name": "Other"}, by="")
        message = 'Theme "Other" config written successfully'
        success(boss.put("/api/admin/theme/write-config", {"theme_id": str(other.pk)}), 200, message)
        Theme.objects.all().delete()
        refusal(boss.put("/api/admin/theme/write-config"), 404, "No active theme found")


class TestInvites:
    def test_are_made(self, boss, admin):
        data = success(boss.post("/api/admin/invites"), 201, "Invite created successfully")
        assert {"id", "code", "created_by", "created_at", "used_by", "used_at"} <= set(data)
        assert data["created_by"] == str(admin.pk) and data["used_by"] is data["used_at"] is None

    def test_are_listed_with_who_made_and_used_them(self, boss, admin, anonymous):
        code = success(boss.post("/api/admin/invites"), 201)["code"]
        success(anonymous.post("/api/register", {**NEW, "inviteCode": code}), 201)
        [invite] = success(boss.get("/api/admin/invites"), 200, "Invites retrieved successfully")
        assert (invite["creator_login"], invite["creator_email"]) == (admin.username, admin.email)
        assert (invite["user_login"], invite["user_email"]) == ("username", "user@example.com")

    def test_are_deleted_while_nobody_has_used_them(self, boss, anonymous):
        used, unused = (success(boss.post("/api/admin/invites"), 201) for _ in range(2))
        success(anonymous.post("/api/register", {**NEW, "inviteCode": used["code"]}), 201)
        path = "/api/admin/invites/"
        assert success(boss.delete(path + unused["id"]), 200, "Invite deleted successfully") == {"deleted": True}
        refusal(boss.delete(path + used["id"]), 422, "Cannot delete used invite")
        assert boss.delete(path + unused["id"]).status_code == 404
        assert Invite.objects.count() == 1


def test_accounts_are_listed_for_admins(boss, owner, as_user):
    listed = success(boss.get("/api/admin/users"), 200, "Users retrieved successfully")
    assert {tuple(one) for one in listed} == {("id", "login", "email", "is_active", "created_at")}
    refusal(as_user(owner).get("/api/admin/users"), 403, "Admin access required")


class TestRateLimiting:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[float]:
        settings.RATE_LIMIT_ENABLED, settings.ACCESS_LOG, settings.REDIS_URL = True, False, ""
        now = [1000.0]
        monkeypatch.setattr(ratelimit, "monotonic", lambda: now[0])
        return now

    def test_allows_a_hundred_a_minute_and_bans_for_thirty_seconds(self, clock):
        answers = asked([("GET", "/api/themes")] * 101)
        assert [answer.status for answer in answers] == [200] * 100 + [429]
        assert answers[-1].json()["message"] == "Rate limit exceeded. Try again in 30 seconds."

    def test_allows_one_sign_in_a_second_and_bans_for_longer_each_time_until_one_succeeds(self, clock):
        def ban(status: int) -> int:
            """Two tries at once, the first of which ends so, then wait until the ban is over."""
            inner.status = status
            first, second = (runner.run(call(front, "POST", "/api/login")) for _ in range(2))
            assert (first.status, second.status) == (status, 429)
            seconds = int(second.header("Retry-After") or 0)
            clock[0] += seconds
            return seconds

        inner = Inner()
        front = Front(inner)
        with asyncio.Runner() as runner:
            assert [ban(401) for _ in range(3)] == [30, 900, 27_000]
            assert ban(200) == 30
            runner.run(front.close())

    def test_is_told_in_headers_of_all_answers(self, clock):
        [first, second] = asked([("GET", "/api/themes"), ("GET", "/api/v1/themes")])
        assert [answer.header("X-RateLimit-Limit") for answer in (first, second)] == ["100", "100"]
        assert [answer.header("X-RateLimit-Remaining") for answer in (first, second)] == ["99", "98"]
        assert re.fullmatch(r"\d{10}", first.header("X-RateLimit-Reset") or "")

    def test_counts_each_address_by_itself_and_is_off_in_development(self, clock, settings):
        answers = asked([("GET", "/api/themes")] * 101, client="192.0.2.1") + asked([("GET", "/api/themes")])
        assert [answer.status for answer in answers[-2:]] == [429, 200]
        settings.RATE_LIMIT_ENABLED = False
        assert {answer.status for answer in asked([("GET", "/api/themes")] * 110)} == {200}
        assert configured.ENV == "development"


class TestSecurity:
    def test_only_configured_origins_are_let_in(self, settings):
        settings.RATE_LIMIT_ENABLED, settings.ACCESS_LOG = False, False
        settings.CORS_ALLOW_ALL_ORIGINS, settings.CORS_ALLOWED_ORIGINS = False, ["https://shop.example"]
        for origin, allowed in (("https://shop.example", "https://shop.example"), ("https://other.example", None)):
            answer = request(Front(Inner()), path="/api/themes", headers={"Origin": origin})
            assert answer.header("Access-Control-Allow-Origin") == allowed

    def test_headers_protect_browsers(self):
        answer = request(Front(Inner()), path="/api/themes")
        assert answer.header("X-Frame-Options") == "DENY" and answer.header("X-XSS-Protection") == "1; mode=block"
        assert answer.header("X-Content-Type-Options") == "nosniff"

    def test_input_is_cleaned_of_elements_that_run(self, boss, owner, as_user):
        dirty, clean = "a<script>1</script><iframe src=x></iframe><object>x</object>b", "ab"
        assert success(as_user(owner).put("/api/profile", {"bio": dirty}))["bio"] == clean
        record = {"title": dirty, "content": dirty, "tags": [dirty]}
        data = success(boss.post("/api/records", record), 201)
        assert (data["title"], data["content"], data["tags"]) == (clean, clean, [clean])


class Inner:
    """What stands behind the front, where only the front matters: it answers a status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send_answer(send, self.status, [], b"{}")


def asked(requests: list[tuple[str, str]], client: str = "127.0.0.1") -> list[Answer]:
    """These requests, one after another, to one front."""

    async def run() -> list[Answer]:
        front = Front(Inner())
        answers = [await call(front, method, path, client=client) for method, path in requests]
        await front.close()
        return answers

    return asyncio.run(run())
