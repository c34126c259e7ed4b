"""Who has shown the password of an account, and is then overtaken by a new one, changes nothing any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from rest_framework.test import APIClient

from accounts import mailing, passwords, realms, sign_in, tokens, two_factor
from accounts.models import Mail
from accounts.models.owned import Account
from accounts.tokens import Client
from core.errors import Conflict, Unauthorized

pytestmark = pytest.mark.engine

EMAIL, OLD, NEW, THIEFS = "ann@example.com", "correct-horse-battery", "another-staple-7", "a-thief-was-here-1"


@pytest.fixture(params=["users", "customers"])
def ann(request: Any, make_collection: Callable[..., Any], make_user: Callable[..., Any]) -> Account:
    """A verified account with a mailed second factor, of each kind."""
    if request.param == "users":
        make_user("ann")
    else:
        make_collection("customers", type="auth")
        body = {"email": EMAIL, "password": OLD}
        assert APIClient().post("/api/v1/collections/customers/auth/register", body).status_code == 201
    realm = realms.get(request.param)
    account = realm.find(EMAIL)
    assert account is not None
    two_factor.enable(realm.set_verified(account))
    mailing.send_due()
    return account


def stored(account: Account) -> Account:
    found = realms.of(account).get(account.account_id)
    assert found is not None
    return found


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Account], None]:
    """Right after the old password was looked at, and found right, the owner's new one is set."""

    def arrange(account: Account) -> None:
        is_right = passwords.is_right

        def then_reset(asked: Account | None, password: str) -> bool:
            right = is_right(asked, password)
            monkeypatch.setattr(passwords, "is_right", is_right)
            realms.of(account).set_password(stored(account), NEW)
            return right

        monkeypatch.setattr(passwords, "is_right", then_reset)

    return arrange


def test_a_change_of_the_password_does_not_undo_a_reset(ann: Account, overtaken: Callable[..., None]) -> None:
    overtaken(ann)
    with pytest.raises(Conflict):
        sign_in.change_password(ann, OLD, THIEFS, Client())
    assert passwords.is_right(stored(ann), NEW)
    answer = sign_in.change_password(stored(ann), NEW, THIEFS, Client())
    assert tokens.principal_from_token(answer.tokens.access).id == ann.account_id


def test_a_second_factor_is_not_turned_off_with_a_password_that_has_ended(
    ann: Account, overtaken: Callable[..., None]
) -> None:
    overtaken(ann)
    with pytest.raises(Conflict):
        two_factor.disable(ann, OLD)
    assert stored(ann).two_fa_enabled and not Mail.objects.filter(template="two_fa_disabled").exists()


def test_an_old_hash_is_not_renewed_over_a_reset(
    real_hashers: None, ann: Account, overtaken: Callable[..., None]
) -> None:
    realms.of(ann).set_hash(ann, make_password(OLD, hasher="pbkdf2_sha256"))
    overtaken(ann)
    with pytest.raises(Unauthorized):
        sign_in.log_in(realms.of(ann), EMAIL, OLD, Client())
    assert passwords.is_right(stored(ann), NEW)


def test_an_account_that_is_gone_gets_no_password(ann: Account, as_user: Callable[..., APIClient], admin: Any) -> None:
    where = "users/delete" if ann.realm_key == "users" else "collections/customers/records"
    assert as_user(admin).delete(f"/api/v1/{where}/{ann.account_id}").status_code in (200, 204)
    with pytest.raises(Conflict):
        realms.of(ann).set_hash(ann, make_password(THIEFS))


def test_one_s_own_address_is_not_moved_with_a_password_that_has_ended(
    make_user: Callable[..., Any], as_user: Callable[..., APIClient], overtaken: Callable[..., None]
) -> None:
    ann = make_user("ann")
    client = as_user(ann)
    overtaken(ann)
    body = {"email": "thief@example.com", "current_password": OLD}
    assert client.put("/api/v1/users/me", body).status_code == 409
    assert stored(ann).email == EMAIL and not Mail.objects.exists()
