"""Accounts of an auth collection on two running servers with one database: what one is told, the other knows."""

from __future__ import annotations

import email
import logging
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import SECRET_KEY, server

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("real_hashers")]
logging.getLogger("httpx").setLevel(logging.WARNING)

AUTH, CUSTOMERS = "/api/v1/collections/customers/auth", "/api/v1/collections/customers/records"
ORDERS = "/api/v1/collections/orders/records"
ANN = {"email": "ann@example.com", "password": "correct-horse-9"}
MINE = "owner = @request.auth.id && @request.auth.collection = 'customers'"


class House:
    def __init__(self, clients: list[httpx.Client], folders: list[Path]) -> None:
        self.clients, self._folders = clients, folders
        self.one, self.other = clients
        self._read: set[Path] = set()

    def statuses(self, method: str, path: str, token: str, json: Any = None) -> set[int]:
        """What both answer, each twice: the second time from what is remembered."""
        headers = {"Authorization": f"Bearer {token}"}
        return {
            client.request(method, path, headers=headers, json=json).status_code
            for client in (*self.clients, *self.clients)
        }

    def mailed(self, pattern: str) -> str:
        """What the next mail carries, whichever server sends it."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for file in (file for folder in self._folders for file in folder.glob("mail/*") if file not in self._read):
                text = email.message_from_bytes(file.read_bytes().partition(b"\n---")[0])
                plain = next((part for part in text.walk() if part.get_content_type() == "text/plain"), None)
                found = plain and re.search(pattern, plain.get_payload(decode=True).decode(), re.MULTILINE)
                if found:
                    self._read.add(file)
                    return found[1]
            time.sleep(0.05)
        raise AssertionError(f"no mail with {pattern}")


@pytest.fixture
def house(make_collection: Any, tmp_path: Path, settings: Any) -> Iterator[House]:
    settings.SECRET_KEY = SECRET_KEY
    make_collection("customers", type="auth", plan="text")
    make_collection("orders", owner="text", list_rule=MINE, create_rule=f"{MINE} && @request.auth.verified = true")
    with ExitStack() as stack:
        folders = [tmp_path / name for name in "ab"]
        clients = []
        for folder in folders:
            folder.mkdir()
            running = stack.enter_context(server(folder))
            clients.append(stack.enter_context(httpx.Client(base_url=running.url, timeout=60)))
        yield House(clients, folders)
        for folder in folders:
            assert "Traceback" not in (folder / "server.log").read_text()


def test_an_account_is_one_on_both_servers_from_registration_to_its_end(house: House, records: Any) -> None:
    registered = house.one.post(f"{AUTH}/register", json={**ANN, "plan": "gold"})
    assert registered.status_code == 201, registered.text
    made = registered.json()
    token, order = made["access_token"], {"owner": made["id"]}
    assert house.statuses("GET", ORDERS, token) == {200} and house.statuses("POST", ORDERS, token, order) == {403}

    mailed = house.mailed(r"verify\?token=([\w-]+)")
    assert house.other.post(f"{AUTH}/verify-email", json={"token": mailed}).status_code == 200
    assert house.statuses("POST", ORDERS, token, order) == {201}

    assert house.one.post(f"{AUTH}/enable-2fa", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    pending = house.other.post(f"{AUTH}/login", json=ANN).json()
    code = house.mailed(r"^\s*(\d{6})\s*$")
    done = house.one.post(f"{AUTH}/verify-2fa", json={"challenge": pending["challenge"], "code": code})
    assert done.status_code == 200, done.text
    second = done.json()["access_token"]
    assert house.statuses("GET", ORDERS, second) == {200}

    rotated = house.other.post(f"{AUTH}/refresh", json={"refresh_token": done.json()["refresh_token"]}).json()
    replay = house.one.post(f"{AUTH}/refresh", json={"refresh_token": done.json()["refresh_token"]})
    assert replay.status_code == 401
    for old in (second, rotated["access_token"]):
        assert house.statuses("GET", ORDERS, old) == {401}
    assert house.statuses("GET", ORDERS, token) == {200}  # another sign-in

    changed = house.other.post(
        f"{AUTH}/change-password",
        json={"current_password": ANN["password"], "new_password": "another-staple-7"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert changed.status_code == 200, changed.text
    assert house.statuses("GET", ORDERS, token) == {401}
    assert house.one.post(f"{AUTH}/login", json=ANN).status_code == 401
    records("customers").delete(made["id"])
    assert house.one.post(f"{AUTH}/login", json={**ANN, "password": "another-staple-7"}).status_code == 401
