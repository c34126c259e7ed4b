"""What must happen once happens once, however many ask at the same time."""

from __future__ import annotations

from collections import Counter

import pytest
from rest_framework.test import APIClient

from accounts import first_account, realms, tokens
from accounts.models import User
from accounts.tests.threads import together
from core.errors import DomainError

pytestmark = [pytest.mark.usefixtures("committed_db"), pytest.mark.engine]
PASSWORD = "correct-horse-battery"


def register(number, **fields):
    body = {"email": f"user{number}@example.com", "password": PASSWORD, **fields}
    return APIClient().post("/api/v1/auth/register", body)


def test_of_many_first_accounts_one_becomes_superadmin():
    answers = together(6, register)
    assert {answer.status_code for answer in answers} == {201}
    assert Counter(User.objects.values_list("role", flat=True)) == {"superadmin": 1, "user": 5}


def test_the_printed_token_makes_one_account(settings):
    settings.PRODUCTION = True
    token = first_account.new_token()
    answers = together(6, lambda n: register(n, setup_token=token))
    assert Counter(User.objects.values_list("role", flat=True))["superadmin"] == 1
    assert {answer.status_code for answer in answers} <= {201, 400}


def test_one_address_makes_one_account(make_user):
    make_user("first")
    answers = together(6, lambda n: register(0, username=f"name-{n}"))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 5}
    assert User.objects.filter(email="user0@example.com").count() == 1


def test_a_refresh_token_used_in_parallel_works_at_most_once(make_user):
    pair = tokens.issue(make_user("owner"))

    def exchange(number):
        try:
            return tokens.refresh(realms.staff(), pair.refresh)[1]
        except DomainError:
            return None

    exchanged = [found for found in together(6, exchange) if found]
    assert len(exchanged) <= 1
    for found in exchanged:  # the others were replays: the chain is over
        with pytest.raises(DomainError):
            tokens.principal_from_token(found.access)
