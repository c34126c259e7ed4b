"""Codes of an authenticator app, and recovery codes: each works once, and what they follow from is encrypted."""

from __future__ import annotations

import base64
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.db import connection
from rest_framework.test import APIClient

from accounts import mailing, tokens, two_factor
from accounts.models import Challenge, Mail, OneTimeToken, SignIn, User
from accounts.tests.threads import together
from core import clock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]

AUTH = "/api/v1/auth/"
PASSWORD = "correct-horse-battery"
BAD = "Invalid or expired 2FA code"


class Watch:
    """The clock of the server, which stands still until it is moved."""

    def __init__(self) -> None:
        step = int(clock.now().timestamp()) // 30 + 1
        self.moment = datetime.fromtimestamp(step * 30 + 10, tz=UTC)  # ten seconds into a step

    def go(self, **time: float) -> None:
        self.moment += timedelta(**time)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(clock, "now", lambda: watch.moment)
    return watch


class Phone:
    """An authenticator app that was told a secret; its clock may be off."""

    def __init__(self, secret: str, watch: Watch) -> None:
        self.secret, self.watch = secret, watch

    def code(self, off: int = 0) -> str:
        step = int(self.watch.moment.timestamp()) // 30 + off
        return format_hotp_value(hotp_value(self.secret, step))

    def wrong(self) -> str:
        near = {self.code(off) for off in range(-2, 3)}
        return next(code for code in (f"{n:06}" for n in range(9)) if code not in near)


@pytest.fixture
def phone(owner: User, as_user: Callable[[User], APIClient], watch: Watch) -> Phone:
    """The app of ``owner``, half a minute after it was set up."""
    client = as_user(owner)
    phone = Phone(client.post(f"{AUTH}2fa/totp", {"password": PASSWORD}).json()["secret"], watch)
    answer = client.post(f"{AUTH}2fa/totp/confirm", {"code": phone.code()})
    assert answer.status_code == 200, answer.json()
    phone.recovery_codes = answer.json()["recovery_codes"]
    phone.client = client
    mailing.send_due()
    mail.outbox.clear()
    watch.go(seconds=60)
    return phone


@pytest.fixture
def login(anonymous: APIClient) -> Callable[..., str]:
    def ask(identifier: str = "owner") -> str:
        answer = anonymous.post(f"{AUTH}login", {"username": identifier, "password": PASSWORD})
        assert answer.status_code == 200, answer.json()
        return answer.json()["challenge"]

    return ask


def verify(challenge: str, code: str) -> int:
    return APIClient().post(f"{AUTH}verify-2fa", {"challenge": challenge, "code": code}).status_code


# --- setting it up ---------------------------------------------------------------------------


def test_the_whole_story_of_an_app(owner, as_user, anonymous, watch, login, settings):
    client, there = as_user(owner), as_user(owner)
    told = client.post(f"{AUTH}2fa/totp", {"password": PASSWORD})
    assert told.status_code == 200 and set(told.json()) == {"secret", "otpauth_url", "qr"}
    assert told.headers["Cache-Control"] == "no-store"
    secret = told.json()["secret"]
    assert len(base64.b32decode(secret)) == 20
    url = urlsplit(told.json()["otpauth_url"])
    assert (url.scheme, url.netloc, unquote(url.path)) == ("otpauth", "totp", f"/{owner.email}")
    assert parse_qs(url.query) == {"secret": [secret], "issuer": [settings.PROJECT_NAME]}
    kind, _, picture = told.json()["qr"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(picture).startswith(b"<?xml") and b"<svg" in base64.b64decode(picture)

    off = {"enabled": False, "method": None, "recovery_codes_left": 0}
    assert client.get(f"{AUTH}2fa").json() == off and there.get(f"{AUTH}me").status_code == 200
    phone = Phone(secret, watch)
    wrong = client.post(f"{AUTH}2fa/totp/confirm", {"code": phone.wrong()})
    assert (wrong.status_code, wrong.json()["message"]) == (401, BAD)
    assert client.get(f"{AUTH}2fa").json() == off

    on = client.post(f"{AUTH}2fa/totp/confirm", {"code": phone.code()})
    assert on.status_code == 200 and on.json()["message"] == "2FA has been enabled successfully"
    assert len(set(on.json()["recovery_codes"])) == 10
    assert client.get(f"{AUTH}2fa").json() == {"enabled": True, "method": "totp", "recovery_codes_left": 10}
    assert client.get(f"{AUTH}me").json()["two_fa_enabled"] is True
    assert there.get(f"{AUTH}me").status_code == 401
    mailing.send_due()
    assert mail.outbox[-1].subject == "2FA Enabled" and not OneTimeToken.objects.exists()

    watch.go(seconds=30)
    asked = anonymous.post(f"{AUTH}login", {"username": "owner", "password": PASSWORD}).json()
    assert asked["requires_2fa"] and asked["method"] == "totp" and "access_token" not in asked
    assert asked["message"] == "Enter the code of your authenticator app" and not Mail.objects.exists()
    done = anonymous.post(f"{AUTH}verify-2fa", {"challenge": asked["challenge"], "code": phone.code()})
    assert done.status_code == 200 and done.json()["user"]["id"] == str(owner.pk)

    assert client.post(f"{AUTH}disable-2fa", {"password": PASSWORD}).status_code == 200
    assert client.get(f"{AUTH}2fa").json() == off and not Authenticator.objects.exists()
    assert "access_token" in anonymous.post(f"{AUTH}login", {"username": "owner", "password": PASSWORD}).json()


def test_it_needs_the_password_and_a_verified_address(owner, make_user, as_user):
    wrong = as_user(owner).post(f"{AUTH}2fa/totp", {"password": "wrong"})
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Incorrect password")
    assert as_user(owner).post(f"{AUTH}2fa/totp").status_code == 422
    loose = as_user(make_user("loose", verified=False)).post(f"{AUTH}2fa/totp", {"password": PASSWORD})
    assert (loose.status_code, loose.json()["message"]) == (400, "Please verify your email before enabling 2FA")
    assert not OneTimeToken.objects.exists() and not Authenticator.objects.exists()


def test_only_the_newest_secret_can_be_confirmed_and_not_for_long(owner, member, as_user, watch):
    client = as_user(owner)

    def begin(client):
        return Phone(client.post(f"{AUTH}2fa/totp", {"password": PASSWORD}).json()["secret"], watch)

    def confirm(code, by=client):
        return by.post(f"{AUTH}2fa/totp/confirm", {"code": code}).status_code

    first, newest = begin(client), begin(client)
    assert confirm(first.code()) == 401
    assert confirm(newest.code(), by=as_user(member)) == 401
    watch.go(minutes=16)
    assert confirm(newest.code()) == 401
    last = begin(client)
    assert confirm(last.code()) == 200
    assert confirm(last.code()) == 401
    member.refresh_from_db()
    assert not member.two_fa_enabled and Authenticator.objects.filter(user=owner).count() == 2


def test_a_secret_told_before_the_password_changed_is_confirmed_no_more(owner, as_user, watch):
    phone = Phone(as_user(owner).post(f"{AUTH}2fa/totp", {"password": PASSWORD}).json()["secret"], watch)
    owner.set_password("another-staple-7")
    owner.save()
    assert as_user(owner).post(f"{AUTH}2fa/totp/confirm", {"code": phone.code()}).status_code == 401


@pytest.mark.parametrize("code", ["12345", "1234567", "bcdfg-hjklm", "", 123456, None])
def test_a_code_of_another_length_is_422(owner, as_user, code):
    answer = as_user(owner).post(f"{AUTH}2fa/totp/confirm", {"code": code}, format="json")
    assert answer.status_code == 422 and list(answer.json()["fields"]) == ["code"]


def test_an_app_takes_the_place_of_mail_and_of_the_app_before(owner, as_user, watch, login, phone):
    first = phone
    client = phone.client
    second = Phone(client.post(f"{AUTH}2fa/totp", {"password": PASSWORD}).json()["secret"], watch)
    assert verify(login(), first.code()) == 200
    assert client.post(f"{AUTH}2fa/totp/confirm", {"code": second.code()}).status_code == 200
    watch.go(seconds=60)
    assert verify(login(), first.code()) == 401
    assert verify(login(), first.recovery_codes[0]) == 401
    assert verify(login(), second.code()) == 200
    again = client.post(f"{AUTH}enable-2fa")
    assert (again.status_code, again.json()["message"]) == (400, "2FA is already enabled")


def test_a_mailed_code_ends_when_an_app_is_set_up(owner, as_user, watch, login):
    two_factor.enable(owner)
    client = as_user(owner)
    asked = login()
    mailing.send_due()
    code = mail.outbox[-1].subject[:6]
    phone = Phone(client.post(f"{AUTH}2fa/totp", {"password": PASSWORD}).json()["secret"], watch)
    assert client.post(f"{AUTH}2fa/totp/confirm", {"code": phone.code()}).status_code == 200
    watch.go(seconds=30)
    assert verify(asked, code) == verify(asked, phone.code()) == 401


def test_of_many_confirmations_at_once_one_gets_codes_that_work(owner, as_user, watch, committed_db, login):
    access = tokens.issue(owner).access
    headers = {"HTTP_AUTHORIZATION": f"Bearer {access}"}
    secret = APIClient().post(f"{AUTH}2fa/totp", {"password": PASSWORD}, **headers).json()["secret"]
    code = Phone(secret, watch).code()
    answers = together(20, lambda n: APIClient().post(f"{AUTH}2fa/totp/confirm", {"code": code}, **headers))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 19}
    codes = next(answer.json()["recovery_codes"] for answer in answers if answer.status_code == 200)
    assert verify(login(), codes[0]) == 200


# --- codes of the app ------------------------------------------------------------------------


@pytest.mark.parametrize(("off", "works"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_phone_s_clock_may_be_one_step_off(phone, login, off, works):
    assert verify(login(), phone.code(off)) == (200 if works else 401)


def test_a_code_works_once_and_none_from_before_it(phone, login, watch):
    code, earlier = phone.code(), phone.code(-1)
    assert verify(login(), code) == 200
    assert verify(login(), code) == 401
    assert verify(login(), earlier) == 401
    watch.go(seconds=30)
    assert verify(login(), code) == 401
    assert verify(login(), phone.code()) == 200


def test_the_code_that_set_the_app_up_signs_nobody_in(owner, as_user, watch, login):
    client = as_user(owner)
    phone = Phone(client.post(f"{AUTH}2fa/totp", {"password": PASSWORD}).json()["secret"], watch)
    client.post(f"{AUTH}2fa/totp/confirm", {"code": phone.code()})
    assert verify(login(), phone.code()) == 401


def test_of_twenty_uses_of_one_code_at_once_one_signs_in(phone, owner, watch, committed_db):
    """Through challenges of their own: as if somebody had seen the code over the shoulder."""
    code = phone.code()
    raws = []
    for _ in range(20):
        raws.append(two_factor.challenge(owner, "password").raw)
        Challenge.objects.update(expires=watch.moment + timedelta(minutes=5))  # none ended the one before
    answers = together(20, lambda n: verify(raws[n], code))
    assert Counter(answers) == {200: 1, 401: 19}
    assert SignIn.objects.filter(method="password+2fa").count() == 1


def test_the_app_of_one_account_is_no_good_for_another(phone, member, login):
    two_factor.enable(member)
    assert verify(login("member"), phone.code()) == 401


def test_five_tries_hold_for_the_app_too(phone, login):
    asked = login()
    assert [verify(asked, phone.wrong()) for _ in range(5)] == [401] * 5
    assert verify(asked, phone.code()) == 401


def test_no_code_is_mailed_to_who_has_an_app(phone, login, anonymous, watch):
    asked = login()
    watch.go(seconds=31)
    answer = anonymous.post(f"{AUTH}resend-2fa", {"challenge": asked})
    assert answer.status_code == 400 and "authenticator app" in answer.json()["message"]
    assert not Mail.objects.exists()


# --- recovery codes --------------------------------------------------------------------------


def test_a_recovery_code_works_once_however_it_is_written(phone, login):
    first, second, third, *_ = phone.recovery_codes
    assert verify(login(), first) == 200
    assert verify(login(), first) == 401
    assert verify(login(), second.upper()) == 200
    assert verify(login(), third.replace("-", "")) == 200
    assert phone.client.get(f"{AUTH}2fa").json()["recovery_codes_left"] == 7


def test_of_twenty_uses_of_one_recovery_code_at_once_one_signs_in(phone, owner, watch, committed_db):
    raws = []
    for _ in range(20):
        raws.append(two_factor.challenge(owner, "password").raw)
        Challenge.objects.update(expires=watch.moment + timedelta(minutes=5))
    answers = together(20, lambda n: verify(raws[n], phone.recovery_codes[3]))
    assert Counter(answers) == {200: 1, 401: 19}
    assert phone.client.get(f"{AUTH}2fa").json()["recovery_codes_left"] == 9


def test_different_recovery_codes_used_at_once_are_all_used_up(phone, owner, watch, committed_db, login):
    raws = []
    for _ in range(8):
        raws.append(two_factor.challenge(owner, "password").raw)
        Challenge.objects.update(expires=watch.moment + timedelta(minutes=5))
    assert together(8, lambda n: verify(raws[n], phone.recovery_codes[n])) == [200] * 8
    assert phone.client.get(f"{AUTH}2fa").json()["recovery_codes_left"] == 2
    assert {verify(login(), code) for code in phone.recovery_codes[:8]} == {401}


def test_new_recovery_codes_end_the_old_ones(phone, login):
    wrong = phone.client.post(f"{AUTH}2fa/recovery-codes", {"password": "wrong"})
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Incorrect password")
    assert verify(login(), phone.recovery_codes[0]) == 200
    answer = phone.client.post(f"{AUTH}2fa/recovery-codes", {"password": PASSWORD})
    assert answer.status_code == 200 and len(set(answer.json()["recovery_codes"])) == 10
    assert verify(login(), phone.recovery_codes[1]) == 401
    assert verify(login(), answer.json()["recovery_codes"][0]) == 200


def test_recovery_codes_belong_to_an_app(owner, as_user):
    two_factor.enable(owner)
    client = as_user(owner)
    assert client.post(f"{AUTH}2fa/recovery-codes", {"password": PASSWORD}).status_code == 400
    assert not Authenticator.objects.exists()


# --- secrets ---------------------------------------------------------------------------------


def test_neither_the_database_nor_the_logs_hold_a_secret(owner, as_user, watch, login, caplog):
    caplog.set_level(logging.DEBUG)
    client = as_user(owner)
    secret = client.post(f"{AUTH}2fa/totp", {"password": PASSWORD}).json()["secret"]
    pending = everything()
    phone = Phone(secret, watch)
    codes = client.post(f"{AUTH}2fa/totp/confirm", {"code": phone.code()}).json()["recovery_codes"]
    watch.go(seconds=30)
    verify(login(), codes[0])
    rows = everything()
    assert secret not in pending and secret not in rows and secret not in caplog.text
    for code in codes:
        assert code not in rows and code.replace("-", "") not in rows and code not in caplog.text


def test_under_another_secret_key_no_code_is_right_and_the_account_can_turn_it_off(
    phone, owner, login, settings, as_user, caplog
):
    settings.SECRET_KEY = "another-key-" * 5
    asked = login()
    assert verify(asked, phone.code()) == verify(asked, phone.recovery_codes[0]) == 401
    assert "another SECRET_KEY" in caplog.text
    assert as_user(owner).post(f"{AUTH}disable-2fa", {"password": PASSWORD}).status_code == 200


def everything() -> str:
    held = []
    with connection.cursor() as cursor:
        for model in (Authenticator, Challenge, Mail, OneTimeToken, SignIn, User):
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")
            held.append(str(cursor.fetchall()))
    return " ".join(held)
