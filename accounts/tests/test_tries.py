"""What is counted by account or by address, because it may come from anywhere."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache

from accounts import emails, mailing, tries
from accounts.models import User
from core.errors import RateLimited, ServiceUnavailable

PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def limits(settings: Any, db: None) -> None:
    settings.RATE_LIMIT_ENABLED = True
    cache.clear()


def accounts(number: int) -> list[User]:
    return [User.objects.create_user(f"a{n}@example.com", PASSWORD, username=f"a{n}") for n in range(number)]


def test_many_accounts_cannot_fill_one_box_with_mails_about_a_change() -> None:
    for user in accounts(7):
        emails.post_email_change(user, "victim@example.org")
    mailing.send_due()
    assert [one.to for one in mail.outbox] == [["victim@example.org"]] * emails.MAX_LINKS_AN_HOUR
    emails.post_email_change(User.objects.get(username="a6"), "other@example.org")
    mailing.send_due()
    assert mail.outbox[-1].to == ["other@example.org"]


def test_the_right_password_begins_anew_and_a_pause_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    (user,) = accounts(1)
    for _ in range(2):
        assert [tries.is_current(user, "wrong") for _ in range(tries.MAX_PASSWORDS - 1)] == [False] * 4
        assert tries.is_current(user, PASSWORD)
    monkeypatch.setattr(tries, "PAUSE_SECONDS", 0)
    for _ in range(tries.MAX_PASSWORDS * 2):
        assert not tries.is_current(user, "wrong")
    assert tries.is_current(user, PASSWORD)


def test_tries_that_come_together_are_counted_before_they_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    (user,) = accounts(1)
    counted: list[int] = []

    def check(*args: Any) -> bool:
        counted.append(1)
        if len(counted) < 50:  # another one comes while this one is checked
            with pytest.raises(RateLimited) if len(counted) >= tries.MAX_PASSWORDS else nullcontext():
                tries.is_current(user, "wrong")
        return False

    monkeypatch.setattr(tries.passwords, "is_right", check)
    tries.is_current(user, "wrong")
    assert len(counted) == tries.MAX_PASSWORDS


def test_without_its_cache_it_refuses_and_where_limits_are_off_it_does_not_ask(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (user,) = accounts(1)
    monkeypatch.setattr(tries, "cache", None)
    with pytest.raises(ServiceUnavailable):
        tries.is_current(user, PASSWORD)
    settings.RATE_LIMIT_ENABLED = False
    assert tries.is_current(user, PASSWORD)
