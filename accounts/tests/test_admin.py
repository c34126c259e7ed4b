"""Accounts in Django's admin."""

from __future__ import annotations

import pytest
from django.contrib.auth import hashers
from django.db import connection

from accounts import two_factor
from accounts.models import Mail, User

pytestmark = pytest.mark.django_db
PASSWORD = "correct-horse-battery"
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


@pytest.mark.parametrize(("change", "status"), [({"role": "user"}, 409), ({"is_active": ""}, 400)])
def test_the_last_superadmin_stays_one(change, status, office, superadmin):
    given = form(email=superadmin.email, username=superadmin.username, role="superadmin", verified="on") | change
    assert office.post(f"{LIST}{superadmin.pk}/change/", given).status_code == status
    superadmin.refresh_from_db()
    assert superadmin.role == "superadmin" and superadmin.is_active


# --- the rules, mails and care of the API ------------------------------------------------------


def mails():
    return sorted(Mail.objects.values_list("template", "to"))


def change_of(user, **fields):
    flags = {name: "on" for name in ("verified", "is_active") if getattr(user, name)}
    return {"email": user.email, "username": user.username, "timezone": "UTC", "language": "en", **flags, **fields}


def test_a_new_address_given_there_is_not_verified_and_both_addresses_hear_of_it(office, member):
    assert member.verified
    given = change_of(member, email="elsewhere@example.com", role="user")
    assert office.post(f"{LIST}{member.pk}/change/", given).status_code == 302
    before = member.email
    member.refresh_from_db()
    assert (member.email, member.verified) == ("elsewhere@example.com", False)
    assert mails() == [("email_changed", before), ("verify", "")]


def test_a_new_password_given_there_is_told_to_the_owner(office, member):
    given = change_of(member, new_password="another-staple-7", role="user")
    assert office.post(f"{LIST}{member.pk}/change/", given).status_code == 302
    assert mails() == [("password_changed", "")]


def test_another_phone_number_is_not_verified(office, member):
    User.objects.filter(pk=member.pk).update(phone_number="+43 1 234", phone_verified=True)
    given = change_of(member, phone_number="+43 1 999", role="user")
    assert office.post(f"{LIST}{member.pk}/change/", given).status_code == 302
    member.refresh_from_db()
    assert (member.phone_number, member.phone_verified) == ("+43 1 999", False)


def test_an_account_made_there_is_asked_to_verify_its_address(office):
    assert office.post(f"{LIST}add/", form(new_password=PASSWORD)).status_code == 302
    assert mails() == [("verify", "")]
    assert User.objects.get(username="eve").role == "user"


@pytest.mark.django_db(transaction=True)
def test_no_password_is_hashed_there_while_a_lock_is_held(office, member, monkeypatch):
    inside = []
    real = type(hashers.get_hasher()).encode

    def encode(hasher, *args, **kwargs):
        inside.append(connection.in_atomic_block)
        return real(hasher, *args, **kwargs)

    monkeypatch.setattr(type(hashers.get_hasher()), "encode", encode)
    office.post(f"{LIST}{member.pk}/change/", change_of(member, new_password="another-staple-7", role="user"))
    office.post(f"{LIST}add/", form(new_password=PASSWORD))
    assert inside == [False, False]


def test_only_what_was_changed_is_written(office, member, monkeypatch):
    """Somebody else's change in the same moment stays."""
    real = User.from_db.__func__
    quick = {"password": "x", "is_active": False}

    def from_db(cls, *args, **kwargs):
        user = real(cls, *args, **kwargs)
        if user.pk == member.pk and quick:
            User.objects.filter(pk=member.pk).update(**quick)
            quick.clear()
        return user

    monkeypatch.setattr(User, "from_db", classmethod(from_db))
    assert office.post(f"{LIST}{member.pk}/change/", change_of(member, bio="Hello", role="user")).status_code == 302
    member.refresh_from_db()
    assert (member.bio, member.password, member.is_active) == ("Hello", "x", False)


def test_ones_own_address_and_password_are_not_changed_without_the_current_password(office, superadmin):
    page = office.get(f"{LIST}{superadmin.pk}/change/").content
    assert b'name="new_password"' not in page and b'name="email"' not in page and superadmin.email.encode() in page
    given = change_of(
        superadmin, email="thief@example.com", new_password="another-staple-7", bio="Hi", role="superadmin"
    )
    assert office.post(f"{LIST}{superadmin.pk}/change/", given).status_code == 302
    after = User.objects.get(pk=superadmin.pk)
    assert (after.email, after.password, after.bio) == (superadmin.email, superadmin.password, "Hi")
    assert mails() == []


def test_nobody_lifts_their_own_second_factor_without_the_password(superadmin, member, office):
    for user in (superadmin, member):
        two_factor.enable(user)
    superadmin.second_factor_shown = True
    office.force_login(superadmin)
    chosen = {"action": "turn_off_second_factor", "_selected_action": [str(superadmin.pk), str(member.pk)]}
    assert office.post(LIST, chosen).status_code == 302
    assert User.objects.get(pk=superadmin.pk).two_fa_enabled and not User.objects.get(pk=member.pk).two_fa_enabled


def test_the_page_for_ones_own_password_tells_the_owner_and_keeps_the_session(office, superadmin, as_user):
    elsewhere = as_user(superadmin)
    new = {"new_password1": "another-staple-7", "new_password2": "another-staple-7"}
    wrong = office.post("/admin/password_change/", {"old_password": "wrong", **new})
    assert wrong.status_code == 200 and b"errorlist" in wrong.content and mails() == []
    assert office.post("/admin/password_change/", {"old_password": PASSWORD, **new}).status_code == 302
    assert mails() == [("password_changed", "")]
    assert office.get(LIST).status_code == 200 and elsewhere.get("/api/v1/auth/me").status_code == 401
    assert User.objects.get(pk=superadmin.pk).check_password("another-staple-7")
