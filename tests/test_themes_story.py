"""Themes where they are seen: in a real browser, and while several admins change them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError

from accounts.models import User
from collections_app.tests.threads import at_once
from core.errors import Conflict, NotFound
from settings_app.models import Theme
from settings_app.themes import selectors, services
from tests import chromium

NIGHT = {
    "background_color": "#102030", "surface_color": "#203040", "text_color": "#e0e0e0", "primary_color": "#00ff00",
    "custom_css": "main { outline: 3px solid rgb(1, 2, 3) }",
}  # fmt: skip
PASSWORD = "correct-horse-battery"


@pytest.mark.slow
@pytest.mark.skipif(chromium.BINARY is None, reason="needs a browser")
class TestInABrowser:
    @pytest.fixture
    def page(self, live_server: Any, admin: User, tmp_path: Path) -> Iterator[chromium.Page]:
        with chromium.page(tmp_path) as page:
            yield page

    def seen(self, page: chromium.Page, url: str) -> dict[str, str]:
        """Background of the page, and the outline that the custom CSS would draw."""
        page.open(url)
        page.wait(f"location.href.startsWith('{url}') && document.readyState == 'complete' && !!document.body")
        style = "getComputedStyle(document.body).backgroundColor + '|' + getComputedStyle(document.querySelector('main') || document.body).outlineColor"
        ground, outline = str(page.run(style)).split("|")
        return {"ground": ground, "outline": outline}

    def test_every_page_has_the_colours_and_only_those_without_a_form_the_css(self, page, live_server, admin):
        theme = services.create({"name": "Night", "settings": NIGHT}, by="")
        for holds in (False, True):
            if holds:
                services.activate(str(theme.pk), by="")
            for path in ("/admin/login/", "/reset-password", "/register", "/api/v1/themes"):
                found = self.seen(page, live_server.url + path)
                assert (found["ground"] == "rgb(16, 32, 48)") is holds, (path, found)
                assert found["outline"] != "rgb(1, 2, 3)", path
            assert (self.seen(page, f"{live_server.url}/nope")["outline"] == "rgb(1, 2, 3)") is holds
        self.seen(page, f"{live_server.url}/admin/login/")
        fields = {"username": admin.email, "password": PASSWORD}
        for name, value in fields.items():
            page.run(f"document.querySelector('[name={name}]').value = '{value}'")
        page.run("document.forms[0].submit()")
        page.wait("location.pathname == '/admin/' && document.readyState == 'complete'")
        inside = self.seen(page, f"{live_server.url}/admin/password_change/")
        assert inside["ground"] == "rgb(32, 48, 64)" and inside["outline"] != "rgb(1, 2, 3)"


@pytest.mark.engine
@pytest.mark.usefixtures("committed_db")
class TestAtTheSameTime:
    def test_the_theme_of_the_site_is_never_one_that_is_gone(self):
        for _ in range(3):
            theme = str(services.create({"name": "T", "is_active": True}, by="").pk)
            activated, deleted = at_once(
                lambda theme=theme: services.activate(theme, by=""), lambda theme=theme: services.delete(theme)
            )
            current = selectors.current()
            assert current is not None
            if deleted is None:
                assert isinstance(activated, (Theme, NotFound)) and str(current.pk) != theme
            else:
                assert isinstance(deleted, Conflict) and str(current.pk) == theme

    def test_there_is_always_one_default(self):
        one, two = (str(services.create({"name": name}, by="").pk) for name in "ab")
        for _ in range(3):
            told = at_once(*(lambda theme=theme: services.update(theme, {"is_default": True}) for theme in (one, two)))
            assert all(isinstance(answer, (Theme, IntegrityError)) for answer in told), told
            assert Theme.objects.filter(is_default=True, is_active=True).count() == 1
        default = Theme.objects.get(is_default=True)
        other = two if str(default.pk) == one else one
        told = at_once(lambda: services.delete(str(default.pk)), lambda: services.update(other, {"is_default": True}))
        assert not isinstance(told[1], Exception) and Theme.objects.filter(is_default=True).count() == 1
