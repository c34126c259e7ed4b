"""The theme that somebody wants: for themselves and for admins, on both surfaces."""

from __future__ import annotations

import pytest

from accounts.models import ThemePreference
from settings_app.models import Theme
from settings_app.themes import services

pytestmark = [pytest.mark.django_db, pytest.mark.engine]


@pytest.fixture
def night():
    return str(services.create({"name": "Night", "is_active": True}, by="").pk)


def path(user, surface="/api"):
    return f"{surface}/themes/user/{user.pk}/preference"


@pytest.mark.parametrize("surface", ["/api", "/api/v1"])
def test_is_the_accounts_own_choice_until_it_is_taken_back(surface, night, owner, as_user):
    client = as_user(owner)
    default = str(Theme.objects.get(is_default=True).pk)

    def told(answer):
        assert answer.status_code == 200, answer.json()
        body = answer.json()
        return body if surface == "/api/v1" else body["data"]

    first = told(client.get(path(owner, surface)))
    assert first["theme_id"] is None and first["theme"]["id"] == default and first["user_id"] == str(owner.pk)
    chosen = told(client.post(path(owner, surface), {"theme_id": night}))
    assert chosen["theme_id"] == night and chosen["theme"]["name"] == "Night"
    assert told(client.get(path(owner, surface))) == chosen
    assert told(client.post(path(owner, surface), {"theme_id": None})) == first


def test_is_for_the_account_and_for_admins_only(night, owner, stranger, admin, as_user, anonymous):
    for client, status in ((as_user(stranger), 403), (anonymous, 401)):
        assert (
            client.get(path(owner)).status_code == client.post(path(owner), {"theme_id": night}).status_code == status
        )
    assert not ThemePreference.objects.exists()
    assert as_user(admin).post(path(owner), {"theme_id": night}).status_code == 200
    assert as_user(owner).get(path(owner)).json()["data"]["theme_id"] == night
    assert as_user(admin).get("/api/themes/user/nobody/preference").status_code == 404


def test_takes_only_themes_that_can_be_chosen(owner, admin, as_user):
    hidden = str(services.create({"name": "Hidden"}, by="").pk)
    for theme_id in (hidden, "nope"):
        assert as_user(owner).post(path(owner), {"theme_id": theme_id}).status_code == 404
    assert as_user(admin).post(path(owner), {"theme_id": hidden}).status_code == 422
    for body in ({}, {"theme_id": 5}, {"theme_id": hidden, "user_id": "x"}, []):
        assert as_user(owner).post(path(owner), body).status_code == 422
    assert not ThemePreference.objects.exists()


def test_ends_with_the_theme_and_with_the_account(night, owner, as_user):
    client = as_user(owner)
    client.post(path(owner), {"theme_id": night})
    services.update(night, {"is_active": False})
    assert client.get(path(owner)).json()["data"]["theme_id"] is None
    services.delete(night)
    assert not ThemePreference.objects.exists()
    other = str(services.create({"name": "Other", "is_active": True}, by="").pk)
    client.post(path(owner), {"theme_id": other})
    owner.soft_delete()
    assert not ThemePreference.objects.exists()
