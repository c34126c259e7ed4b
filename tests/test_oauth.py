"""Signing in by a provider on a real server, with real browsers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from accounts.models import ExternalIdentity, SignIn, User
from accounts.oauth.tests import provider
from tests import chromium
from tests.server import free_port, server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_db")]

ANN = {"sub": "ann-1", "email": "ann@example.com", "email_verified": True, "name": "Ann Lee"}
OAUTH = "/api/v1/oauth/oidc"


@contextmanager
def installation(folder: Path, theirs: str, **environ: str):
    User.objects.create_superuser("first@example.com", "correct-horse-battery", username="first")
    oidc = {
        "OIDC_NAME": "Acme",
        "OIDC_ISSUER": theirs,
        "OIDC_CLIENT_ID": provider.CLIENT_ID,
        "OIDC_CLIENT_SECRET": provider.CLIENT_SECRET,
    }
    with server(folder, **oidc, **environ) as running:
        httpx.put(f"{theirs}/-/state", json={"people": {"ann": ANN}}).raise_for_status()
        yield running


def sign_in(http: httpx.Client, begin: str, login: str = "ann") -> httpx.Response:
    """As a browser does: to the provider, its form, and back."""
    page = http.get(begin, follow_redirects=True)
    place = str(page.url.join(re.search(r'action="([^"]*)"', page.text)[1].replace("&amp;", "&")))
    there = http.post(place, data={"login": login})
    assert there.status_code == 302, there.text
    return http.get(there.headers["Location"])


def test_people_sign_in_over_sockets_and_each_answer_counts_once(tmp_path):
    with provider.running() as theirs, installation(tmp_path, theirs) as ours:
        listed = httpx.get(f"{ours.url}/api/v1/oauth/providers").json()["items"]
        assert listed == [{"id": "oidc", "name": "Acme", "login_url": f"{ours.url}{OAUTH}/login"}]
        with httpx.Client() as http:
            answer = sign_in(http, listed[0]["login_url"])
            assert answer.status_code == 200 and answer.json()["user"]["oauth_provider"] == "oidc"
            assert answer.headers["Cache-Control"] == "no-store"
            assert http.get(answer.url).status_code == 400
            bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            assert httpx.get(f"{ours.url}/api/v1/auth/me", headers=bearer).json()["name"] == "Ann Lee"
            assert httpx.get(f"{ours.url}/admin/", headers={"Cookie": "; ".join(http.cookies)}).status_code == 302
        with httpx.Client() as stranger:
            assert stranger.get(answer.url).status_code == 400
        for path in ("github/login", "google/login", "oidc/login?collection=nothing"):
            assert httpx.get(f"{ours.url}/api/v1/oauth/{path}").status_code == 404
        log = ours.log.read_text()
        assert answer.json()["access_token"] not in log and provider.CLIENT_SECRET not in log


def test_many_windows_of_somebody_new_make_one_account(tmp_path):
    with provider.running() as theirs, installation(tmp_path, theirs) as ours:

        def come(number: int) -> httpx.Response:
            with httpx.Client(timeout=60) as http:
                return sign_in(http, f"{ours.url}{OAUTH}/login")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(come, range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({answer.json()["user"]["id"] for answer in answers}) == 1
        assert User.objects.count() == 2 and ExternalIdentity.objects.count() == 1 and SignIn.objects.count() == 8


def test_a_code_is_exchanged_once_however_many_try(tmp_path):
    with provider.running() as theirs, installation(tmp_path, theirs, CORS_ORIGINS="https://app.example.com") as ours:
        with httpx.Client() as http:
            place = sign_in(http, f"{ours.url}{OAUTH}/login?redirect_to=https://app.example.com/in").headers["Location"]
        code = dict(parse_qsl(urlsplit(place).query))["code"]

        def exchange(number: int) -> int:
            return httpx.post(f"{ours.url}/api/v1/oauth/exchange", json={"code": code}, timeout=60).status_code

        with ThreadPoolExecutor(10) as pool:
            assert sorted(pool.map(exchange, range(10))) == [200] + [400] * 9
        assert SignIn.objects.count() == 1


class App(BaseHTTPRequestHandler):
    """A page of another origin that signs its people in by ours, as docs/oauth.md says."""

    api = ""

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        script = f"""
            const api = {json.dumps(self.api)}, told = new URLSearchParams(location.search)
            const show = what => {{ document.body.innerText = JSON.stringify(what) }}
            const send = (path, body, token) => fetch(api + path, {{
                method: 'POST', body: JSON.stringify(body),
                headers: {{'Content-Type': 'application/json', ...(token && {{Authorization: 'Bearer ' + token}})}},
            }}).then(answer => answer.json())
            if (told.has('code'))
                send('/api/v1/oauth/exchange', {{code: told.get('code')}}).then(body => {{
                    sessionStorage.token = body.access_token; show(body.user)
                }})
            else if (told.has('link'))
                send('/api/v1/auth/identities', {{code: told.get('link')}}, sessionStorage.token).then(show)
            else if (told.has('error')) show(Object.fromEntries(told))
            else show('welcome')
        """
        content = f"<!doctype html><title>App</title><body><script>{script}</script>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def app() -> Any:
    port = free_port()
    serving = ThreadingHTTPServer(("127.0.0.1", port), App)
    Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{port}"
    serving.shutdown()
    serving.server_close()


@pytest.mark.skipif(chromium.BINARY is None, reason="needs a browser")
def test_a_browser_goes_the_whole_way_and_back_to_the_page_that_asked(tmp_path, app):
    with (
        provider.running() as theirs,
        installation(tmp_path, theirs, CORS_ORIGINS=app) as ours,
        chromium.page(tmp_path / "browser") as page,
    ):
        App.api = ours.url
        at_the_provider(page, lambda: page.open(f"{ours.url}{OAUTH}/login?redirect_to={app}/in"), "ann")
        shown = page.wait(lambda: ours_says(page, "oauth_provider"))
        assert (shown["email"], shown["oauth_provider"]) == ("ann@example.com", "oidc")
        assert page.run("location.origin") == app and SignIn.objects.get().method == "oauth:oidc"
        # The page, signed in, adds another identity to the account.
        second = {"sub": "ann-2", "email": "ann@work.example", "email_verified": True}
        httpx.put(f"{theirs}/-/state", json={"people": {"work": second}})
        url = page.run(
            f"send('/api/v1/auth/identities/oidc/link', {{redirect_to: '{app}/me'}}, sessionStorage.token).then(b => b.url)"
        )
        at_the_provider(page, lambda: page.open(url), "work")
        assert page.wait(lambda: ours_says(page, "provider"))["email"] == "ann@work.example"
        assert ExternalIdentity.objects.count() == 2
        # Who says no comes back too; and without a page of one's own, the answer is a page of ours.
        at_the_provider(page, lambda: page.open(f"{ours.url}{OAUTH}/login?redirect_to={app}/in"), deny=True)
        assert page.wait(lambda: ours_says(page, "error"))["error"] == "access_denied"
        at_the_provider(page, lambda: page.open(f"{ours.url}{OAUTH}/login"), "work")
        page.wait("document.body.innerText.includes('access_token')")
        # The end of somebody else's sign-in, opened in this browser, signs nobody in.
        with httpx.Client() as mallory:
            begun = mallory.get(f"{ours.url}{OAUTH}/login", follow_redirects=True)
            action = re.search(r'action="([^"]*)"', begun.text)[1].replace("&amp;", "&")
            foreign = mallory.post(str(begun.url.join(action)), data={"login": "work"}).headers["Location"]
        before = SignIn.objects.count()
        page.open(foreign)
        page.wait("document.body.innerText.includes('not begun in this browser')")
        assert SignIn.objects.count() == before


def at_the_provider(page: chromium.Page, go: Callable[[], None], login: str = "", deny: bool = False) -> None:
    go()
    page.wait("document.title === 'Provider' && !!document.forms[0]")
    button = "[name=deny]" if deny else "button:not([name])"
    page.run(f"document.forms[0].login.value = {json.dumps(login)}; document.querySelector('{button}').click()")


def ours_says(page: chromium.Page, key: str) -> dict[str, Any] | None:
    """What the page shows, once it shows something with that key."""
    text = page.run("document.title === 'App' ? document.body.innerText : ''")
    shown = json.loads(text) if text and text.startswith("{") else {}
    return shown if key in shown else None
