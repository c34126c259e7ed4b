"""Verify, resend, reset, change the address: each link works once, for what it was made."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core import mail
from rest_framework.test import APIClient

from accounts import mailing, realms, tokens
from accounts.models import Mail, OneTimeToken, SignIn, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]

AUTH = "/api/v1/auth/"
PASSWORD = "correct-horse-9"


@pytest.fixture
def register(anonymous: APIClient) -> Callable[..., dict]:
    User.objects.create_user("first@example.com", PASSWORD, username="first")

    def make(email: str = "ann@example.com", **fields: str) -> dict:
        answer = anonymous.post(f"{AUTH}register", {"email": email, "password": PASSWORD, **fields})
        assert answer.status_code == 201, answer.json()
        return answer.json()

    return make


def token_of(message: mail.EmailMultiAlternatives, page: str) -> str:
    found = re.search(rf"/{page}\?token=([\w-]+)", message.body)
    assert found, message.body
    assert found[0] in message.alternatives[0][0]
    return found[1]


def the_mail(to: str) -> mail.EmailMultiAlternatives:
    mailing.send_due()
    assert mail.outbox[-1].to == [to]
    return mail.outbox[-1]


def test_a_registration_is_verified_by_the_link_in_its_mail(register, anonymous):
    registered = register()
    assert registered["verified"] is False
    token = token_of(the_mail("ann@example.com"), "verify")
    answer = anonymous.post(f"{AUTH}verify-email", {"token": token})
    assert answer.status_code == 200 and answer.json()["message"] == "Email verified successfully"
    assert answer.json()["user"]["verified"] is True
    again = anonymous.post(f"{AUTH}verify-email", {"token": token})
    assert again.status_code == 400 and again.json()["error_code"] == "BAD_REQUEST"


def test_an_account_is_made_with_its_mail_or_not_at_all(register, monkeypatch):
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(mailing.Mail.objects, "create", fail)
    with pytest.raises(RuntimeError, match="no more"):
        register()
    assert not User.objects.filter(email="ann@example.com").exists()


def test_the_database_holds_no_secret_of_a_mail(register):
    register()
    token = token_of(the_mail("ann@example.com"), "verify")
    row = OneTimeToken.objects.get()
    assert token not in (row.digest, str(row.data)) and not Mail.objects.exists()


def test_a_link_asked_for_again_ends_the_earlier_one(register, anonymous):
    access = register()["access_token"]
    first = token_of(the_mail("ann@example.com"), "verify")
    answer = anonymous.post(f"{AUTH}resend-verification", HTTP_AUTHORIZATION=f"Bearer {access}")
    assert answer.status_code == 200
    second = token_of(the_mail("ann@example.com"), "verify")
    assert anonymous.post(f"{AUTH}verify-email", {"token": first}).status_code == 400
    assert anonymous.post(f"{AUTH}verify-email", {"token": second}).status_code == 200


def test_a_password_is_reset_by_the_link_in_a_mail_once(register, anonymous):
    tokens_before = register()
    answer = anonymous.post(f"{AUTH}request-password-reset", {"email": "Ann@Example.com"})
    assert answer.json() == {"message": "If the email exists, a password reset link has been sent"}
    token = token_of(the_mail("ann@example.com"), "reset-password")
    weak = anonymous.post(f"{AUTH}reset-password", {"token": token, "new_password": "short"})
    assert weak.status_code == 422 and "new_password" in weak.json()["fields"]
    good = {"token": token, "new_password": "another-staple-7", "password_confirm": "another-staple-7"}
    assert anonymous.post(f"{AUTH}reset-password", good).json() == {"message": "Password reset successfully"}
    assert anonymous.post(f"{AUTH}reset-password", good).status_code == 400
    user = User.objects.get(email="ann@example.com")
    assert user.check_password("another-staple-7") and user.verified  # the mail proved the address
    for raw in (tokens_before["access_token"],):
        assert anonymous.get(f"{AUTH}me", HTTP_AUTHORIZATION=f"Bearer {raw}").status_code == 401
    stale = anonymous.post(f"{AUTH}refresh", {"refresh_token": tokens_before["refresh_token"]})
    assert stale.status_code == 401


@pytest.mark.parametrize(
    ("path", "page"), [("request-password-reset", "reset-password"), ("resend-verification", "verify")]
)
def test_nobody_fills_somebodys_box_or_ends_each_link_with_another(path, page, register, anonymous):
    register()
    mailing.send_due()
    for _ in range(12):
        assert anonymous.post(f"{AUTH}{path}", {"email": "ann@example.com"}).status_code == 200
        mailing.send_due()
    sent = [message for message in mail.outbox if f"/{page}?" in message.body]
    assert len(sent) == 5 and not Mail.objects.exists()
    token = token_of(sent[-1], page)
    row = OneTimeToken.objects.get(purpose={"verify": "verify", "reset-password": "reset"}[page])
    row.created -= timedelta(minutes=61)
    row.earlier = [moment - 3660 for moment in row.earlier]
    row.save()
    if page == "verify":
        assert anonymous.post(f"{AUTH}verify-email", {"token": token}).status_code == 200
    else:
        anonymous.post(f"{AUTH}{path}", {"email": "ann@example.com"})
        newer = token_of(the_mail("ann@example.com"), page)
        for raw, status in ((token, 400), (newer, 200)):
            body = {"token": raw, "new_password": "another-staple-7"}
            assert anonymous.post(f"{AUTH}reset-password", body).status_code == status


def test_a_token_for_one_purpose_is_no_good_for_another(register, anonymous):
    register()
    verify = token_of(the_mail("ann@example.com"), "verify")
    assert (
        anonymous.post(f"{AUTH}reset-password", {"token": verify, "new_password": "another-staple-7"}).status_code
        == 400
    )
    anonymous.post(f"{AUTH}forgot-password", {"email": "ann@example.com"})
    reset = token_of(the_mail("ann@example.com"), "reset-password")
    assert anonymous.post(f"{AUTH}verify-email", {"token": reset}).status_code == 400
    assert not User.objects.get(email="ann@example.com").verified


def test_asking_for_nobody_answers_alike_and_mails_nobody(register, anonymous):
    register()
    mailing.send_due()
    mail.outbox.clear()
    for path in ("request-password-reset", "forgot-password", "resend-verification"):
        known = anonymous.post(f"{AUTH}{path}", {"email": "ann@example.com"})
        unknown = anonymous.post(f"{AUTH}{path}", {"email": "nobody@example.com"})
        assert known.status_code == unknown.status_code == 200 and known.json() == unknown.json()
        assert Mail.objects.count() == 2
        mailing.send_due()
        assert [message.to for message in mail.outbox] == [["ann@example.com"]]
        mail.outbox.clear()
        assert not Mail.objects.exists()


def test_a_new_address_counts_once_its_link_is_followed(register, anonymous):
    access = register()["access_token"]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {access}"}
    wrong = anonymous.post(f"{AUTH}change-email", {"new_email": "new@example.com", "password": "no"}, **bearer)
    assert wrong.status_code == 422
    body = {"new_email": "new@example.com", "password": PASSWORD}
    assert anonymous.post(f"{AUTH}change-email", body, **bearer).status_code == 200
    assert User.objects.filter(email="ann@example.com").exists()
    mailing.send_due()
    token = token_of(mail.outbox[-1], "change-email")
    assert mail.outbox[-1].to == ["new@example.com"]
    answer = anonymous.post(f"{AUTH}confirm-email-change", {"token": token})
    assert answer.status_code == 200 and answer.json()["user"]["email"] == "new@example.com"
    assert anonymous.get(f"{AUTH}me", **bearer).status_code == 401
    assert the_mail("ann@example.com").subject == "Your e-mail address was changed"


def test_a_change_that_was_asked_for_before_the_password_changed_is_not_mailed(register, anonymous):
    access = register()["access_token"]
    mailing.send_due()
    mail.outbox.clear()
    body = {"new_email": "thief@example.com", "password": PASSWORD}
    assert anonymous.post(f"{AUTH}change-email", body, HTTP_AUTHORIZATION=f"Bearer {access}").status_code == 200
    user = User.objects.get(email="ann@example.com")
    user.set_password("another-staple-7")
    user.save()
    assert mailing.send_due() == 0 and not mail.outbox and not Mail.objects.exists()


def test_a_taken_address_answers_alike_and_changes_nothing(register, anonymous):
    access = register()["access_token"]
    mailing.send_due()
    mail.outbox.clear()
    body = {"new_email": "first@example.com", "password": PASSWORD}
    answer = anonymous.post(f"{AUTH}change-email", body, HTTP_AUTHORIZATION=f"Bearer {access}")
    assert answer.status_code == 200
    assert mailing.send_due() == 0 and not mail.outbox


def test_a_mail_server_that_fails_is_tried_again(register, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9  # nobody listens there
    register()
    assert mailing.send_due() == 0
    row = Mail.objects.get()
    assert row.attempts == 1 and "refused" in row.error.lower()


def test_sign_ins_are_listed_and_ended(register, anonymous):
    access = register()["access_token"]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {access}"}
    anonymous.post(f"{AUTH}login", {"email": "ann@example.com", "password": PASSWORD}, HTTP_USER_AGENT="A phone")
    other = User.objects.get(username="first")
    theirs = tokens.issue(other)
    listed = anonymous.get(f"{AUTH}sessions", **bearer).json()["items"]
    assert [(item["current"], item["user_agent"]) for item in listed] == [(False, "A phone"), (True, "")]
    foreign = SignIn.objects.of(other).get()
    assert anonymous.delete(f"{AUTH}sessions/{foreign.pk}", **bearer).status_code == 404
    assert anonymous.delete(f"{AUTH}sessions/{listed[0]['id']}", **bearer).status_code == 204
    assert anonymous.delete(f"{AUTH}sessions", **bearer).json() == {"revoked": 0}
    assert tokens.refresh(realms.staff(), theirs.refresh)[0] == other
    assert anonymous.delete(f"{AUTH}sessions/{listed[1]['id']}", **bearer).status_code == 204
    assert anonymous.get(f"{AUTH}me", **bearer).status_code == 401
