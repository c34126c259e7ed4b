"""The second factor by mail: a login becomes a challenge, and only its code makes a sign-in of it."""

from __future__ import annotations

import logging
import re
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from rest_framework.test import APIClient

from accounts import mailing, realms, tokens, two_factor
from accounts.models import Challenge, Mail, SignIn, User
from accounts.tests.threads import together
from core import clock
from core.errors import Unauthorized

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]

AUTH = "/api/v1/auth/"
PASSWORD = "correct-horse-battery"
BAD = "Invalid or expired 2FA code"


@pytest.fixture
def guarded(owner: User) -> User:
    """An account that signs in with a mailed code."""
    two_factor.enable(owner)
    mailing.send_due()
    mail.outbox.clear()
    return owner


@pytest.fixture
def login(anonymous: APIClient) -> Callable[..., dict]:
    def ask(identifier: str = "owner") -> dict:
        answer = anonymous.post(f"{AUTH}login", {"username": identifier, "password": PASSWORD})
        assert answer.status_code == 200, answer.json()
        return answer.json()

    return ask


def mailed_code() -> str:
    """The code of the newest mail, once it is sent."""
    mailing.send_due()
    found = re.search(r"^ +(\d{6})$", mail.outbox[-1].body, re.MULTILINE)
    assert found
    return found[1]


def verify(challenge: str, code: str) -> int:
    return APIClient().post(f"{AUTH}verify-2fa", {"challenge": challenge, "code": code}).status_code


def another(code: str) -> str:
    """Six digits, and not those."""
    return f"{(int(code) + 1) % 1_000_000:06}"


# --- turning it on and off -------------------------------------------------------------------


def test_the_whole_story_of_a_mailed_code(owner, as_user, anonymous, login):
    client = as_user(owner)
    assert client.get(f"{AUTH}2fa").json() == {"enabled": False, "method": None, "recovery_codes_left": 0}
    answer = client.post(f"{AUTH}enable-2fa")
    assert (answer.status_code, answer.json()) == (200, {"message": "2FA has been enabled successfully"})
    assert mailing.send_due() == 1 and mail.outbox[-1].subject == "2FA Enabled"
    assert client.get(f"{AUTH}2fa").json() == {"enabled": True, "method": "email", "recovery_codes_left": 0}
    assert client.get(f"{AUTH}me").json()["two_fa_enabled"] is True

    asked = login()
    assert asked["requires_2fa"] is True and asked["message"] == "2FA code sent to your email"
    assert asked["user_id"] == str(owner.pk) and asked["method"] == "email"
    assert "access_token" not in asked and "refresh_token" not in asked and "user" not in asked
    code = mailed_code()
    assert mail.outbox[-1].to == [owner.email] and code in mail.outbox[-1].subject
    answer = anonymous.post(f"{AUTH}verify-2fa", {"challenge": asked["challenge"], "code": code})
    assert answer.status_code == 200 and answer.json()["user"]["id"] == str(owner.pk)
    assert answer.headers["Cache-Control"] == "no-store"
    signed_in = SignIn.objects.get(pk=tokens.sign_in_of(realms.staff(), answer.json()["access_token"]))
    assert signed_in.method == "password+2fa"
    fresh = anonymous.post(f"{AUTH}refresh", {"refresh_token": answer.json()["refresh_token"]}).json()
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {fresh['access_token']}")
    assert anonymous.get(f"{AUTH}me").status_code == 200

    wrong = anonymous.post(f"{AUTH}disable-2fa", {"password": "wrong"})
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Incorrect password")
    owner.refresh_from_db()
    assert owner.two_fa_enabled
    off = anonymous.post(f"{AUTH}disable-2fa", {"password": PASSWORD})
    assert (off.status_code, off.json()) == (200, {"message": "2FA has been disabled successfully"})
    again = anonymous.post(f"{AUTH}disable-2fa", {"password": PASSWORD})
    assert (again.status_code, again.json()["message"]) == (400, "2FA is not enabled")
    assert "access_token" in login()


@pytest.mark.parametrize("prefix", [AUTH, "/api/auth/"])
@pytest.mark.parametrize("path", ["login", "login/json"])
@pytest.mark.parametrize("format", ["json", "multipart"])
def test_every_way_to_log_in_asks_for_the_code(guarded, anonymous, prefix, path, format):
    for name in ("email", "username", "login", "username_or_email"):
        body = {name: guarded.email, "password": PASSWORD}
        answer = anonymous.post(f"{prefix}{path}", body, format=format)
        assert answer.status_code == 200 and answer.json()["requires_2fa"] and "access_token" not in answer.json()
    assert not SignIn.objects.exists()


def test_a_reset_opens_nothing_and_leaves_it_on(guarded, anonymous):
    anonymous.post(f"{AUTH}forgot-password", {"email": guarded.email})
    mailing.send_due()
    token = re.search(r"token=([\w-]+)", mail.outbox[-1].body)[1]
    answer = anonymous.post(f"{AUTH}reset-password", {"token": token, "new_password": "another-staple-7"})
    assert answer.json() == {"message": "Password reset successfully"} and not SignIn.objects.exists()
    asked = anonymous.post(f"{AUTH}login", {"username": "owner", "password": "another-staple-7"}).json()
    assert asked["requires_2fa"] is True


def test_it_needs_a_verified_address_and_a_sign_in(make_user, as_user, anonymous):
    loose = make_user("loose", verified=False)
    answer = as_user(loose).post(f"{AUTH}enable-2fa")
    assert (answer.status_code, answer.json()["message"]) == (400, "Please verify your email before enabling 2FA")
    for path in ("enable-2fa", "disable-2fa", "test-2fa", "2fa/totp", "2fa/totp/confirm", "2fa/recovery-codes"):
        assert anonymous.post(f"{AUTH}{path}", {}).status_code == 401
    assert anonymous.get(f"{AUTH}2fa").status_code == 401
    loose.refresh_from_db()
    assert not loose.two_fa_enabled and not Mail.objects.exists()


def test_turning_it_on_ends_the_other_sign_ins_and_says_so_when_it_is_on(owner, member, as_user):
    here, there, other = as_user(owner), as_user(owner), as_user(member)
    assert here.post(f"{AUTH}enable-2fa").status_code == 200
    assert here.get(f"{AUTH}me").status_code == other.get(f"{AUTH}me").status_code == 200
    assert there.get(f"{AUTH}me").status_code == 401
    again = here.post(f"{AUTH}enable-2fa")
    assert (again.status_code, again.json()["message"]) == (400, "2FA is already enabled")


def test_a_refresh_token_from_before_it_was_on_ends_with_its_sign_in(owner, as_user, anonymous):
    earlier = tokens.issue(owner)
    as_user(owner).post(f"{AUTH}enable-2fa")
    assert anonymous.post(f"{AUTH}refresh", {"refresh_token": earlier.refresh}).status_code == 401


def test_a_test_code_arrives_and_opens_nothing(guarded, as_user, login):
    asked = login()
    mailing.send_due()
    answer = as_user(guarded).post(f"{AUTH}test-2fa")
    assert answer.json() == {"message": "Test 2FA code sent to your email", "email": guarded.email}
    assert verify(asked["challenge"], mailed_code()) == 401


# --- codes -----------------------------------------------------------------------------------


def test_a_code_works_once_and_only_with_its_challenge(guarded, member, login):
    two_factor.enable(member)
    theirs = login("member")["challenge"]
    asked = login()["challenge"]
    code = mailed_code()
    assert verify(theirs, code) == 401
    assert verify("no-such-challenge", code) == 401
    assert verify(asked, code) == 200
    assert verify(asked, code) == 401
    assert SignIn.objects.count() == 1


def test_a_challenge_of_another_realm_is_unknown(guarded, login):
    class Elsewhere(type(realms.staff())):
        key = name = "elsewhere"

    asked, code = login(), mailed_code()
    for named in ({"challenge": asked["challenge"]}, {"account_id": asked["user_id"]}):
        with pytest.raises(Unauthorized, match=BAD):
            two_factor.answer(Elsewhere(), code, **named)
    with pytest.raises(Unauthorized, match=BAD):
        two_factor.resend(Elsewhere(), challenge=asked["challenge"])
    assert Challenge.objects.get().attempts == 0
    assert verify(asked["challenge"], code) == 200


def test_the_account_s_id_stands_for_its_newest_challenge(guarded, member, login, anonymous):
    login()
    first = mailed_code()
    login()
    second = mailed_code()

    def by_id(account, code):
        return anonymous.post(f"{AUTH}verify-2fa", {"user_id": str(account.pk), "code": code}).status_code

    assert by_id(member, second) == 401
    assert by_id(guarded, first) == 401 or first == second
    assert by_id(guarded, second) == 200
    assert by_id(guarded, second) == 401


def test_who_only_knows_the_account_s_id_uses_up_none_of_its_tries(guarded, anonymous):
    def guess(address):
        body = {"user_id": str(guarded.pk), "code": "000000"}
        return APIClient(REMOTE_ADDR=address).post(f"{AUTH}verify-2fa", body).status_code

    def ask(address):
        credentials = {"username": "owner", "password": PASSWORD}
        return APIClient(REMOTE_ADDR=address).post(f"{AUTH}login", credentials)

    for _ in range(6):
        asked = ask("2001:db8:1:2::3")
        assert asked.status_code == 200
        for _ in range(5):
            assert guess("198.51.100.9") == guess("2001:db8:1:3::3") == 401
        assert Challenge.objects.order_by("-created").first().attempts == 0
    code = mailed_code()
    at_home = APIClient(REMOTE_ADDR="2001:db8:1:2:ffff::9")  # the same network, as counted everywhere
    answer = at_home.post(f"{AUTH}verify-2fa", {"user_id": str(guarded.pk), "code": code})
    assert answer.status_code == 200 and SignIn.objects.count() == 1

    asked = ask("203.0.113.5").json()["challenge"]
    assert verify(asked, mailed_code()) == 200, "the challenge itself is good from anywhere"


@pytest.mark.parametrize("code", ["12345", "1234567", "12345678", "1234567890", "", None, 123456, [], "1" * 5000])
def test_a_code_of_another_length_is_422(guarded, login, anonymous, code):
    asked = login()
    answer = anonymous.post(f"{AUTH}verify-2fa", {"challenge": asked["challenge"], "code": code}, format="json")
    assert answer.status_code == 422 and list(answer.json()["fields"]) == ["code"]
    assert Challenge.objects.get().attempts == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"challenge": "x", "user_id": "y"}, {"challenge": 1}, {"challenge": ""}, {"user_id": []}, {"user": "x"}],
)
def test_who_it_is_for_must_be_said_in_one_way(db, anonymous, body):
    assert anonymous.post(f"{AUTH}verify-2fa", {"code": "123456", **body}, format="json").status_code == 422


@pytest.mark.parametrize("user_id", ["nonsense", str(uuid.uuid4()), "\x00", "ü" * 64])
def test_an_unknown_account_is_a_wrong_code(db, anonymous, user_id):
    answer = anonymous.post(f"{AUTH}verify-2fa", {"user_id": user_id, "code": "123456"}, format="json")
    assert answer.status_code in (400, 401, 422)  # NUL and the like are refused sooner


def test_a_wrong_code_says_one_thing_and_opens_nothing(guarded, login, anonymous):
    asked = login()
    answer = anonymous.post(f"{AUTH}verify-2fa", {"challenge": asked["challenge"], "code": another(mailed_code())})
    assert (answer.status_code, answer.json()["message"]) == (401, BAD)
    assert answer.json()["error_code"] == "UNAUTHORIZED" and not SignIn.objects.exists()


def test_the_fifth_wrong_code_is_the_last_one(guarded, login):
    asked = login()["challenge"]
    code = mailed_code()
    assert [verify(asked, another(code)) for _ in range(5)] == [401] * 5
    assert verify(asked, code) == 401 and not SignIn.objects.exists()
    assert verify(login()["challenge"], mailed_code()) == 200


def test_a_code_ends_after_its_time(guarded, login, settings):
    asked = login()["challenge"]
    code = mailed_code()
    Challenge.objects.update(expires=clock.now() - timedelta(seconds=1))
    assert verify(asked, code) == 401
    settings.TWO_FA_CODE_EXPIRE_MINUTES = 1
    login()
    newest = Challenge.objects.latest("created")
    assert newest.expires - newest.created == timedelta(minutes=1)


def test_a_mail_that_is_sent_too_late_carries_no_code(guarded, login):
    login()
    Challenge.objects.update(expires=clock.now() - timedelta(seconds=1))
    assert mailing.send_due() == 0 and not Mail.objects.exists()


@pytest.mark.parametrize("change", ["password", "email", "role", "token_key"])
def test_a_change_of_credentials_ends_the_challenge(guarded, login, change):
    asked = login()["challenge"]
    code = mailed_code()
    if change == "password":
        realms.staff().set_password(guarded, "another-staple-7")
    else:
        value = {"email": "new@example.com", "role": "admin", "token_key": "0" * 32}[change]
        User.objects.filter(pk=guarded.pk).update(**{change: value})
    assert verify(asked, code) == 401
    assert not SignIn.objects.exists()


def test_a_disabled_or_deleted_account_gets_in_with_no_code(guarded, login):
    asked = login()["challenge"]
    code = mailed_code()
    guarded.is_active = False
    guarded.save()
    assert verify(asked, code) == 401
    guarded.is_active = True
    guarded.save()
    asked, code = login()["challenge"], mailed_code()
    guarded.soft_delete()
    assert verify(asked, code) == 401 and not SignIn.objects.exists()


def test_turning_it_off_ends_the_challenge(guarded, login):
    asked = login()["challenge"]
    code = mailed_code()
    two_factor.disable(guarded, PASSWORD)
    assert verify(asked, code) == 401


# --- many at once ----------------------------------------------------------------------------


def test_of_fifty_guesses_at_once_five_are_looked_at(guarded, login, committed_db, monkeypatch):
    asked = login()["challenge"]
    code = mailed_code()
    looked_at = []
    looks = two_factor._is_right
    monkeypatch.setattr(two_factor, "_is_right", lambda *args: looked_at.append(1) or looks(*args))
    answers = together(50, lambda n: verify(asked, f"{(int(code) + 1 + n) % 1_000_000:06}"))
    assert Counter(answers) == {401: 50} and len(looked_at) == 5
    assert Challenge.objects.get().attempts == 5
    assert verify(asked, code) == 401 and not SignIn.objects.exists()


def test_of_fifty_right_answers_at_once_one_signs_in(guarded, login, committed_db):
    asked = login()["challenge"]
    code = mailed_code()
    answers = Counter(together(50, lambda n: verify(asked, code)))
    assert answers == {200: 1, 401: 49}
    assert SignIn.objects.count() == 1


def test_who_guesses_on_from_challenge_to_challenge_has_to_wait(guarded, login, anonymous):
    for _ in range(5):
        asked = login()["challenge"]
        wrong = another(mailed_code())
        for _ in range(5):
            assert verify(asked, wrong) == 401
    answer = anonymous.post(f"{AUTH}login", {"username": "owner", "password": PASSWORD})
    assert answer.status_code == 429 and 3500 < int(answer.headers["Retry-After"]) <= 3600
    wrong_password = anonymous.post(f"{AUTH}login", {"username": "owner", "password": "wrong"})
    assert wrong_password.status_code == 401
    realms.staff().set_password(guarded, "another-staple-7")  # whoever guessed does not know this one
    asked = anonymous.post(f"{AUTH}login", {"username": "owner", "password": "another-staple-7"}).json()
    assert verify(asked["challenge"], mailed_code()) == 200


def test_guesses_are_forgotten_after_an_hour(guarded, login):
    for _ in range(5):
        asked = login()["challenge"]
        for _ in range(5):
            verify(asked, "badbad")
    earlier = timedelta(hours=2)
    for row in Challenge.objects.all():
        Challenge.objects.filter(pk=row.pk).update(created=row.created - earlier, expires=row.expires - earlier)
    assert login()["requires_2fa"] is True
    assert Challenge.objects.count() == 1


# --- another code ----------------------------------------------------------------------------


def test_another_code_ends_the_one_before_at_once(guarded, login, anonymous):
    asked = login()["challenge"]
    first = mailed_code()
    at_once = anonymous.post(f"{AUTH}resend-2fa", {"challenge": asked})
    assert at_once.status_code == 429 and 1 <= int(at_once.headers["Retry-After"]) <= 30
    assert not Mail.objects.exists()
    Challenge.objects.update(sent=clock.now() - timedelta(seconds=31))
    answer = anonymous.post(f"{AUTH}resend-2fa", {"challenge": asked})
    assert (answer.status_code, answer.json()) == (200, {"message": "2FA code sent to your email"})
    assert verify(asked, first) == 401
    assert verify(asked, mailed_code()) == 200


def test_three_more_codes_are_sent_and_no_try_is_given_back(guarded, login, anonymous):
    asked = login()["challenge"]
    assert verify(asked, "badbad") == 401
    for _ in range(3):
        Challenge.objects.update(sent=clock.now() - timedelta(seconds=31))
        assert anonymous.post(f"{AUTH}resend-2fa", {"challenge": asked}).status_code == 200
    Challenge.objects.update(sent=clock.now() - timedelta(seconds=31))
    answer = anonymous.post(f"{AUTH}resend-2fa", {"challenge": asked})
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 60
    assert mailing.send_due() == 4 and Challenge.objects.get().attempts == 1
    assert verify(asked, mailed_code()) == 200


def test_no_code_is_sent_for_a_challenge_that_is_over_or_is_not_one(guarded, login, anonymous):
    asked = login()["challenge"]
    mailing.send_due()
    for change in ({"expires": clock.now()}, {"attempts": 5}):
        Challenge.objects.update(
            sent=clock.now() - timedelta(minutes=1), expires=clock.now() + timedelta(minutes=1), attempts=0
        )
        Challenge.objects.update(**change)
        assert anonymous.post(f"{AUTH}resend-2fa", {"challenge": asked}).status_code == 401
    assert anonymous.post(f"{AUTH}resend-2fa", {"challenge": "x"}).status_code == 401
    assert anonymous.post(f"{AUTH}resend-2fa", {"user_id": str(guarded.pk)}).status_code == 422
    assert not Mail.objects.exists()


def test_of_many_who_ask_for_another_code_at_once_one_gets_it(guarded, login, committed_db):
    asked = login()["challenge"]
    mailing.send_due()
    Challenge.objects.update(sent=clock.now() - timedelta(seconds=31))
    answers = together(12, lambda n: APIClient().post(f"{AUTH}resend-2fa", {"challenge": asked}).status_code)
    assert Counter(answers) == {200: 1, 429: 11}
    assert Mail.objects.count() == 1


# --- secrets ---------------------------------------------------------------------------------


def test_neither_the_database_nor_the_logs_hold_a_secret(guarded, login, caplog):
    caplog.set_level(logging.DEBUG)
    asked = login()
    rows_before = everything()
    code = mailed_code()
    rows = everything()
    for secret in (asked["challenge"], code):
        assert secret not in rows_before and secret not in rows and secret not in caplog.text
    assert verify(asked["challenge"], code) == 200
    assert asked["challenge"] not in caplog.text and f"'{code}'" not in caplog.text


def everything() -> str:
    """All that the tables of accounts hold, as text."""
    held = []
    with connection.cursor() as cursor:
        for model in (Challenge, Mail, SignIn, User):
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")
            held.append(str(cursor.fetchall()))
    return " ".join(held)
