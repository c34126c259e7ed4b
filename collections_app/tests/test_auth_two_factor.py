"""The second factor of auth collections: codes by mail, which are good for no other collection and no staff."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core import mail
from rest_framework.test import APIClient

from accounts import mailing, two_factor
from accounts.models import Challenge, OneTimeToken, SignIn, User
from core import clock

pytestmark = pytest.mark.engine

PASSWORD = "correct-horse-9"
STAFF = "/api/v1/auth/"
CUSTOMERS, VENDORS = (f"/api/v1/collections/{name}/auth/" for name in ("customers", "vendors"))


def bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {made['access_token']}"}


@pytest.fixture
def ann(make_collection: Callable[..., Any], anonymous: APIClient) -> dict[str, Any]:
    """The same address in two collections, both asking for a code; what the first one's registration answered."""
    answers = []
    for base, name in ((CUSTOMERS, "customers"), (VENDORS, "vendors")):
        make_collection(name, type="auth")
        made = anonymous.post(f"{base}register", {"email": "ann@example.com", "password": PASSWORD}).json()
        mailing.send_due()
        token = re.search(r"token=([\w-]+)", str(mail.outbox[-1].body))
        assert token
        assert anonymous.post(f"{base}verify-email", {"token": token[1]}).status_code == 200
        assert anonymous.post(f"{base}enable-2fa", **bearer(made)).status_code == 200
        answers.append(made)
    mailing.send_due()
    mail.outbox.clear()
    first: dict[str, Any] = answers[0]
    return first


def log_in(base: str) -> dict[str, Any]:
    asked = APIClient().post(f"{base}login", {"email": "ann@example.com", "password": PASSWORD}).json()
    assert asked["requires_2fa"] is True and "access_token" not in asked
    return dict(asked)


def code() -> str:
    mailing.send_due()
    return mail.outbox[-1].subject[:6]


def verify(base: str, **body: str) -> int:
    return int(APIClient().post(f"{base}verify-2fa", body).status_code)


def test_a_challenge_is_good_in_its_own_collection_only(ann):
    asked = log_in(CUSTOMERS)
    right = code()
    before = SignIn.objects.count()
    for base in (STAFF, "/api/auth/", VENDORS):
        assert verify(base, challenge=asked["challenge"], code=right) == 401
        assert verify(base, user_id=asked["user_id"], code=right) == 401
        resent = APIClient().post(f"{base}resend-2fa", {"challenge": asked["challenge"]})
        assert resent.status_code == 401
    assert SignIn.objects.count() == before and Challenge.objects.get().attempts == 0
    assert verify(CUSTOMERS, user_id=asked["user_id"], code=right) == 200


def test_a_staff_challenge_is_no_good_in_a_collection(ann, owner: User):
    two_factor.enable(owner)
    asked = two_factor.challenge(owner, "password")
    right = code()
    assert verify(CUSTOMERS, challenge=asked.raw, code=right) == 401
    assert verify(CUSTOMERS, user_id=str(owner.pk), code=right) == 401
    assert verify(STAFF, challenge=asked.raw, code=right) == 200


def test_another_code_comes_by_the_collections_path(ann, anonymous):
    asked = log_in(CUSTOMERS)
    first = code()
    assert anonymous.post(f"{CUSTOMERS}resend-2fa", {"challenge": asked["challenge"]}).status_code == 429
    Challenge.objects.update(sent=clock.now() - timedelta(seconds=31))
    assert anonymous.post(f"{CUSTOMERS}resend-2fa", {"challenge": asked["challenge"]}).status_code == 200
    assert verify(CUSTOMERS, challenge=asked["challenge"], code=first) == 401
    assert verify(CUSTOMERS, challenge=asked["challenge"], code=code()) == 200


def test_codes_come_by_mail_only(ann, anonymous):
    said = anonymous.get(f"{CUSTOMERS}2fa", **bearer(ann)).json()
    assert said == {"enabled": True, "method": "email", "recovery_codes_left": 0}
    for path, body in (
        ("2fa/totp", {"password": PASSWORD}),
        ("2fa/totp/confirm", {"code": "123456"}),
        ("2fa/recovery-codes", {"password": PASSWORD}),
    ):
        answer = anonymous.post(f"{CUSTOMERS}{path}", body, **bearer(ann))
        assert answer.status_code == 404 and "accounts of users" in answer.json()["message"], path
    assert not Authenticator.objects.exists() and not OneTimeToken.objects.filter(purpose="totp").exists()
