"""Themes over both surfaces: who sees and changes what, in which words, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from settings_app import services as settings_services
from settings_app import values
from settings_app.models import Theme, ThemeSetting
from settings_app.themes import selectors

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
HACKER = {
    "primary_color": "#00FF00",
    "secondary_color": "#808080ff",
    "background_color": "#222222",
    "surface_color": "#444444",
    "text_color": "#E0E0E0",
    "font_family": "'Share Tech Mono', monospace",
    "custom_css": "",
}


def state() -> list[Any]:
    themes = list(Theme.objects.values_list("pk", "name", "description", "is_active", "is_default"))
    return [
        themes,
        list(ThemeSetting.objects.values_list("theme", "key", "value", "type")),
        values.get("active_theme_id"),
    ]


def data_of(answer: Any, message: str, status: int = 200) -> Any:
    body = answer.json()
    assert answer.status_code == status, body
    assert body["success"] is True and body["message"] == message
    return body["data"]


@pytest.fixture
def boss(admin, as_user):
    return as_user(admin)


@pytest.fixture
def make(boss):
    """``make("Night", is_active=True)``: its id."""

    def made(name: str, **given: Any) -> str:
        answer = boss.post("/api/v1/themes", {"name": name, **given})
        assert answer.status_code == 201, answer.json()
        return answer.json()["id"]

    return made


class TestReading:
    def test_a_default_theme_is_there_from_the_start_and_holds(self, anonymous):
        [theme] = data_of(anonymous.get("/api/themes"), "Themes retrieved successfully")
        assert theme["is_default"] is True and theme["is_active"] is True and theme["created_by"] is None
        active = data_of(anonymous.get("/api/themes/active"), "Active theme retrieved successfully")
        assert active["theme"] == {name: theme[name] for name in ("id", "name", "description")}
        assert active["settings"]["primary_color"] == "#3454d1" and active["settings"]["custom_css"] == ""
        assert anonymous.get("/api/v1/themes/active").json() == active
        assert anonymous.get("/api/v1/themes").json() == [theme]

    def test_only_admins_see_themes_that_are_not_available(self, make, boss, anonymous, as_user, member):
        hidden, shown = make("Hidden"), make("Shown", is_active=True)
        for client in (anonymous, as_user(member)):
            ids = [theme["id"] for theme in client.get("/api/themes").json()["data"]]
            assert shown in ids and hidden not in ids
            for path in (f"/api/themes/{hidden}", f"/api/themes/{hidden}/settings", f"/api/v1/themes/{hidden}"):
                assert client.get(path).status_code == 404
            assert client.get(f"/api/themes/{shown}").json()["data"]["name"] == "Shown"
        assert {hidden, shown} <= {theme["id"] for theme in boss.get("/api/themes").json()["data"]}

    @pytest.mark.parametrize("name", ["nope", "7b0e8c3a-5c1d-4f57-9a51-0d2f6f0a7eff", "0" * 32, "%00", "x" * 300])
    def test_an_unknown_theme_is_404(self, name, boss):
        for path in (f"/api/themes/{name}", f"/api/themes/{name}/settings"):
            assert boss.get(path).json()["message"] in ("Theme not found", "Resource not found")
            assert boss.get(path).status_code == 404
        assert boss.post(f"/api/themes/{name}/activate").status_code == 404
        assert boss.put(f"/api/themes/{name}", {"name": "x"}).status_code == 404
        assert boss.delete(f"/api/themes/{name}").status_code == 404

    def test_without_any_theme_that_is_said(self, anonymous):
        Theme.objects.all().delete()
        for path in ("/api/themes/active", "/api/cms/active-theme", "/api/v1/themes/active"):
            answer = anonymous.get(path)
            assert (answer.status_code, answer.json()["message"]) == (404, "No active theme found")
        assert anonymous.get("/theme.css").status_code == 200


class TestChanging:
    def test_only_admins_change_and_the_role_is_looked_at_first(self, make, anonymous, as_user, member):
        theme = make("Mine")
        before = state()
        calls = [
            ("post", "/api/themes", {"name": "x"}),
            ("put", f"/api/themes/{theme}", {"name": "x"}),
            ("put", "/api/themes/nope", {"name": "x"}),
            ("delete", f"/api/themes/{theme}", None),
            ("post", f"/api/themes/{theme}/activate", None),
            ("post", f"/api/themes/{theme}/settings", {"key": "a", "value": "b"}),
            ("put", "/api/cms/active-theme", {"theme_id": theme}),
            ("put", "/api/admin/theme/write-config", {}),
        ]
        for method, path, body in calls:
            refused = getattr(as_user(member), method)(path, body)
            assert (refused.status_code, refused.json()["message"]) == (403, "Admin access required")
            assert getattr(anonymous, method)(path, body).status_code == 401
        assert state() == before

    def test_a_theme_is_made_with_its_settings(self, boss, admin):
        answer = boss.post(
            "/api/themes", {"name": "Hacker", "description": "Green", "is_active": True, "settings": HACKER}
        )
        theme = data_of(answer, "Theme created successfully", 201)
        assert theme["created_by"] == str(admin.pk) and theme["is_active"] and not theme["is_default"]
        assert (
            data_of(boss.get(f"/api/themes/{theme['id']}/settings"), "Theme settings retrieved successfully") == HACKER
        )

    def test_put_changes_what_is_given_and_null_takes_a_key_away(self, make, boss):
        theme = make("Old", description="stays", settings={"primary_color": "red", "text_color": "black"})
        body = {"name": "New", "settings": {"primary_color": None, "radius": "4px"}}
        data = data_of(boss.put(f"/api/themes/{theme}", body), "Theme updated successfully")
        assert (data["name"], data["description"]) == ("New", "stays")
        assert data["settings"] == {"text_color": "black", "radius": "4px"}

    @pytest.mark.parametrize(
        ("key", "value", "fault"),
        [
            ("primary_color", "blurple", "is no colour"),
            ("primary_color", "red;}body{display:none", "is no colour"),
            ("primary_color", "currentColor", "is no colour"),
            ("text_color", 5, "expected a text"),
            ("dark_text_color", "url(x)", "is no colour"),
            ("font_size", "huge", "is no size"),
            ("font_size", "1rem;color:red", "is no size"),
            ("font_family", "Arial; } * { color: red", "is no list of font families"),
            ("font_family", "url(x)", "is no list of font families"),
            ("shadow", "0 0 2px url(x)", "is no shadow"),
            ("shadow", "0 0 2px red; color: blue", "is no shadow"),
            ("Primary", "x", "is no key"),
            ("custom_css", "a{}\n@import url(//x);", "Line 2: @import is not allowed."),
            ("my_number", [1], "expected a text"),
            ("my_text", "x" * 1001, "at most 1,000 characters"),
        ],
    )
    def test_a_value_that_can_not_be_is_told_in_words(self, key, value, fault, make, boss):
        theme, before = make("T"), None
        before = state()
        for answer in (
            boss.put(f"/api/themes/{theme}", {"settings": {key: value, "radius": "3px"}}),
            boss.post(f"/api/themes/{theme}/settings", {"key": key, "value": value}),
            boss.post("/api/themes", {"name": "x", "settings": {key: value}}),
            boss.post("/api/v1/themes", {"name": "x", "settings": {key: value}}),
        ):
            body = answer.json()
            assert answer.status_code == 422 and body["message"] == "Validation failed", body
            assert any(fault in line for line in body["errors"]), body["errors"]
            assert set(body["fields"]) == {f"settings.{key}"}
        assert state() == before

    def test_one_setting_is_set_by_key_value_and_type(self, make, boss):
        theme = make("T")
        path = f"/api/themes/{theme}/settings"
        for body, kept in (
            ({"key": "primary_color", "value": "#123456", "type": "color"}, "#123456"),
            ({"key": "columns", "value": "3", "type": "number"}, 3),
            ({"key": "wide", "value": "true", "type": "boolean"}, True),
            ({"key": "slogan", "value": "Hi <b>you</b>"}, "Hi <b>you</b>"),
            ({"key": "gap", "value": "3px", "type": "size"}, "3px"),
        ):
            assert data_of(boss.post(path, body), "Theme setting saved successfully")["settings"][body["key"]] == kept
        for body in (
            {},
            {"key": "x"},
            {"value": "x"},
            {"key": "", "value": "x"},
            {"key": "x", "value": ""},
            {"key": "x", "value": None},
        ):
            answer = boss.post(path, body).json()
            assert (
                answer["errors"] == ["Key and non-empty value are required"] and answer["error_code"] == "BAD_REQUEST"
            )
        assert boss.post(path, {"key": "primary_color", "value": "red", "type": "string"}).status_code == 422
        assert boss.post(path, {"key": "gap", "value": "red", "type": "size"}).status_code == 422
        assert len(boss.get(path).json()["data"]) == 5

    def test_elements_are_taken_out_of_texts_and_style_sheets_are_refused_whole(self, boss):
        raw = "a{}<script>1</script>b{}"
        body = {"name": "A<script>1</script>b", "settings": {"slogan": raw}}
        data = boss.post("/api/themes", body).json()["data"]
        assert data["name"] == "Ab" and data["settings"] == {"slogan": "a{}b{}"}
        before = state()
        assert boss.post("/api/themes", {"name": "x", "settings": {"custom_css": raw}}).status_code == 422
        path = f"/api/themes/{data['id']}/settings"
        assert boss.post(path, {"key": "custom_css", "value": raw}).status_code == 422
        assert state() == before

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": "x" * 101},
            {"name": 5},
            {"name": "x", "id": "y"},
            [],
            {"name": "x", "settings": []},
            {"name": "x", "is_active": "maybe"},
        ],
    )
    def test_what_is_no_theme_is_422(self, body, boss):
        before = state()
        for path in ("/api/themes", "/api/v1/themes"):
            assert boss.post(path, body).status_code == 422
        assert state() == before

    def test_a_theme_has_at_most_a_hundred_settings(self, make, boss):
        theme = make("T", settings={f"key{number}": "x" for number in range(100)})
        before = state()
        assert boss.put(f"/api/themes/{theme}", {"settings": {"one_more": "x"}}).status_code == 422
        assert state() == before

    def test_hard_to_read_colours_are_saved_and_told(self, make, boss):
        theme = make("T")
        body = boss.put(f"/api/themes/{theme}", {"settings": {"background_color": "#fff", "text_color": "#eee"}}).json()
        assert body["data"]["settings"]["text_color"] == "#eee"
        assert body["warnings"][0].startswith("text_color on background_color has a contrast of 1.2:1")
        bare = boss.put(f"/api/v1/themes/{theme}", {"settings": {"text_color": "#000"}}).json()
        assert bare["warnings"] == []


class TestTheThemeOfTheSite:
    def test_is_set_by_activate_and_by_put(self, make, boss, anonymous):
        one, two = make("One"), make("Two", is_active=True)
        data = data_of(boss.post(f"/api/themes/{one}/activate"), "Theme activated successfully")
        assert data["id"] == one and data["is_active"] is True
        assert data_of(anonymous.get("/api/cms/active-theme"), "Active theme retrieved successfully") == {
            "id": one, "name": "One", "description": "",
        }  # fmt: skip
        data_of(boss.put("/api/cms/active-theme", {"theme_id": two}), "Active theme updated successfully")
        assert anonymous.get("/api/themes/active").json()["data"]["theme"]["name"] == "Two"
        assert values.get("active_theme_id") == two
        assert len([t for t in anonymous.get("/api/themes").json()["data"] if t["is_active"]]) == 3

    def test_needs_a_theme_id_that_is_one(self, boss):
        before = state()
        answer = boss.put("/api/cms/active-theme", {})
        assert (answer.status_code, answer.json()["fields"]) == (422, {"theme_id": ["This field is required."]})
        assert boss.put("/api/cms/active-theme", {"theme_id": "nope"}).status_code == 404
        assert boss.put("/api/v1/themes/active", {"theme_id": None}).status_code == 422
        setting = boss.put("/api/cms/settings/active_theme_id", {"value": "nope"})
        assert setting.status_code == 422 and setting.json()["errors"] == ["There is no such theme that is active."]
        assert state() == before

    def test_and_the_default_can_not_be_deleted_or_hidden(self, make, boss):
        default, mine = str(Theme.objects.get().pk), make("Mine")
        boss.post(f"/api/themes/{mine}/activate")
        before = state()
        for theme, words in ((default, "This is the default theme."), (mine, "This is the theme of the site.")):
            for answer in (
                boss.delete(f"/api/themes/{theme}"),
                boss.delete(f"/api/v1/themes/{theme}"),
                boss.put(f"/api/themes/{theme}", {"is_active": False}),
            ):
                assert answer.status_code == 409 and answer.json()["message"].startswith(words)
        assert boss.put(f"/api/themes/{default}", {"is_default": False}).status_code == 409
        assert state() == before
        boss.put(f"/api/themes/{mine}", {"is_default": True})
        assert [str(theme.pk) for theme in Theme.objects.filter(is_default=True)] == [mine]
        assert data_of(boss.delete(f"/api/themes/{default}"), "Theme deleted successfully") == {"deleted": True}
        assert boss.get(f"/api/themes/{default}").status_code == 404

    def test_falls_back_to_the_default_when_the_setting_leads_nowhere(self, make, boss):
        theme = make("Mine")
        boss.post(f"/api/themes/{theme}/activate")
        Theme.objects.filter(pk=theme).update(is_active=False)
        assert selectors.current().is_default
        settings_services.remove("active_theme_id")
        assert selectors.current().is_default


class TestFiles:
    def test_the_style_sheet_has_the_colours_and_never_the_custom_css(self, make, boss, anonymous):
        theme = make("Hacker", settings={**HACKER, "custom_css": "a { color: gold }"})
        first = anonymous.get("/theme.css")
        assert first["Content-Type"].startswith("text/css") and first["Cache-Control"] == "public, no-cache"
        assert anonymous.get("/theme.css", HTTP_IF_NONE_MATCH=first["ETag"]).status_code == 304
        boss.post(f"/api/themes/{theme}/activate")
        text = anonymous.get("/theme.css", HTTP_IF_NONE_MATCH=first["ETag"]).content.decode()
        assert "--page: #222222" in text and "--accent: #00ff00" in text and "--theme-primary: #00FF00" in text
        assert "gold" not in text and "prefers-color-scheme" not in text
        assert anonymous.get("/theme-custom.css").content.decode() == "a { color: gold }"
        assert anonymous.post("/theme.css").status_code == 405

    def test_a_theme_with_dark_colours_has_both(self, anonymous):
        text = anonymous.get("/theme.css").content.decode()
        assert "@media (prefers-color-scheme: dark)" in text and "--page: #131418" in text and "--page: #f6f6f4" in text

    def test_our_pages_can_be_read_whatever_the_theme_says(self, make, boss, anonymous):
        theme = make("Bad", settings={"background_color": "#fff", "text_color": "#fff", "primary_color": "yellow"})
        boss.post(f"/api/themes/{theme}/activate")
        text = anonymous.get("/theme.css").content.decode()
        assert "--text: #ffffff" not in text and "--accent: #ffff00" not in text

    def test_the_config_is_written_served_and_in_the_folder(self, make, boss, anonymous, settings, tmp_path: Path):
        settings.DATA_DIR = tmp_path
        missing = anonymous.get("/theme-config.json")
        assert missing.status_code == 404
        theme = make("Hacker", settings=HACKER)
        written = data_of(boss.put("/api/admin/theme/write-config"), 'Theme "Default" config written successfully')
        assert list(written) == [
            "primary", "secondary", "background", "surface", "text", "border", "muted", "error", "success",
            "font-family", "font-size", "radius", "spacing", "shadow", "custom_css",
        ]  # fmt: skip
        answer = boss.put("/api/admin/theme/write-config", {"theme_id": theme})
        written = data_of(answer, 'Theme "Hacker" config written successfully')
        assert written["primary"] == "#00FF00" and written["border"] == "#d9d9d4"
        served = anonymous.get("/theme-config.json")
        assert served.json() == written == json.loads((tmp_path / "theme-config.json").read_text())
        assert served["Cache-Control"] == "public, no-cache"
        assert anonymous.get("/theme-config.json", HTTP_IF_NONE_MATCH=served["ETag"]).status_code == 304
        assert [path.name for path in tmp_path.iterdir()] == ["theme-config.json"]
        boss.put(f"/api/themes/{theme}", {"settings": {"primary_color": "#fff"}})
        assert anonymous.get("/theme-config.json").json() == written
        assert boss.put("/api/admin/theme/write-config", {"theme_id": "nope"}).status_code == 404
        assert anonymous.get("/theme-config.json").json() == written


def test_the_page_for_browsers_has_forms_for_admins_only(boss, anonymous, admin, client):
    theme = Theme.objects.get()
    client.force_login(admin)
    for path in ("/api/v1/themes", f"/api/v1/themes/{theme.pk}", "/api/v1/themes/active"):
        for who, forms in ((client, True), (anonymous, False)):
            page = who.get(path, HTTP_ACCEPT="text/html")
            assert page.status_code == 200 and ('class="edit"' in page.content.decode()) is forms, path
    sent = client.post("/api/v1/themes", {"name": "By form", "settings": '{"radius": "3px"}'}, HTTP_ACCEPT="text/html")
    assert sent.status_code == 201, sent.content.decode()
    assert Theme.objects.get(name="By form").values() == {"radius": "3px"}
    assert client.post("/api/v1/themes", {"name": "x", "settings": "{"}, HTTP_ACCEPT="text/html").status_code == 422


PAGES = ["/admin/login/", "/reset-password", "/verify", "/register", "/api/v1/themes", "/nope"]


@pytest.mark.parametrize("path", PAGES)
def test_our_pages_take_the_themes_colours_and_only_error_pages_its_css(path, admin, client):
    page = client.get(path, HTTP_ACCEPT="text/html")
    text = page.content.decode()
    assert '<link rel="stylesheet" href="/theme.css">' in text
    assert ("theme-custom.css" in text) is (path == "/nope")
    policy = page.get("Content-Security-Policy", "")
    assert "unsafe" not in policy and (not policy or "'self'" in policy)


def test_the_admin_takes_the_themes_colours_and_never_its_css(admin, client):
    client.force_login(admin)
    for path in ("/admin/", "/admin/password_change/", f"/admin/accounts/user/{admin.pk}/change/"):
        text = client.get(path).content.decode()
        assert text.index("/theme.css") < text.index("core/admin.css") and "theme-custom.css" not in text
