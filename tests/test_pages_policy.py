"""In a real browser our own pages do nothing that their Content-Security-Policy forbids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import chromium
from tests.server import Server, server

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium.BINARY is None, reason="there is no Chromium here")]

EMAIL, PASSWORD = "boss@example.com", "correct-horse-battery"
# Before anything of a page runs: what the browser refuses to load, run or apply is noted.
NOTE = """
    window.refused = []
    document.addEventListener('securitypolicyviolation', event =>
        refused.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile} ${event.sample}`))
"""
STRANGERS = [
    "/docs", "/api/redoc", "/api/v1/", "/api/v1/collections", "/health/", "/verify?token=nothing", "/verify",
    "/reset-password?token=nothing", "/register", "/nothing", "/admin/login/",
]  # fmt: skip
ADMINS = [
    "/admin/", "/admin/accounts/user/", "/admin/accounts/user/add/", "/admin/monitoring/loggedrequest/?q=api",
    "/admin/password_change/", "/api/v1/collections", "/api/v1/collections/posts/records", "/api/v1/logs",
]  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("policy")
    with server(folder, DATABASE_URL=f"sqlite:///{folder / 'app.db'}") as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.page(tmp_path_factory.mktemp("browser")) as page:
        page.call("Page.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=NOTE)
        yield page


def refused(browser: chromium.Page, url: str) -> list[str]:
    """What the browser refused on that page, once all of it is there."""
    browser.open(url)
    browser.wait(f"location.href.startsWith({url.partition('?')[0]!r}) && document.readyState === 'complete'")
    if url.endswith(("/docs", "/redoc")):
        browser.wait("document.querySelectorAll('[id*=operation],.opblock').length > 3")
    # What a page still does, it does in the next moments of its event loop.
    browser.run("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    assert isinstance(browser.run("window.refused"), list)
    return [f"{url}: {one}" for one in browser.run("window.refused")]


def test_nothing_is_refused_on_any_page(house: Server, browser: chromium.Page, tmp_path: Path) -> None:
    found = refused(browser, f"{house.url}/admin/")  # the set-up page
    browser.run(
        f"document.querySelector('[name=email]').value = {EMAIL!r};"
        f"for (const one of document.querySelectorAll('[type=password]')) one.value = {PASSWORD!r};"
        "document.querySelector('form').submit()"
    )
    browser.wait("document.readyState === 'complete' && !document.querySelector('[name=password_confirm]')")
    login = {"email": EMAIL, "password": PASSWORD}
    token = httpx.post(f"{house.url}/api/v1/auth/login", json=login).json()["access_token"]
    posts: dict[str, Any] = {"name": "posts", "schema": [{"name": "title", "type": "text"}], "list_rule": None}
    boss = {"Authorization": f"Bearer {token}"}
    assert httpx.post(f"{house.url}/api/v1/collections", json=posts, headers=boss).status_code == 201
    for path in ADMINS:
        found += refused(browser, house.url + path)
    browser.call("Network.clearBrowserCookies")
    for path in STRANGERS:
        found += refused(browser, house.url + path)
    assert found == []


def test_a_script_in_a_page_is_refused(house: Server, browser: chromium.Page) -> None:
    """So the test above would have seen one."""
    for path in ("/admin/login/", "/api/v1/", "/nothing", "/verify"):
        refused(browser, house.url + path)
        browser.run(
            "window.ran = false; const script = document.createElement('script');"
            "script.textContent = 'window.ran = true'; document.body.append(script)"
        )
        browser.wait("refused.some(one => one.startsWith('script-src'))")
        assert browser.run("window.ran") is False


def test_every_page_says_what_it_may(house: Server) -> None:
    for path in (*STRANGERS, "/admin/"):
        answer = httpx.get(house.url + path, headers={"Accept": "text/html"})
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy, path
        assert "unsafe" not in policy or path == "/api/redoc", path
    many = httpx.get(f"{house.url}/api/v1/", headers={"Accept": "text/html", "Host": "elsewhere.example"})
    assert many.status_code == 400 and "frame-ancestors 'none'" in many.headers["Content-Security-Policy"]
