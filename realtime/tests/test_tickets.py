"""Who gets a ticket, and what a ticket is worth."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from accounts import api_keys, one_time, realms, tokens
from accounts.models import ApiKey, OneTimeToken, SignIn
from accounts.one_time import Purpose
from collections_app.tests.web import nothing_changes
from core import clock
from core.errors import DomainError, Unauthorized
from realtime import callers
from realtime.callers import NOBODY, identify, still

TICKET = "/api/v1/realtime/ticket"
PASSWORD = "correct-horse-battery"


def bearer(token):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def who(caller):
    """The id of who it is by now."""
    (principal,) = still([caller])
    return principal and principal.id


@pytest.fixture
def ticket(owner):
    """``ticket()``: one more of the owner's."""
    return lambda: bearer(tokens.issue(owner).access).post(TICKET).json()["ticket"]


def test_whoever_is_signed_in_gets_one_that_is_kept_as_a_hash_only(owner, as_user):
    answer = as_user(owner).post(TICKET)
    assert answer.status_code == 200 and answer["Cache-Control"] == "no-store"
    given = answer.json()
    assert given == {"ticket": given["ticket"], "expires_in": 60} and len(given["ticket"]) >= 40
    row = OneTimeToken.objects.get(purpose=Purpose.TICKET)
    assert given["ticket"] not in (row.digest, str(row.data))
    assert 55 <= (row.expires - clock.now()).total_seconds() <= 60


def test_nobody_and_keys_get_none(anonymous, owner):
    _, key = api_keys.make(owner, name="one", access=ApiKey.Access.WRITE)
    with nothing_changes():
        assert anonymous.post(TICKET).status_code == 401
        assert bearer("nonsense").post(TICKET).status_code == 401
        assert anonymous.get(TICKET).status_code in (405, 406)
        assert bearer(tokens.issue(owner).access).post(f"{TICKET}?a=1").status_code == 400
        assert bearer(key).post(TICKET).status_code == 403


@pytest.mark.engine
def test_it_speaks_for_its_account_once(ticket, owner):
    given = ticket()
    caller = identify({}, given)
    assert (caller.principal.id, caller.principal.role) == (str(owner.id), owner.role)
    assert who(caller) == str(owner.id)
    with pytest.raises(Unauthorized):
        identify({}, given)


@pytest.mark.engine
def test_one_of_many_who_use_it_at_once_gets_in(committed_db, owner, ticket):
    given = ticket()

    def use(_):
        try:
            return identify({}, given) is not NOBODY
        except DomainError:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as crew:
        assert sorted(crew.map(use, range(8))) == [False] * 7 + [True]


@pytest.mark.engine
def test_it_is_good_for_nothing_else_and_nothing_else_is_good_for_it(ticket, owner, as_user):
    given = ticket()
    assert bearer(given).get("/api/v1/auth/me").status_code == 401
    with pytest.raises(Unauthorized):
        identify({b"authorization": b"Bearer " + given.encode()}, "")
    with pytest.raises(DomainError):
        one_time.use(given, Purpose.RESET)
    for purpose in (Purpose.VERIFY, Purpose.RESET, Purpose.EXCHANGE):
        with pytest.raises(Unauthorized):
            identify({}, one_time.make(owner, purpose, {"sign_in": "x"}))
    assert identify({}, given).principal.id == str(owner.id)


@pytest.mark.engine
def test_it_ends_after_a_minute_and_with_its_sign_in_and_with_a_new_password(owner, ticket):
    late = ticket()
    OneTimeToken.objects.filter(purpose=Purpose.TICKET).update(expires=clock.now() - timedelta(seconds=1))
    with pytest.raises(Unauthorized):
        identify({}, late)
    token = tokens.issue(owner).access
    ended = bearer(token).post(TICKET).json()["ticket"]
    bearer(token).post("/api/v1/auth/logout", {}, format="json")
    with pytest.raises(Unauthorized):
        identify({}, ended)
    outdated = ticket()
    owner.set_password("another-horse-8")
    owner.save()
    with pytest.raises(Unauthorized):
        identify({}, outdated)


def test_a_browser_s_session_gets_one_with_its_csrf_token_only(owner, superadmin):
    browser = Client(enforce_csrf_checks=True)
    browser.get(reverse("admin:login"))
    form = {
        "username": superadmin.email,
        "password": PASSWORD,
        "csrfmiddlewaretoken": browser.cookies["csrftoken"].value,
    }
    assert browser.post(reverse("admin:login"), form).status_code == 302
    with nothing_changes():
        assert browser.post(TICKET, content_type="application/json").status_code == 403
    answer = browser.post(
        TICKET, content_type="application/json", headers={"X-CSRFToken": browser.cookies["csrftoken"].value}
    )
    assert answer.status_code == 200
    caller = identify({}, answer.json()["ticket"])
    assert who(caller) == str(superadmin.id)
    browser.session.flush()
    assert who(caller) is None


@pytest.mark.engine
def test_the_key_of_a_session_is_no_token_however_it_is_written(superadmin):
    browser = Client()
    browser.force_login(superadmin)
    caller = identify({}, callers.ticket_for_session(superadmin, browser.session.session_key))
    key = str(browser.session.session_key)
    for text in (key, f"session:{key}", f" session:{key}", f"\tsession:{key}", str(caller.credential)):
        for headers, token in (
            ({b"authorization": b"Bearer " + text.encode()}, ""),
            ({b"x-api-key": text.encode()}, ""),
            ({}, text),
        ):
            with pytest.raises(Unauthorized):
                identify(headers, token)
    assert who(caller) == str(superadmin.id)


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "x"}, {"token_key": "other"}])
def test_a_session_s_stream_ends_with_what_the_session_rests_on(superadmin, change):
    browser = Client()
    browser.force_login(superadmin)
    caller = identify({}, callers.ticket_for_session(superadmin, browser.session.session_key))
    assert who(caller) == str(superadmin.id)
    for name, value in change.items():
        setattr(superadmin, name, value)
    superadmin.save()
    assert who(caller) is None


@pytest.mark.engine
def test_many_are_asked_about_at_once_and_each_gets_their_own_answer(make_user, owner):
    everybody = [make_user(f"user{number}") for number in range(6)]
    tokens_of = [tokens.issue(account) for account in everybody]
    _, key = api_keys.make(owner, name="one", access=ApiKey.Access.READ)
    callers_ = [identify({b"authorization": f"Bearer {pair.access}".encode()}, "") for pair in tokens_of]
    callers_ += [NOBODY, identify({b"x-api-key": key.encode()}, "")]
    ids = [*(str(account.id) for account in everybody), "", str(owner.id)]
    assert [one.id for one in still(callers_)] == ids
    tokens.revoke(realms.of(everybody[0]), tokens_of[0].access)
    everybody[1].is_active = False
    everybody[2].name = "Ann"
    everybody[3].set_password("another-horse-8")
    for account in everybody[1:4]:
        account.save()
    SignIn.objects.filter(account_id=str(everybody[4].id)).delete()
    ApiKey.objects.all().delete()
    found = still(callers_)
    gone = {0, 1, 3, 4, 7}
    assert [one and one.id for one in found] == [None if index in gone else one for index, one in enumerate(ids)]
    assert found[2].fields["name"] == "Ann"
