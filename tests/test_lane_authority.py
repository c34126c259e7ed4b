"""Whoever loses a right, or gets one, is treated so from the next request on: in this process and in the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts import tokens
from accounts.models import Role, User
from collections_app.tests.threads import STRESS
from conftest import PASSWORD
from tests.server import SECRET_KEY, Server, server

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("real_hashers")]
logging.getLogger("httpx").setLevel(logging.WARNING)

COLLECTIONS, AUTH = "/api/v1/collections", "/api/v1/auth"
NOTES, VAULT = f"{COLLECTIONS}/notes/records", f"{COLLECTIONS}/vault/records"
ROUNDS = 10 * STRESS


class House:
    """Two servers on one database, and who is asking."""

    def __init__(self, servers: list[Server], settings: Any) -> None:
        settings.SECRET_KEY = SECRET_KEY
        self.clients = [httpx.Client(base_url=running.url, timeout=60) for running in servers]

    def token(self, user: User) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.issue(user).access}"}

    def statuses(self, method: str, path: str, headers: dict[str, str], json: Any = None) -> set[int]:
        """What all processes answer, each twice: the second time from what is remembered."""
        return {
            client.request(method, path, headers=headers, json=json).status_code
            for client in (*self.clients, *self.clients)
        }

    def seen(self, path: str, headers: dict[str, str]) -> list[Any]:
        return [client.get(path, headers=headers).json() for client in (*self.clients, *self.clients)]

    @contextmanager
    def asked_all_the_time(self, path: str, headers: dict[str, str]) -> Iterator[None]:
        """What may be remembered is, for somebody asks again and again."""
        over = threading.Event()

        def ask(url: httpx.URL) -> None:
            with httpx.Client(base_url=url, timeout=60) as client:
                while not over.is_set():
                    client.get(path, headers=headers)

        threads = [threading.Thread(target=ask, args=[client.base_url]) for client in self.clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(60)


@pytest.fixture
def house(make_collection: Any, records: Any, member: User, settings: Any, tmp_path: Path) -> Iterator[House]:
    mine = "owner = @request.auth.id"
    make_collection(
        "notes", owner="text", text="text", salary="integer", list_rule=mine, view_rule=mine,
        create_rule="@request.auth.id != ''", update_rule=mine, delete_rule=mine,
    )  # fmt: skip
    make_collection("vault", title="text")
    records("notes").create(id="note", owner=str(member.id), text="mine", salary=4000)
    records("vault").create(id="gold", title="gold")
    with ExitStack() as stack:
        servers = []
        for name in "ab":
            (tmp_path / name).mkdir()
            servers.append(stack.enter_context(server(tmp_path / name)))
        made = House(servers, settings)
        yield made
        for client in made.clients:
            client.close()


Change = Callable[[House, User, dict[str, str]], Any]


def change_password(house: House, user: User, token: dict[str, str]) -> None:
    data = {"current_password": PASSWORD, "new_password": "another-long-password-1"}
    answer = house.clients[0].post(f"{AUTH}/change-password", json=data, headers=house.token(user))
    assert answer.status_code == 200, answer.text


def log_out(house: House, user: User, token: dict[str, str]) -> None:
    assert house.clients[0].post(f"{AUTH}/logout", headers=token).status_code in (200, 204)


def disable(house: House, user: User, token: dict[str, str]) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("change", [change_password, log_out, disable])
def test_a_token_ends_with_what_it_was_given_for(house: House, member: User, records: Any, change: Change) -> None:
    token = house.token(member)
    assert house.statuses("GET", f"{NOTES}/note", token) == house.statuses("GET", NOTES, token) == {200}
    assert house.statuses("PATCH", f"{NOTES}/note", token, {"text": "new"}) == {200}
    with house.asked_all_the_time(f"{NOTES}/note", token):
        change(house, member, token)
        for method, path, data in (
            ("GET", f"{NOTES}/note", None), ("GET", NOTES, None), ("PATCH", f"{NOTES}/note", {"text": "late"}),
            ("POST", NOTES, {"text": "late"}), ("DELETE", f"{NOTES}/note", None), ("GET", VAULT, None),
            ("POST", "/api/v1/batch", {"requests": [{"method": "DELETE", "collection": "notes", "id": "note"}]}),
        ):  # fmt: skip
            assert house.statuses(method, path, token, data) == {401}, (method, path)
    assert records("notes").values("text") == ["new"]


def test_a_logout_ends_its_own_tokens_only(house: House, member: User) -> None:
    one, other = house.token(member), house.token(member)
    log_out(house, member, one)
    assert house.statuses("GET", f"{NOTES}/note", one) == {401}
    assert house.statuses("GET", f"{NOTES}/note", other) == {200}


def test_a_role_holds_from_the_moment_it_is_given_or_taken(house: House, member: User) -> None:
    """It is part of what a token was given for: those from before a change are of no use, also when it is undone."""
    tokens_given = [house.token(member)]
    with house.asked_all_the_time(VAULT, tokens_given[0]):
        for _ in range(ROUNDS):
            for role, status, created in ((Role.ADMIN, 200, 201), (Role.USER, 403, 403)):
                member.role = role
                member.save(update_fields=["role"])
                tokens_given.append(house.token(member))
                for token in tokens_given[-3:]:
                    of_now = token == tokens_given[-1]
                    assert house.statuses("GET", VAULT, token) == {status if of_now else 401}
                    assert house.statuses("POST", VAULT, token, {"title": "x"}) == {created if of_now else 401}
                    assert house.statuses("GET", f"{VAULT}/gold", token) == {status if of_now else 401}


def test_rules_hold_from_the_moment_they_are_changed(house: House, member: User, admin: User) -> None:
    token, boss = house.token(member), house.token(admin)
    steps: list[tuple[dict[str, Any], dict[str, int]]] = [
        ({"list_rule": "1 = 2", "view_rule": "1 = 2"}, {"list": 403, "view": 403}),
        ({"list_rule": None, "view_rule": None}, {"list": 200, "view": 200}),
        (
            {"view_rule": "owner = 'nobody'", "update_rule": "owner = 'nobody'"},
            {"list": 200, "view": 404, "update": 404},
        ),
        ({"view_rule": None, "update_rule": "salary < 0"}, {"view": 200, "update": 403}),
        ({"update_rule": None, "create_rule": "text = 'right'"}, {"update": 200, "create": 403}),
        ({"create_rule": None}, {"create": 201}),
    ]
    asked = {
        "list": ("GET", NOTES, None), "view": ("GET", f"{NOTES}/note", None),
        "update": ("PATCH", f"{NOTES}/note", {"text": "x"}), "create": ("POST", NOTES, {"text": "wrong"}),
    }  # fmt: skip
    with house.asked_all_the_time(NOTES, token):
        for number, (change, expected) in enumerate(steps * STRESS):
            by = house.clients[number % 2]
            assert by.patch(f"{COLLECTIONS}/notes", json=change, headers=boss).status_code == 200
            for name, status in expected.items():
                assert house.statuses(asked[name][0], asked[name][1], token, asked[name][2]) == {status}, (change, name)


def test_a_field_is_hidden_from_the_moment_it_is(house: House, member: User, admin: User) -> None:
    token, boss = house.token(member), house.token(admin)
    schema = house.clients[0].get(f"{COLLECTIONS}/notes", headers=boss).json()["schema"]
    salary = next(field for field in schema if field["name"] == "salary")
    with house.asked_all_the_time(f"{NOTES}/note", token):
        for number in range(ROUNDS):
            etags = [client.get(f"{NOTES}/note", headers=token).headers["ETag"] for client in house.clients]
            salary["hidden"] = hidden = not number % 2
            changed = house.clients[number % 2].patch(f"{COLLECTIONS}/notes", json={"schema": schema}, headers=boss)
            assert changed.status_code == 200, changed.text
            for client, etag in zip(house.clients, etags, strict=True):
                again = client.get(f"{NOTES}/note", headers=token | {"If-None-Match": etag})
                assert again.status_code == 200 and ("salary" in again.json()) != hidden
            assert all(("salary" in record) != hidden for record in house.seen(f"{NOTES}/note", token))
            assert all(("salary" in page["items"][0]) != hidden for page in house.seen(NOTES, token))
            status = 400 if hidden else 200
            assert house.statuses("GET", f"{NOTES}?filter=salary=4000", token) == {status}
            assert house.statuses("GET", f"{NOTES}?fields=salary", token) == {status}
            assert house.statuses("GET", f"{NOTES}?sort=salary", token) == {status}
            assert house.statuses("PATCH", f"{NOTES}/note", token, {"salary": 4000}) == {422 if hidden else 200}


def test_a_collection_is_found_by_the_name_that_it_has(house: House, member: User, admin: User, records: Any) -> None:
    token, boss = house.token(member), house.token(admin)
    names = ("notes", "letters")
    with house.asked_all_the_time(NOTES, token):
        for number in range(ROUNDS):
            old, new = names[number % 2], names[(number + 1) % 2]
            changed = house.clients[number % 2].patch(f"{COLLECTIONS}/{old}", json={"name": new}, headers=boss)
            assert changed.status_code == 200, changed.text
            for path, status in ((old, 404), (new, 200)):
                assert house.statuses("GET", f"{COLLECTIONS}/{path}/records/note", token) == {status}
                assert house.statuses("GET", f"{COLLECTIONS}/{path}/records", token) == {status}
                assert house.statuses("PATCH", f"{COLLECTIONS}/{path}/records/note", token, {"text": path}) == {status}
            assert {record["collection"] for record in house.seen(f"{COLLECTIONS}/{new}/records/note", token)} == {new}
    name = names[ROUNDS % 2]
    assert house.clients[0].delete(f"{COLLECTIONS}/{name}", headers=boss).status_code == 204
    assert house.statuses("GET", f"{COLLECTIONS}/{name}/records/note", token) == {404}
    assert house.statuses("POST", f"{COLLECTIONS}/{name}/records", token, {"text": "x"}) == {404}
