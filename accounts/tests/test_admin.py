"""Accounts in Django's admin."""

from __future__ import annotations

import pytest

from accounts.models import User

pytestmark = pytest.mark.django_db
LIST = "/admin/accounts/user/"


@pytest.fixture
def office(superadmin, client):
    client.force_login(superadmin)
    return client


def form(**fields):
    given = {
        "email": "eve@example.com",
        "username": "eve",
        "timezone": "UTC",
        "language": "en",
        "role": "user",
    }
    return given | {"is_active": "on"} | fields


def test_an_account_is_made_with_a_password_that_works(office, anonymous):
    assert office.post(f"{LIST}add/", form(new_password="correct-horse-battery")).status_code == 302
    login = {"email": "EVE@example.com", "password": "correct-horse-battery"}
    assert anonymous.post("/api/v1/auth/login", login).status_code == 200


@pytest.mark.parametrize("bad", [{"new_password": ""}, {"new_password": "123"}, {"email": "superadmin@example.com"}])
def test_a_bad_account_is_not_made(bad, office):
    page = office.post(f"{LIST}add/", form(**{"new_password": "correct-horse-battery", **bad}))
    assert page.status_code == 200 and b"errorlist" in page.content
    assert User.objects.count() == 1


@pytest.mark.parametrize("change", [{"new_password": "another-staple-7"}, {"role": "admin"}, {"is_active": ""}])
def test_a_change_there_ends_the_tokens_of_the_account(change, office, member, as_user):
    client = as_user(member)
    given = form(email=member.email, username=member.username) | change
    assert office.post(f"{LIST}{member.pk}/change/", given).status_code == 302
    assert client.get("/api/v1/auth/me").status_code == 401


def test_a_change_of_the_profile_keeps_password_and_tokens(office, member, as_user):
    client, before = as_user(member), member.password
    given = form(email=member.email, username=member.username, bio="Hello")
    assert office.post(f"{LIST}{member.pk}/change/", given).status_code == 302
    assert client.get("/api/v1/auth/me").json()["bio"] == "Hello"
    assert User.objects.get(pk=member.pk).password == before


def test_deleting_is_soft_one_by_one_and_in_bulk(office, member, stranger):
    assert office.post(f"{LIST}{member.pk}/delete/", {"post": "yes"}).status_code == 302
    bulk = {"action": "delete_selected", "_selected_action": [str(stranger.pk)], "post": "yes"}
    assert office.post(LIST, bulk).status_code == 302
    assert User.objects.count() == 1
    assert User.all_objects.exclude(deleted_at=None).count() == 2


def test_nobody_deletes_themselves(office, superadmin):
    assert office.post(f"{LIST}{superadmin.pk}/delete/", {"post": "yes"}).status_code == 403
    bulk = {"action": "delete_selected", "_selected_action": [str(superadmin.pk)], "post": "yes"}
    office.post(LIST, bulk)
    assert User.objects.filter(pk=superadmin.pk).exists()


def test_the_page_never_shows_a_hash_or_a_token_key(office, member):
    page = office.get(f"{LIST}{member.pk}/change/").content.decode()
    assert member.password not in page and member.token_key not in page


def test_the_tables_of_second_factors_have_no_pages(superadmin, client):
    client.force_login(superadmin)
    start = client.get("/admin/").content
    assert b"/admin/accounts/user/" in start and b"/admin/mfa/" not in start and b"/admin/account/" not in start
    assert client.get("/admin/mfa/authenticator/").status_code == 404


@pytest.mark.parametrize("change", [{"role": "user"}, {"is_active": ""}])
def test_the_last_superadmin_stays_one(change, office, superadmin):
    given = form(email=superadmin.email, username=superadmin.username, role="superadmin", verified="on") | change
    assert office.post(f"{LIST}{superadmin.pk}/change/", given).status_code == 409
    superadmin.refresh_from_db()
    assert superadmin.role == "superadmin" and superadmin.is_active
