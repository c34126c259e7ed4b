"""What has expired goes, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts import one_time, sweeping, tokens, two_factor
from accounts.models import Challenge, OneTimeToken, SignIn
from accounts.one_time import Purpose
from core import background, clock

pytestmark = [pytest.mark.django_db, pytest.mark.engine]


def test_expired_rows_go_and_living_ones_stay(owner, member):
    for account in (owner, member):
        tokens.issue(account)
        one_time.make(account, Purpose.RESET)
        two_factor.challenge(account, "password")
    past = clock.now() - timedelta(seconds=1)
    for model in (SignIn, OneTimeToken, Challenge):
        model.objects.of(owner).update(expires=past)
    assert sweeping.sweep() == 3
    for model in (SignIn, OneTimeToken, Challenge):
        assert [row.account_id for row in model.objects.all()] == [member.account_id]
    assert sweeping.sweep() == 0


def test_many_rows_go_in_batches(owner, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(sweeping, "BATCH", 10)
    past = clock.now() - timedelta(days=1)
    rows = [SignIn(realm="users", account_id=owner.account_id, refresh_id=str(n), expires=past) for n in range(35)]
    SignIn.objects.bulk_create(rows)
    with django_assert_max_num_queries(12):
        assert sweeping.sweep() == 35
    assert not SignIn.objects.exists()


def test_the_sweep_stops_when_the_process_ends(owner, monkeypatch):
    one_time.make(owner, Purpose.RESET)
    OneTimeToken.objects.update(expires=clock.now() - timedelta(days=1))
    monkeypatch.setattr(background.worker, "is_ending", True)
    assert sweeping.sweep() == 0


def test_the_sweep_is_a_task_of_every_hour():
    assert background.tasks[sweeping.TASK].every == 3600
