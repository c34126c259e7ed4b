"""Who may make which account, and what values an account takes."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from accounts import first_account
from accounts.models import SetupToken, User

PASSWORD = "correct-horse-battery"
pytestmark = pytest.mark.django_db


def register(client, **fields):
    return client.post("/api/v1/auth/register", {"email": "eve@example.com", "password": PASSWORD, **fields})


def test_the_first_account_becomes_superadmin_and_the_second_does_not(anonymous):
    assert register(anonymous).json()["role"] == "superadmin"
    assert register(anonymous, email="second@example.com").json()["role"] == "user"


def test_in_production_the_first_account_needs_the_printed_token_and_it_works_once(anonymous, settings):
    settings.PRODUCTION = True
    token = first_account.new_token()
    assert token not in str(list(SetupToken.objects.values()))
    assert register(anonymous).status_code == 403
    assert register(anonymous, setup_token="wrong").status_code == 400
    assert not User.all_objects.exists()
    assert register(anonymous, setup_token=token).json()["role"] == "superadmin"
    assert not SetupToken.objects.exists()
    again = register(anonymous, setup_token=token, email="second@example.com")
    assert again.status_code == 201 and again.json()["role"] == "user"


def test_a_newly_printed_token_replaces_the_older(anonymous, settings):
    settings.PRODUCTION = True
    older, newer = first_account.new_token(), first_account.new_token()
    assert register(anonymous, setup_token=older).status_code == 400
    assert register(anonymous, setup_token=newer).status_code == 201


def test_a_deleted_superadmin_does_not_open_the_set_up_again(superadmin, anonymous):
    superadmin.soft_delete()
    assert register(anonymous).json()["role"] == "user"


@pytest.mark.parametrize(
    ("caller", "role", "status"),
    [
        (None, "admin", 401),
        (None, "superadmin", 401),
        ("member", "admin", 403),
        ("admin", "admin", 201),
        ("admin", "superadmin", 403),
        ("superadmin", "superadmin", 201),
    ],
)
def test_a_role_is_given_only_from_above(caller, role, status, request, admin, as_user, anonymous):
    client = as_user(request.getfixturevalue(caller)) if caller else anonymous
    before = User.all_objects.count()
    answer = register(client, role=role)
    assert answer.status_code == status, answer.content
    assert User.all_objects.count() == before + (status == 201)
    if status == 201:
        assert answer.json()["role"] == role


@pytest.mark.parametrize(
    ("fields", "bad"),
    [
        ({"email": "no-address"}, "email"),
        ({"email": 5}, "email"),
        ({"email": ["eve@example.com"]}, "email"),
        ({"email": "x" * 300 + "@example.com"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "password123"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": {"a": 1}}, "password"),
        ({"password": None}, "password"),
        ({"password": "eve@example.com"}, "password"),
        ({"password_confirm": "something-else"}, "password_confirm"),
        ({"username": "ab"}, "username"),
        ({"username": "x" * 51}, "username"),
        ({"username": "some@body"}, "username"),
        ({"username": "new\nline"}, "username"),
        ({"username": True}, "username"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"language": "<script>"}, "language"),
        ({"avatar_url": "javascript:alert(1)"}, "avatar_url"),
        ({"phone_number": "call me"}, "phone_number"),
        ({"role": "boss"}, "role"),
        ({"role": ["user"]}, "role"),
        ({"bio": "x" * 5001}, "bio"),
        ({"verified": True}, "verified"),
        ({"is_active": False}, "is_active"),
        ({"token_key": "x"}, "token_key"),
        ({"id": "x"}, "id"),
    ],
)
def test_a_bad_value_is_422_and_names_its_field(fields, bad, admin, anonymous):
    before = User.all_objects.count()
    answer = register(anonymous, **fields)
    assert answer.status_code == 422, answer.content
    assert list(answer.json()["fields"]) == [bad]
    assert User.all_objects.count() == before


# Their lower case is longer, or Django takes them for ASCII because it compares without case.
ODD_ADDRESSES = [f"{'İ' * 100}@example.com", "ı@example.com", "ſam@example.com", "\u212aim@example.com"]


@pytest.mark.engine
@pytest.mark.parametrize("path", ["/api/v1/auth/register", "/api/register"])
@pytest.mark.parametrize("email", [*ODD_ADDRESSES, f"{'a' * 60}@{'b' * 60}.{'c' * 60}.{'İ' * 60}.example"])
def test_an_address_is_measured_as_it_is_kept_and_ascii_before_the_at(path, email, admin, anonymous):
    body = {"email": email, "username": "evelyn", "login": "evelyn", "password": PASSWORD}
    answer = anonymous.post(
        path, {name: body[name] for name in body if name != ("username" if "v1" in path else "login")}
    )
    assert answer.status_code == 422 and list(answer.json()["fields"]) == ["email"], answer.content
    assert User.all_objects.count() == 1


def test_all_problems_are_told_at_once(admin, anonymous):
    answer = register(anonymous, email="x", password="123", username="!", wrong=1)
    assert set(answer.json()["fields"]) == {"email", "password", "username", "wrong"}


@pytest.mark.parametrize("body", [[], [1], "text", 7, None, True])
def test_a_body_that_is_no_object_is_refused(body, admin, anonymous):
    for path in ("register", "login", "refresh"):
        answer = anonymous.post(f"/api/v1/auth/{path}", body, format="json")
        assert answer.status_code in (400, 422), (path, answer.content)
        assert answer.json()["success"] is False


def test_an_account_without_a_username_gets_a_free_one(admin, anonymous):
    names = {register(anonymous, email=f"jo.doe@{host}.example").json()["username"] for host in ("one", "two", "three")}
    assert len(names) == 3 and "jo.doe" in names


def test_createsuperuser_works_without_questions(db, monkeypatch, anonymous):
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "Root@example.com")
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "root")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", interactive=False, verbosity=0)
    user = User.objects.get()
    assert (user.email, user.role, user.verified) == ("root@example.com", "superadmin", True)
    with pytest.raises(CommandError, match="already"):
        call_command("createsuperuser", interactive=False, verbosity=0)
    assert User.objects.count() == 1
    assert anonymous.post("/api/v1/auth/login", {"login": "root", "password": PASSWORD}).status_code == 200
