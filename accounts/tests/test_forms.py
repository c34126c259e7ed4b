"""The forms of the browsable API, for accounts."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

SECRET = "s3cret-that-nobody-else-may-see"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("auth/reset-password", {"token": SECRET, "new_password": "another-staple-7"}),
        ("auth/reset-password", {"token": "x", "new_password": SECRET, "password_confirm": "else"}),
        ("auth/verify-email", {"token": SECRET}),
        ("auth/confirm-email-change", {"token": SECRET}),
        ("auth/verify-2fa", {"challenge": SECRET, "code": "123456"}),
        ("auth/resend-2fa", {"challenge": SECRET}),
        ("auth/refresh", {"refresh_token": SECRET}),
        ("auth/login", {"username": "nobody", "password": SECRET}),
        ("auth/register", {"email": "x", "password": SECRET, "invite_code": SECRET, "setup_token": SECRET}),
        ("oauth/exchange", {"code": SECRET}),
    ],
)
def test_a_refused_form_shows_no_secret_again(path: str, body: dict[str, str], anonymous: APIClient) -> None:
    answer = anonymous.post(f"/api/v1/{path}", body, format="multipart", HTTP_ACCEPT="text/html")
    assert answer.status_code in (400, 401, 422), answer.content
    assert answer.headers["Content-Type"].startswith("text/html")
    assert SECRET not in answer.content.decode()
    assert "<form" in answer.content.decode()
