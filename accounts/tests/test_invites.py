"""Invitations, and the mode of registration: on every path that makes an account of ``users``."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from rest_framework.test import APIClient

from accounts import mailing
from accounts.models import Invite, Mail, User
from accounts.tests.threads import together
from core import clock
from settings_app import services

INVITES = "/api/v1/invites"
PASSWORD = "correct-horse-battery"
PATHS = ["/api/v1/auth/register", "/api/auth/register", "/api/register"]

pytestmark = pytest.mark.engine


def set_mode(mode: str) -> None:
    services.put("registration_mode", mode, by="")


def register(client: APIClient, path: str, name: str = "newcomer", **fields: Any) -> Any:
    return client.post(path, {"login": name, "email": f"{name}@example.com", "password": PASSWORD, **fields})


def code_for(client: APIClient, **fields: Any) -> str:
    answer = client.post(INVITES, fields)
    assert answer.status_code == 201, answer.json()
    return str(answer.json()["code"])


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
class TestEveryRegisterPath:
    def test_closed_means_closed(self, path, admin, anonymous):
        set_mode("CLOSED")
        answer = register(anonymous, path)
        assert answer.status_code == 403 and answer.json()["message"] == "Registration is currently closed."
        assert User.objects.count() == 1 and not Mail.objects.exists()
        set_mode("OPEN")
        assert register(anonymous, path).status_code == 201

    def test_registration_can_be_switched_off(self, path, admin, anonymous):
        services.put("allow_registration", False, by="")
        assert register(anonymous, path).status_code == 403

    def test_by_invitation_a_code_is_needed_once(self, path, admin, as_user, anonymous):
        set_mode("INVITE_ONLY")
        missing, wrong = register(anonymous, path), register(anonymous, path, inviteCode="WRONG")
        assert missing.status_code == wrong.status_code == 422
        assert missing.json()["message"] == "An invite code is required to register."
        assert wrong.json()["message"] == "Invalid invite code"
        assert User.objects.count() == 1
        code = code_for(as_user(admin))
        name = "inviteCode" if path == "/api/register" else "invite_code"
        assert register(anonymous, path, **{name: code}).status_code == 201
        again = register(anonymous, path, "latecomer", inviteCode=code)
        assert again.status_code == 422 and again.json()["message"] == "Invite code has already been used"
        invite, user = Invite.objects.get(), User.objects.get(username="newcomer")
        assert invite.used_by == user and invite.used_at and user.used_invite_code == code
        assert User.objects.count() == 2

    def test_a_taken_name_uses_no_invitation_up(self, path, admin, as_user, anonymous):
        set_mode("INVITE_ONLY")
        code = code_for(as_user(admin))
        taken = register(anonymous, path, "admin", invite_code=code)
        assert taken.status_code == (422 if path == "/api/register" else 409)
        assert Invite.objects.get().used_at is None
        assert register(anonymous, path, invite_code=code).status_code == 201

    @pytest.mark.parametrize("ended", [{"role": "admin"}, {"is_active": False}, {"deleted_at": "2026-01-01T00:00Z"}])
    def test_an_invitation_to_a_role_ends_with_the_right_to_give_it(
        self, path, ended, admin, superadmin, as_user, anonymous
    ):
        plain, high = (code_for(as_user(superadmin), role=role) for role in ("user", "superadmin"))
        User.all_objects.filter(pk=superadmin.pk).update(**ended)
        set_mode("INVITE_ONLY")
        refused = register(anonymous, path, inviteCode=high)
        assert refused.status_code == 422 and refused.json()["message"] == "Invalid invite code"
        assert not User.objects.filter(username="newcomer").exists()
        assert register(anonymous, path, inviteCode=plain).status_code == 201
        set_mode("OPEN")
        assert register(anonymous, path, "latecomer", inviteCode=high).status_code == 201
        assert set(User.objects.filter(username__in=["newcomer", "latecomer"]).values_list("role", flat=True)) == {
            "user"
        }
        assert Invite.objects.filter(used_at=None).count() == 1

    def test_an_invitation_may_be_for_one_address_for_some_time_and_to_a_role(
        self, path, superadmin, as_user, anonymous
    ):
        set_mode("INVITE_ONLY")
        client = as_user(superadmin)
        soon = clock.isoformat(clock.now() + timedelta(hours=1))
        code = code_for(client, email="Newcomer@example.com", role="admin", expires_at=soon)
        assert register(anonymous, path, "somebody", invite_code=code).status_code == 422
        Invite.objects.update(expires_at=clock.now() - timedelta(seconds=1))
        assert register(anonymous, path, invite_code=code).status_code == 422
        assert User.objects.count() == 1
        Invite.objects.update(expires_at=clock.now() + timedelta(hours=1))
        assert register(anonymous, path, invite_code=code).status_code == 201
        assert User.objects.get(username="newcomer").role == "admin"

    def test_an_admin_makes_accounts_whatever_the_mode(self, path, admin, as_user):
        set_mode("CLOSED")
        assert register(as_user(admin), path).status_code == 201

    def test_the_first_account_is_the_superadmins_whatever_the_mode(self, path, anonymous):
        set_mode("CLOSED")
        assert register(anonymous, path, "first").status_code == 201
        assert User.objects.get().role == "superadmin"
        assert register(anonymous, path, "second").status_code == 403

    def test_in_production_the_first_account_needs_the_printed_token(self, path, anonymous, settings):
        settings.PRODUCTION = True
        assert register(anonymous, path).status_code == 403
        assert not User.all_objects.exists()


@pytest.mark.usefixtures("committed_db")
@pytest.mark.parametrize("path", PATHS)
def test_fifty_at_once_use_an_invitation_once(path, make_user, as_user):
    code = code_for(as_user(make_user("chief", role="admin")))
    set_mode("INVITE_ONLY")
    answers = together(50, lambda n: register(APIClient(), path, f"racer-{n}", invite_code=code))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 422: 49}
    assert User.objects.count() == 2 and Invite.objects.get().used_by.username.startswith("racer-")


@pytest.mark.usefixtures("committed_db")
def test_of_two_superadmins_who_demote_each_other_one_remains(make_user, as_user):
    pair = [make_user(name, role="superadmin") for name in ("ann", "ben")]

    def demote(client: APIClient, victim: User) -> int:
        return int(client.put(f"/api/v1/users/update/{victim.pk}/role", {"new_role": "user"}).status_code)

    for _ in range(5):
        User.objects.update(role="superadmin")
        doings = [(as_user(pair[0]), pair[1]), (as_user(pair[1]), pair[0])]
        codes = sorted(together(2, lambda n, doings=doings: demote(*doings[n])))
        assert codes[0] == 200 and codes[1] in (401, 403, 409)
        assert User.objects.filter(role="superadmin").count() == 1


@pytest.mark.django_db
class TestInvites:
    def test_are_listed_with_creator_and_user(self, admin, as_user, anonymous):
        client = as_user(admin)
        code = code_for(client)
        [fresh] = client.get(INVITES).json()
        assert fresh["code"] == code and fresh["used_by"] is None and fresh["used_at"] is None
        assert (fresh["creator_login"], fresh["creator_email"]) == ("admin", "admin@example.com")
        assert fresh["user_login"] is None and fresh["created_by"] == str(admin.pk)
        register(anonymous, PATHS[0], invite_code=code)
        [used] = client.get(INVITES).json()
        assert (used["user_login"], used["user_email"]) == ("newcomer", "newcomer@example.com")

    def test_the_code_is_nowhere_in_the_database(self, admin, as_user):
        code = code_for(as_user(admin))
        assert code not in str(list(Invite.objects.values()))

    def test_with_an_address_go_out_by_mail(self, admin, as_user):
        code = code_for(as_user(admin), email="guest@example.com")
        mailing.send_due()
        assert mail.outbox[0].to == ["guest@example.com"] and code in mail.outbox[0].body
        assert not Mail.objects.exists()

    @pytest.mark.parametrize("role", ["admin", "superadmin"])
    def test_above_user_are_the_superadmins_and_so_are_their_codes(self, role, admin, superadmin, as_user):
        refused = as_user(admin).post(INVITES, {"role": role})
        assert refused.status_code == 403 and not Invite.objects.exists()
        code = code_for(as_user(superadmin), role=role)
        assert [invite["code"] for invite in as_user(superadmin).get(INVITES).json()] == [code]
        for path in (INVITES, "/api/admin/invites"):
            assert code not in as_user(admin).get(path).content.decode()

    def test_can_be_deleted_until_they_are_used(self, admin, as_user, anonymous):
        client = as_user(admin)
        code_for(client)
        answer = client.delete(f"{INVITES}/{Invite.objects.get().pk}")
        assert answer.status_code == 200 and answer.json() == {"deleted": True}
        for unknown in (Invite(), "nonsense"):
            gone = client.delete(f"{INVITES}/{getattr(unknown, 'pk', unknown)}")
            assert gone.status_code == 404 and gone.json()["message"] == "Invite not found"
        register(anonymous, PATHS[0], invite_code=code_for(client))
        used = client.delete(f"{INVITES}/{Invite.objects.get().pk}")
        assert used.status_code == 422 and used.json()["message"] == "Cannot delete used invite"
        assert Invite.objects.count() == 1

    @pytest.mark.parametrize(
        "body",
        [
            {"email": "x"},
            {"role": "boss"},
            {"expires_at": "2020-01-01T00:00:00Z"},
            {"expires_at": "soon"},
            {"code": "MINE"},
            {"used_by": "x"},
            {"created_by": "x"},
            {"id": "x"},
            [],
        ],
    )
    def test_take_no_bad_values(self, body, admin, as_user):
        for path in (INVITES, "/api/admin/invites"):
            assert as_user(admin).post(path, body).status_code == 422
        assert not Invite.objects.exists() and not Mail.objects.exists()

    @pytest.mark.parametrize("path", [INVITES, "/api/admin/invites"])
    def test_are_for_admins_only(self, path, admin, member, as_user, anonymous):
        code_for(as_user(admin))
        invite = Invite.objects.get()
        for client, status in ((as_user(member), 403), (anonymous, 401)):
            for answer in (client.get(path), client.post(path, {}), client.delete(f"{path}/{invite.pk}")):
                assert answer.status_code == status
            assert client.delete(f"{path}/nonsense").status_code == status
        assert list(Invite.objects.all()) == [invite]
        assert as_user(admin).get(f"{path}?wrong=1").status_code == 400
        assert as_user(admin).post(f"{path}?limit=1", {}).status_code == 400
