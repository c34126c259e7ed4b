"""What one server is told holds in another with the next request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts.models import User
from tests.server import server

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("committed_db")]

PASSWORD = "correct-horse-battery"


def test_the_mode_of_registration_and_the_end_of_an_account_hold_everywhere_at_once(
    tmp_path: Path, real_hashers: None, make_user: Any
) -> None:
    make_user("chief", role="superadmin")
    victim = make_user("victim")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with server(tmp_path / "one") as one, server(tmp_path / "two") as two:

        def token(name: str) -> dict[str, str]:
            login = httpx.post(f"{one.url}/api/login", json={"login": name, "password": PASSWORD})
            return {"Authorization": f"Bearer {login.json()['data']['token']}"}

        chief, theirs = token("chief"), token("victim")
        for number, (mode, status) in enumerate((("CLOSED", 403), ("INVITE_ONLY", 422), ("OPEN", 201))):
            body = {"value": mode, "type": "string"}
            assert httpx.put(f"{one.url}/api/cms/settings/registration_mode", json=body, headers=chief).is_success
            for path in ("/api/register", "/api/v1/auth/register", "/api/auth/register"):
                name = f"new{number}-{path.count('/')}"
                newcomer = {"login": name, "email": f"{name}@example.com", "password": PASSWORD}
                answer = httpx.post(two.url + path, json=newcomer)
                assert answer.status_code == status, (mode, path, answer.text)
        assert httpx.get(f"{two.url}/api/profile", headers=theirs).status_code == 200
        change = {"is_active": False}
        path = f"/api/v1/users/update/{victim.pk}"
        assert httpx.patch(one.url + path, json=change, headers=chief).is_success
        for running in (one, two):
            assert httpx.get(f"{running.url}/api/profile", headers=theirs).status_code == 401
    assert User.objects.filter(username__startswith="new").count() == 3
