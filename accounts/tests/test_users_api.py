"""The list of accounts, one account, changing and deleting it: who may, and what ends with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.forms.models import model_to_dict
from rest_framework.test import APIClient

from accounts import mailing
from accounts.models import ExternalIdentity, Mail, Role, SignIn, User
from accounts.principals import principal_of
from accounts.user_changes import update

pytestmark = [pytest.mark.django_db, pytest.mark.engine]

USERS = "/api/v1/users/"
PASSWORD = "correct-horse-battery"
NEW = "another-staple-7"
ONLY_ADMIN = "Insufficient permissions. Admin role required."


def state() -> list[dict[str, Any]]:
    rows = [{**model_to_dict(user), "token_key": user.token_key} for user in User.all_objects.order_by("pk")]
    return [*rows, {"mails": Mail.objects.count()}]


@pytest.fixture
def cast(admin, superadmin, owner, stranger):
    return {"admin": admin, "superadmin": superadmin, "owner": owner, "stranger": stranger}


@pytest.fixture
def client_of(cast, as_user, anonymous):
    return lambda name: anonymous if name == "anonymous" else as_user(cast[name])


def test_an_admin_lists_accounts_as_a_bare_list(client_of):
    answer = client_of("admin").get(USERS)
    assert answer.status_code == 200
    assert {user["username"] for user in answer.json()} == {"admin", "superadmin", "owner", "stranger"}
    assert not {"password", "token_key", "used_invite_code"} & set(answer.json()[0])
    assert answer.headers["Cache-Control"] == "no-store"
    assert client_of("admin").get(USERS[:-1]).json() == answer.json()


@pytest.mark.parametrize("path", ["", "role/user"])
@pytest.mark.parametrize(("who", "status"), [("owner", 403), ("anonymous", 401), ("superadmin", 200)])
def test_only_admins_list_accounts(client_of, path, who, status):
    answer = client_of(who).get(USERS + path)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["message"] == ONLY_ADMIN


def test_a_list_comes_in_parts_that_fit_together(client_of, make_user):
    for number in range(7):
        make_user(f"more-{number}")
    client = client_of("admin")
    everybody = [user["id"] for user in client.get(USERS).json()]
    parts = [client.get(f"{USERS}?skip={skip}&limit=4").json() for skip in (0, 4, 8)]
    pages = [client.get(f"{USERS}?page={page}&per_page=4").json() for page in (1, 2, 3)]
    assert parts == pages
    assert [user["id"] for part in parts for user in part] == everybody


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=1000", 200),
        ("limit=1001", 422),
        ("limit=0", 422),
        ("skip=-1", 422),
        ("page=0", 422),
        ("per_page=²", 422),
        ("limit=x", 422),
        ("wrong=1", 400),
        ("role=user", 400),
        ("skip=1&page=2", 400),
        ("limit=1&limit=2", 400),
    ],
)
def test_parameters_are_checked(client_of, query, status):
    for path in ("", "role/user"):
        assert client_of("admin").get(f"{USERS}{path}?{query}").status_code == status


def test_accounts_of_one_role(client_of):
    answer = client_of("admin").get(f"{USERS}role/admin")
    assert [user["username"] for user in answer.json()] == ["admin"]
    wrong = client_of("admin").get(f"{USERS}role/boss")
    assert wrong.status_code == 422 and list(wrong.json()["fields"]) == ["role"]


@pytest.mark.parametrize("path", ["get/", ""])
@pytest.mark.parametrize(
    ("who", "status"), [("owner", 200), ("admin", 200), ("superadmin", 200), ("stranger", 403), ("anonymous", 401)]
)
def test_one_account_is_for_itself_and_for_admins(client_of, cast, path, who, status):
    answer = client_of(who).get(f"{USERS}{path}{cast['owner'].pk}")
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["email"] == "owner@example.com"
    if status == 403:
        assert answer.json()["message"] == "Not authorized to view this user"


@pytest.mark.parametrize("wrong", ["no-uuid", "00000000-0000-0000-0000-000000000000", "%00", "é"])
def test_an_unknown_account_is_404_for_admins_and_403_for_others(client_of, wrong):
    for path in ("get/", "", "update/", "delete/"):
        method = {"update/": "put", "delete/": "delete"}.get(path, "get")
        answer = getattr(client_of("admin"), method)(f"{USERS}{path}{wrong}")
        assert (answer.status_code, answer.json()["message"]) == (404, "User not found"), path
        assert getattr(client_of("owner"), method)(f"{USERS}{path}{wrong}").status_code == 403


def test_me_is_the_caller_and_can_be_changed(client_of, cast):
    client = client_of("owner")
    assert client.get(f"{USERS}me").json()["id"] == str(cast["owner"].pk)
    answer = client.patch(
        f"{USERS}me", {"bio": "hello", "timezone": "Europe/Berlin", "profile_picture_url": "https://example.com/z"}
    )
    assert answer.status_code == 200 and answer.json()["bio"] == "hello"
    assert client.put(f"{USERS}me", {"first_name": "Ann"}).json()["first_name"] == "Ann"
    cast["owner"].refresh_from_db()
    user = cast["owner"]
    assert (user.bio, user.timezone, user.avatar_url) == ("hello", "Europe/Berlin", "https://example.com/z")


@pytest.mark.parametrize(
    ("who", "whom", "body", "status"),
    [
        ("stranger", "owner", {"bio": "x"}, 403),
        ("anonymous", "owner", {"bio": "x"}, 401),
        ("admin", "superadmin", {"bio": "x"}, 403),
        ("admin", "superadmin", {"password": NEW}, 403),
        ("owner", "owner", {"role": "admin"}, 403),
        ("owner", "owner", {"role": "user"}, 403),
        ("admin", "owner", {"role": "admin"}, 403),
        ("admin", "admin", {"role": "superadmin"}, 403),
        ("owner", "owner", {"verified": True}, 403),
        ("owner", "owner", {"is_active": False}, 403),
        ("admin", "admin", {"is_active": False}, 400),
        ("owner", "owner", {"password": NEW}, 422),
        ("owner", "owner", {"password": NEW, "current_password": "wrong"}, 422),
        ("admin", "admin", {"password": NEW}, 422),
        ("owner", "owner", {"email": "new@example.com"}, 422),
        ("owner", "owner", {"email": "new@example.com", "current_password": "wrong"}, 422),
        ("owner", "owner", {"password": "short", "current_password": PASSWORD}, 422),
        ("owner", "owner", {"username": "admin"}, 409),
        ("owner", "owner", {"username": "ADMIN"}, 409),
        ("admin", "owner", {"email": "stranger@example.com"}, 409),
        ("admin", "owner", {"password": "owner@example.com"}, 422),
        ("admin", "owner", {"is_active": "perhaps"}, 422),
        ("admin", "owner", {"is_active": None}, 422),
        ("admin", "owner", {"verified": 1}, 422),
        ("admin", "owner", {"email": "x"}, 422),
        ("admin", "owner", {"timezone": "Mars/Olympus"}, 422),
        ("superadmin", "owner", {"role": "boss"}, 422),
        ("superadmin", "owner", [], 422),
        *(
            ("superadmin", "owner", {name: value}, 422)
            for name, value in {
                "id": "00000000-0000-0000-0000-000000000000", "token_key": "x", "created": "2020-01-01T00:00:00Z",
                "created_at": "2020-01-01T00:00:00Z", "updated": "2020-01-01T00:00:00Z", "is_staff": True,
                "is_superuser": True, "two_fa_enabled": False, "phone_verified": True, "deleted_at": None,
                "used_invite_code": "x", "last_login_at": None, "groups": [1], "roles": ["admin"], "wrong": 1,
            }.items()
        ),
    ],
)  # fmt: skip
def test_what_may_not_be_changed_stays(client_of, cast, who, whom, body, status):
    client, before = client_of(who), state()
    for method in ("put", "patch"):
        answer = getattr(client, method)(f"{USERS}update/{cast[whom].pk}", body)
        assert answer.status_code == status, answer.content
        assert state() == before
    if "role" in (body or {}) and status == 403:
        assert answer.json()["message"] == "Only superadmin can change user roles"


def test_duplicate_keys_and_forms_smuggle_nothing_in(client_of, cast):
    client, before = client_of("owner"), state()
    path = f"{USERS}update/{cast['owner'].pk}"
    for raw in (
        '{"bio": "x", "role": "user", "role": "superadmin"}',
        '{"role": "superadmin", "bio": "x", "verified": true}',
        '{"bio": "x", "email_verified": true}',
        '{"bio": "x", "ro\\u006ce": "admin"}',
    ):
        assert client.generic("PUT", path, raw, content_type="application/json").status_code == 403
    for fields in ({"bio": "x", "role": "admin"}, {"bio": "x", "is_active": "false"}):
        assert client.patch(path, fields, format="multipart").status_code == 403
    assert client.patch(path, {"bio": "x", "is_staff": "true"}, format="multipart").status_code == 422
    assert state() == before
    assert client.patch(path, {"bio": "by form"}, format="multipart").status_code == 200
    cast["owner"].refresh_from_db()
    assert cast["owner"].bio == "by form"


def works(client: APIClient) -> bool:
    return client.get(f"{USERS}me").status_code == 200


def test_a_new_password_of_ones_own_counts_and_ends_what_was_signed_in(client_of, cast, anonymous):
    client, other = client_of("owner"), client_of("owner")
    answer = client.put(f"{USERS}update/{cast['owner'].pk}", {"password": NEW, "old_password": PASSWORD})
    assert answer.status_code == 200
    cast["owner"].refresh_from_db()
    assert cast["owner"].check_password(NEW)
    assert not works(client) and not works(other)
    for password, status in ((PASSWORD, 401), (NEW, 200)):
        login = anonymous.post("/api/v1/auth/login", {"login": "owner", "password": password})
        assert login.status_code == status
    assert list(Mail.objects.values_list("template", flat=True)) == ["password_changed"]


def test_an_admin_sets_a_password_without_knowing_the_old_one(client_of, cast):
    theirs = client_of("owner")
    assert client_of("admin").patch(f"{USERS}update/{cast['owner'].pk}", {"password": NEW}).status_code == 200
    cast["owner"].refresh_from_db()
    assert cast["owner"].check_password(NEW) and not works(theirs)


def test_an_address_given_by_an_admin_counts_at_once_unverified(client_of, cast):
    theirs = client_of("owner")
    answer = client_of("admin").put(f"{USERS}update/{cast['owner'].pk}", {"email": "New@Example.com"})
    assert answer.status_code == 200
    assert answer.json()["email"] == "new@example.com" and answer.json()["verified"] is False
    assert not works(theirs)
    assert sorted(Mail.objects.values_list("template", "to")) == [
        ("email_changed", "owner@example.com"),
        ("verify", ""),
    ]


def test_ones_own_address_counts_after_its_confirmation(client_of, cast):
    client = client_of("owner")
    body = {"email": "new@example.com", "current_password": PASSWORD, "bio": "moving"}
    answer = client.patch(f"{USERS}me", body)
    assert answer.status_code == 200 and "confirmation link" in answer.json()["message"]
    assert answer.json()["email"] == "owner@example.com" and answer.json()["bio"] == "moving"
    assert works(client)
    mailing.send_due()
    assert [message.to for message in mail.outbox] == [["new@example.com"]]
    unchanged = client.patch(f"{USERS}me", {"email": "Owner@example.com"})
    assert unchanged.status_code == 200 and "message" not in unchanged.json()


def test_disabling_ends_everything_and_enabling_brings_nothing_back(client_of, cast, anonymous):
    theirs, path = client_of("owner"), f"{USERS}update/{cast['owner'].pk}"
    assert client_of("admin").patch(path, {"is_active": False}).json()["is_active"] is False
    assert not works(theirs)
    assert client_of("admin").patch(path, {"is_active": True, "verified": False}).json()["verified"] is False
    assert not works(theirs)
    assert anonymous.post("/api/v1/auth/login", {"login": "owner", "password": PASSWORD}).status_code == 200


def test_only_a_superadmin_gives_roles_and_a_cut_one_ends_tokens(client_of, cast):
    path = f"{USERS}update/{cast['owner'].pk}/role"
    before = state()
    for who, status in (("admin", 403), ("owner", 403), ("anonymous", 401)):
        answer = client_of(who).put(path, {"new_role": "admin"})
        assert answer.status_code == status
        assert state() == before
    raised = client_of("superadmin").put(path, {"new_role": "admin"})
    assert raised.status_code == 200 and raised.json()["role"] == "admin"
    cast["owner"].refresh_from_db()
    theirs = client_of("owner")
    assert theirs.get(USERS).status_code == 200
    assert client_of("superadmin").put(path, {"new_role": "user"}).status_code == 200
    assert theirs.get(USERS).status_code == 401
    for body in ({"new_role": "boss"}, {}, {"new_role": None}, {"new_role": "user", "x": 1}, {"new_role": ["admin"]}):
        assert client_of("superadmin").put(path, body).status_code == 422
    assert client_of("superadmin").put(f"{USERS}update/nobody/role", {"new_role": "user"}).status_code == 404


def test_deleting_hides_the_account_and_frees_its_names(client_of, cast, anonymous, make_user):
    theirs = client_of("owner")
    ExternalIdentity.objects.create(realm="users", account_id=cast["owner"].pk, provider="google", subject="1")
    answer = client_of("admin").delete(f"{USERS}delete/{cast['owner'].pk}")
    assert answer.status_code == 200 and answer.json() == {"message": "User deleted successfully"}
    assert not works(theirs)
    assert not ExternalIdentity.objects.exists() and not SignIn.objects.of(cast["owner"]).exists()
    assert client_of("admin").get(f"{USERS}get/{cast['owner'].pk}").status_code == 404
    assert anonymous.post("/api/v1/auth/login", {"login": "owner", "password": PASSWORD}).status_code == 401
    assert client_of("admin").delete(f"{USERS}delete/{cast['owner'].pk}").status_code == 404
    make_user("owner")


@pytest.mark.parametrize(
    ("who", "whom", "status", "message"),
    [
        ("owner", "stranger", 403, ONLY_ADMIN),
        ("owner", "owner", 403, ONLY_ADMIN),
        ("anonymous", "owner", 401, "Authentication required. Please log in."),
        ("admin", "admin", 400, "Cannot delete your own account"),
        ("superadmin", "superadmin", 400, "Cannot delete your own account"),
        ("admin", "superadmin", 403, "Only superadmin can change or delete a superadmin"),
    ],
)
def test_who_may_not_delete_changes_nothing(client_of, cast, who, whom, status, message):
    client, before = client_of(who), state()
    spellings = {str(cast[whom].pk), str(cast[whom].pk).upper(), cast[whom].pk.hex, f"{{{cast[whom].pk}}}"}
    for spelling in spellings:  # one account, however its id is written
        answer = client.delete(f"{USERS}delete/{spelling}")
        assert (answer.status_code, answer.json()["message"]) == (status, message)
        assert state() == before


def test_the_last_superadmin_stays_one(client_of, cast):
    client, before = client_of("superadmin"), state()
    for path, body in ((f"update/{cast['superadmin'].pk}/role", {"new_role": "user"}), ("me", {"role": "admin"})):
        answer = client.put(USERS + path, body)
        assert answer.status_code == 409 and answer.json()["error_code"] == "CONFLICT"
        assert state() == before
    disabled = User.objects.create_user("off@example.com", PASSWORD, role=Role.SUPERADMIN, is_active=False)
    assert client.put(f"{USERS}me", {"role": "admin"}).status_code == 409  # who can't sign in is no help
    disabled.is_active = True
    disabled.save()
    assert client.put(f"{USERS}me", {"role": "admin"}).status_code == 200


def test_a_new_phone_number_is_not_verified(owner):
    owner.phone_number, owner.phone_verified = "+49 30 1", True
    owner.save()
    changed, _ = update(principal_of(owner), str(owner.pk), {"bio": "x"})
    assert changed.phone_verified
    changed, _ = update(principal_of(owner), str(owner.pk), {"phone_number": "+49 30 222"})
    assert not changed.phone_verified


def test_an_account_of_an_auth_collection_is_nobody_here(schema_db, make_collection, cast, anonymous):
    make_collection("members", type="auth", create_rule=None)
    made = anonymous.post(
        "/api/v1/collections/members/auth/register", {"email": "owner@example.com", "password": PASSWORD}
    )
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {made.json()['access_token']}")
    mine, theirs, before = made.json()["id"], cast["owner"].pk, state()
    for method, path, status in (
        ("get", USERS, 403),
        ("get", f"{USERS}role/user", 403),
        ("get", f"{USERS}me", 401),
        ("patch", f"{USERS}me", 401),
        ("get", f"{USERS}get/{theirs}", 401),
        ("get", f"{USERS}get/{mine}", 401),
        ("put", f"{USERS}update/{theirs}", 401),
        ("put", f"{USERS}update/{theirs}/role", 401),
        ("delete", f"{USERS}delete/{theirs}", 403),
        ("get", "/api/v1/invites", 403),
        ("post", "/api/v1/invites", 403),
        ("get", "/api/v1/settings", 403),
        ("post", "/api/v1/settings", 403),
        ("get", "/api/profile", 401),
        ("post", "/api/profile", 401),
        ("get", f"/api/profile/{theirs}", 403),
        ("get", "/api/admin/users", 403),
        ("post", "/api/admin/invites", 403),
        ("put", "/api/cms/settings/site_name", 403),
    ):
        answer = getattr(anonymous, method)(path)
        assert answer.status_code == status, (method, path, answer.content)
    assert state() == before


@pytest.mark.parametrize("path", ["users", "users/me", "users/role/user", "invites", "settings", "settings/security"])
def test_browsers_get_pages(client_of, path):
    answer = client_of("admin").get(f"/api/v1/{path}", HTTP_ACCEPT="text/html")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("/img/avatar.png", True), ("https://example.com/a.png", True), ("", True), ("//evil.example/a", False),
        ("/\\evil.example/a", False), ("img/avatar.png", False), ("javascript:alert(1)", False), ("/a b", False),
    ],
)  # fmt: skip
def test_a_picture_is_on_the_web_or_on_this_site(address, taken, owner, as_user):
    answer = as_user(owner).put(f"/api/v1/users/update/{owner.pk}", {"avatar_url": address})
    owner.refresh_from_db()
    assert (answer.status_code, owner.avatar_url) == ((200, address) if taken else (422, ""))
