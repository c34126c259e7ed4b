"""A provider over HTTP, and browsers that go there and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from django.core.cache import cache
from django.http import HttpResponse
from rest_framework.test import APIClient

from accounts.models import User
from accounts.oauth import protocols
from accounts.oauth.tests import provider

OAUTH = "/api/v1/oauth/"
AUTH = "/api/v1/auth/"
APP = "https://app.example.com"
ANN = {"sub": "ann-1", "email": "ann@example.com", "email_verified": True, "name": "Ann Lee"}


@pytest.fixture(scope="session")
def provider_url() -> Iterator[str]:
    with provider.running() as url:
        yield url


class Theirs:
    """The provider, as a test sees it: its people, what it does wrong, what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client()
        self.set()

    def set(self, wrong: dict[str, Any] | None = None, **people: dict[str, Any]) -> None:
        cache.clear()  # which holds its discovery document
        self.http.put(f"{self.url}/-/state", json={"people": people, "wrong": wrong or {}}).raise_for_status()

    def sign_in(self, begun: str, login: str = "ann", **form: str) -> str:
        """On its page, where ``begun`` leads; where it sends the browser back to."""
        page = self.http.get(begun)
        assert page.status_code == 200, page.text
        found = re.search(r'action="(\?[^"]*)"', page.text)
        assert found
        place = begun.partition("?")[0] + found[1].replace("&amp;", "&")
        answer = self.http.post(place, data={"login": login, **form})
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]


@pytest.fixture
def theirs(provider_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Theirs:
    """All four providers set up, at the process of tests."""
    client = {"client_id": provider.CLIENT_ID, "client_secret": provider.CLIENT_SECRET, "redirect_uri": ""}
    settings.OAUTH_PROVIDERS = {
        "google": client,
        "github": client,
        "microsoft": client
        | {"tenant": "common", "login_url": f"{provider_url}/microsoft", "graph_url": f"{provider_url}/microsoft"},
        "oidc": client | {"name": "Acme", "issuer": provider_url},
    }
    settings.ORIGINS = [APP]
    settings.BASE_URL = "http://testserver"
    for way, place in (
        (
            protocols.GoogleWay,
            {"authorize_url": "/authorize", "access_token_url": "/token", "keys_url": "/jwks", "id_token_issuer": ""},
        ),
        (
            protocols.GitHubWay,
            {
                "authorize_url": "/github/authorize",
                "access_token_url": "/github/access_token",
                "profile_url": "/github/user",
                "emails_url": "/github/user/emails",
            },
        ),
    ):
        for name, path in place.items():
            monkeypatch.setattr(way, name, provider_url + path)
    return Theirs(provider_url)


class Browser:
    """Keeps cookies, as its own; goes to the provider over HTTP and to us through Django."""

    def __init__(self, theirs: Theirs) -> None:
        self.theirs, self.api = theirs, APIClient()

    def begin(self, provider_id: str = "oidc", **query: str) -> str:
        answer = self.api.get(f"{OAUTH}{provider_id}/login", query)
        assert answer.status_code == 302, answer.content
        return answer.headers["Location"]

    def come_back(self, place: str) -> HttpResponse:
        """Follow the provider's redirect to us."""
        assert place.startswith("http://testserver/"), place
        parts = urlsplit(place)
        return self.api.get(parts.path, QUERY_STRING=parts.query)

    def sign_in(self, provider_id: str = "oidc", login: str = "ann", **query: str) -> HttpResponse:
        return self.come_back(self.theirs.sign_in(self.begin(provider_id, **query), login))


@pytest.fixture
def browser(theirs: Theirs) -> Browser:
    return Browser(theirs)


@pytest.fixture
def another_browser(theirs: Theirs) -> Browser:
    return Browser(theirs)


@pytest.fixture
def house(make_user: Callable[..., User]) -> User:
    """An installation that has its first account."""
    return make_user("first", role="superadmin")


@pytest.fixture
def house_again(schema_db: None, house: User) -> User:
    """The same, where collections are made."""
    return house


def query_of(answer: HttpResponse) -> dict[str, str]:
    """Of the redirect to a page."""
    assert answer.status_code == 302, answer.content
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
