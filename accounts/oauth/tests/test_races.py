"""What must happen once happens once, however many ask at the same time."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from accounts import one_time, realms, tokens
from accounts.models import ExternalIdentity, User
from accounts.oauth import arrival, identities
from accounts.oauth.arrival import Person
from accounts.tests.threads import together
from core.errors import DomainError

pytestmark = [pytest.mark.usefixtures("committed_db"), pytest.mark.engine]
ANN = Person(provider="github", subject="7", email="ann@example.com", email_verified=True)


def outcome(act):
    """What it answers, or the status of its refusal."""
    try:
        return act()
    except DomainError as error:
        return error.status


@pytest.fixture(autouse=True)
def first(make_user) -> User:
    return make_user("first", role="superadmin")


def test_somebody_new_who_comes_by_many_windows_gets_one_account(first):
    arrived = together(8, lambda number: arrival.arrive(realms.staff(), ANN).account_id)
    assert len(set(arrived)) == 1
    assert ExternalIdentity.objects.get().account_id == arrived[0] and User.objects.count() == 2


def test_an_owner_who_comes_by_many_windows_takes_the_account_over_once(make_user):
    waiting = make_user("ann", verified=False)
    arrived = together(8, lambda number: arrival.arrive(realms.staff(), ANN).account_id)
    assert set(arrived) == {waiting.account_id} and ExternalIdentity.objects.count() == 1


def test_an_identity_that_two_accounts_add_at_once_is_one_accounts(make_user):
    accounts = [make_user(f"user{number}") for number in range(4)]
    proofs = [identities.proof(account, ANN) for account in accounts]
    outcomes = together(4, lambda n: outcome(lambda: identities.link(accounts[n], proofs[n])))
    assert sorted(str(one) for one in outcomes if isinstance(one, int)) == ["409"] * 3
    assert ExternalIdentity.objects.count() == 1


def test_an_identity_is_not_added_to_an_account_that_was_reset_meanwhile(make_user, monkeypatch):
    ann = make_user("ann")
    proof, use = identities.proof(ann, ANN), one_time.use

    def then_reset(*args):
        used = use(*args)
        realms.staff().set_password(User.objects.get(pk=ann.pk), "another-staple-7")
        return used

    monkeypatch.setattr(one_time, "use", then_reset)
    assert outcome(lambda: identities.link(ann, proof)) == 409
    assert not ExternalIdentity.objects.exists()


def test_of_two_only_ways_in_one_is_left(make_user):
    ann = make_user("ann")
    ann = realms.staff().set_password(ann, None)
    rows = [arrival.link(ann, Person(provider=name, subject="7")) for name in ("github", "google")]
    bearer = f"Bearer {tokens.issue(ann).access}"

    def remove(number: int) -> int:
        path = f"/api/v1/auth/identities/{rows[number].pk}"
        return APIClient().delete(path, HTTP_AUTHORIZATION=bearer).status_code

    assert sorted(together(2, remove)) == [204, 409]
    assert ExternalIdentity.objects.count() == 1
