"""The page that makes the first account in a browser."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from accounts import first_account
from accounts.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "correct-horse-battery"
FORM = {"email": "root@example.com", "password": PASSWORD, "password_confirm": PASSWORD}


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/login", "/admin/accounts/user/"])
def test_it_shows_while_no_account_exists_and_asks_nobody_else_for_anything(path, client):
    page = client.get(path)
    assert page.status_code == 200
    html = page.content.decode()
    assert "Make the first account" in html and "prefers-color-scheme: dark" in html
    own = html.replace('<link rel="stylesheet" href="/theme.css">', "")
    assert not re.search(r"""(src|href)=|url\(|@import|https?://""", own)


def test_the_start_leads_to_the_set_up_first_and_to_the_documents_later(client, make_user):
    assert client.get("/").headers["Location"] == "/admin/"
    make_user("first")
    assert client.get("/").headers["Location"] == "/docs"
    assert client.get("/docs").status_code == 200


def test_it_makes_a_superadmin_and_signs_them_in(client):
    answer = client.post("/admin", FORM)
    assert answer.status_code == 302 and answer.headers["Location"] == "/admin/"
    user = User.objects.get()
    assert (user.email, user.role, user.verified) == ("root@example.com", "superadmin", True)
    assert b"Administration" in client.get("/admin/").content


def test_it_is_gone_once_an_account_exists(owner, client):
    assert client.get("/admin").headers["Location"] == "/admin/login/?next=/admin/"
    assert client.post("/admin/login", FORM).status_code == 200  # the sign-in form, with its complaint
    assert User.objects.count() == 1


def test_bad_values_are_told_on_the_page_and_make_nothing(client):
    answer = client.post("/admin", {**FORM, "password": "123", "email": "<b>x"})
    assert answer.status_code == 422
    assert b"too short" in answer.content and b"<b>x" not in answer.content
    assert not User.objects.exists()


def test_a_form_from_another_site_is_refused(db):
    answer = Client(enforce_csrf_checks=True).post("/admin", FORM)
    assert answer.status_code == 403
    assert not User.objects.exists()


def test_in_production_it_needs_the_printed_token(client, settings):
    settings.PRODUCTION = True
    token = first_account.new_token()
    assert b"setup_token" in client.get("/admin").content
    assert client.post("/admin", FORM).status_code == 403
    assert client.post("/admin", {**FORM, "setup_token": "wrong"}).status_code == 400
    assert not User.objects.exists()
    assert client.post("/admin", {**FORM, "setup_token": token}).status_code == 302


@pytest.mark.parametrize(("who", "enters"), [("superadmin", True), ("admin", True), ("member", False)])
@pytest.mark.parametrize("identifier", ["{0}", "{0}@EXAMPLE.com"])
def test_only_admins_enter_by_name_or_address(who, enters, identifier, request, client):
    request.getfixturevalue(who)
    answer = client.post("/admin/login", {"username": identifier.format(who), "password": PASSWORD})
    assert (answer.status_code == 302) is enters
    assert (client.get("/admin/").status_code == 200) is enters


def test_the_session_is_a_principal_for_the_api_and_needs_the_csrf_token_to_write(admin):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    assert client.get("/api/v1/auth/me").json()["email"] == admin.email
    change = {"current_password": PASSWORD, "new_password": "another-staple-7"}
    assert client.post("/api/v1/auth/change-password", change).status_code == 403
    admin.refresh_from_db()
    assert admin.check_password(PASSWORD)


def test_a_change_of_role_ends_the_session(admin, client):
    client.force_login(admin)
    assert client.get("/admin/").status_code == 200
    User.objects.filter(pk=admin.pk).update(role="user")
    assert client.get("/admin/").status_code == 302
    assert client.get("/api/v1/auth/me").status_code == 401


def test_an_admin_cannot_touch_a_superadmin_or_raise_a_role(admin, superadmin, member, client):
    client.force_login(admin)
    assert client.get(f"/admin/accounts/user/{member.pk}/change/").status_code == 200
    assert client.post(f"/admin/accounts/user/{superadmin.pk}/change/", {"email": "x@example.com"}).status_code == 403
    assert client.post(f"/admin/accounts/user/{superadmin.pk}/delete/", {"post": "yes"}).status_code == 403
    form = {
        "email": member.email,
        "username": "member",
        "timezone": "UTC",
        "language": "en",
        "is_active": "on",
    }
    assert client.post(f"/admin/accounts/user/{member.pk}/change/", {**form, "role": "superadmin"}).status_code == 302
    member.refresh_from_db()
    superadmin.refresh_from_db()
    assert (member.role, superadmin.email, superadmin.deleted_at) == ("user", "superadmin@example.com", None)
