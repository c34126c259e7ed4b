"""What one server is told holds in another with the next request."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from accounts.models import User
from tests.server import Server, server
from tests.sse_client import Refused, Stream
from tests.wire_house import Socket

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("committed_db")]

PASSWORD = "correct-horse-battery"


def test_settings_and_the_end_of_an_account_hold_everywhere_at_once(
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
        _site_is_closed_and_opened(one, two, chief)
    assert User.objects.filter(username__startswith="new").count() == 3


def _site_is_closed_and_opened(one: Server, two: Server, chief: dict[str, str]) -> None:
    """By the lane, Django, streams and sockets of the server that was not told, within a moment."""

    def put(value: bool) -> None:
        body = {"key": "maintenance_mode", "value": value}
        assert httpx.post(f"{one.url}/api/v1/settings", json=body, headers=chief).is_success

    def statuses(headers: dict[str, str]) -> list[int]:
        paths = ("/api/v1/collections/records/records", "/api/cms/registration-mode", "/api/v1/settings")
        return [httpx.get(two.url + path, headers=headers).status_code for path in paths]

    body = {"app_name": "Our house"}
    assert httpx.patch(f"{one.url}/api/v1/settings", json=body, headers=chief).is_success
    _wait_for(lambda: httpx.get(f"{two.url}/health").json()["service"] == "Our house")
    streams, sockets = f"{two.url}/api/v1/realtime", f"{two.url.replace('http', 'ws')}/ws/guest"
    admin = {"token": chief["Authorization"].removeprefix("Bearer ")}
    with Stream(streams) as theirs, Stream(f"{streams}?token={admin['token']}") as ours, connect(sockets) as socket:
        put(True)
        _wait_for(lambda: statuses({}) == [503, 503, 503])
        assert theirs.ended(20) and Socket(socket).close_code(20) == 1012
        assert statuses(chief) == [200, 200, 200] and not ours.ended(0.1)
    with suppress(Refused), Stream(streams):
        raise AssertionError("a stream was opened")
    with pytest.raises(InvalidStatus, match="503"):
        connect(sockets).close()
    assert httpx.get(f"{two.url}/health/ready").status_code == 200
    login = httpx.post(f"{two.url}/api/login", json={"login": "chief", "password": PASSWORD})
    assert login.status_code == 200
    page = httpx.get(two.url, headers={"Accept": "text/html"})
    assert page.status_code == 503 and "maintained" in page.text and int(page.headers["Retry-After"]) > 0
    put(False)
    _wait_for(lambda: 503 not in statuses({}))


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
