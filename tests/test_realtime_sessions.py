"""Whoever's sign-in ends hears nothing more within five seconds, on streams and sockets, in every realm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from tests.sse_client import Refused, Stream
from tests.wire_house import PASSWORD, House, Socket, dying_token, house

pytestmark = pytest.mark.slow
SECONDS = 20  # five, and the slowest machine
MEMBERS = "members"
STAFF, CUSTOMER = "", "members"


class Caller(NamedTuple):
    home: House
    account: dict[str, Any]
    token: str
    auth: str  # where the realm's account endpoints are

    def ask(self, method: str, path: str, json: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.account['access_token']}"}
        answer = httpx.request(method, f"{self.home.url}{path}", headers=headers, json=json, timeout=60)
        return answer.raise_for_status()


def by_admin(method: str, path: str, json: Any = None) -> Callable[[Caller], None]:
    def act(caller: Caller) -> None:
        path_of = path.format(id=caller.account["user"]["id"])
        caller.home.http.request(method, path_of, json=json).raise_for_status()

    return act


def change_password(caller: Caller) -> None:
    body = {"current_password": PASSWORD, "new_password": "another-horse-8"}
    caller.ask("POST", f"{caller.auth}/change-password", body)


def log_out(caller: Caller) -> None:
    caller.ask("POST", f"{caller.auth}/logout", {})


def end_the_key(caller: Caller) -> None:
    [key] = caller.ask("GET", f"{caller.auth}/api-keys").json()["items"]
    caller.ask("DELETE", f"{caller.auth}/api-keys/{key['id']}")


def nothing(caller: Caller) -> None:
    pass


WAYS: dict[str, tuple[str, Callable[[Caller], None]]] = {
    "a change of password": (STAFF, change_password),
    "a change of role": (STAFF, by_admin("PUT", "/api/v1/users/update/{id}/role", {"new_role": "admin"})),
    "being disabled": (STAFF, by_admin("PATCH", "/api/v1/users/update/{id}", {"is_active": False})),
    "being deleted": (STAFF, by_admin("DELETE", "/api/v1/users/delete/{id}")),
    "a logout": (STAFF, log_out),
    "the end of a token": (STAFF, nothing),
    "the end of an API key": (STAFF, end_the_key),
    "a customer's change of password": (CUSTOMER, change_password),
    "a customer's new role": (CUSTOMER, by_admin("PATCH", "/api/v1/collections/members/records/{id}", {"role": "vip"})),
    "a customer's being deleted": (CUSTOMER, by_admin("DELETE", "/api/v1/collections/members/records/{id}")),
    "a customer's logout": (CUSTOMER, log_out),
    "the end of a customer's token": (CUSTOMER, nothing),
}


class Outcome(NamedTuple):
    """``is_over`` where the stream ended in time, ``code`` of the socket; ``reconnects`` is the status of coming back."""

    is_over: bool
    code: int | None
    reconnects: int


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("sessions")) as running:
        running.collection("posts", "@request.auth.id != ''")
        running.collection(MEMBERS, "@request.auth.id != ''", type="auth", create_rule=None)
        yield running
        assert "Traceback" not in running.log and "ERROR" not in running.log


@pytest.fixture(scope="module")
def outcomes(home: House) -> dict[str, Outcome]:
    """All ways at once, each with a stream and a socket; and one of each whose sign-in stays."""
    with ExitStack() as stack:
        open_ones: dict[str, tuple[Caller, Stream, Socket, str]] = {}
        for number, (way, (realm, _)) in enumerate(WAYS.items()):
            account = home.register(f"person{number}", realm)
            auth = f"/api/v1/collections/{realm}/auth" if realm else "/api/v1/auth"
            caller = Caller(home, account, account["access_token"], auth)
            token = caller.token
            if "API key" in way:
                token = caller.ask("POST", f"{auth}/api-keys", {"name": "one"}).json()["key"]
            elif "token" in way:
                token = dying_token(token, 3)
            open_ones[way] = caller, *listening(stack, home, token), token
        staying = [home.register("stays"), home.register("stays", CUSTOMER)]
        stays = [listening(stack, home, account["access_token"]) for account in staying]
        acted = {}
        for way, (_, act) in WAYS.items():
            act(open_ones[way][0])
            acted[way] = time.monotonic()
        found = {}
        for way, (_, stream, socket, token) in open_ones.items():
            over = stream.ended(max(acted[way] + SECONDS - time.monotonic(), 0.05))
            code = socket.close_code(SECONDS if over else 0.05)
            try:
                home.stream("/posts", token).close()
                status = 200
            except Refused as refused:
                status = refused.status
            found[way] = Outcome(over, code, status)
        home.create("posts", "still here")
        for stream, socket in stays:
            assert stream.until("record.created").data["data"]["title"] == "still here"
            assert socket.until("record.created")["data"]["title"] == "still here"
        return found


def listening(stack: ExitStack, home: House, token: str) -> tuple[Stream, Socket]:
    stream = stack.enter_context(home.stream("/posts", token))
    socket = stack.enter_context(home.socket(additional_headers={"Authorization": f"Bearer {token}"}))
    stream.next()
    socket.next()
    assert socket.ask(type="subscribe", collection="posts")["type"] == "subscribed"
    return stream, socket


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_and_a_socket_end_with(way: str, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[way] == Outcome(is_over=True, code=4401, reconnects=401)


def test_a_stream_ends_with_its_collection(home: House) -> None:
    home.collection("passing")
    with home.stream("/passing") as stream, home.stream() as other:
        stream.next()
        other.next()
        home.http.delete("/api/v1/collections/passing").raise_for_status()
        assert stream.ended()
        assert other.quiet()
    with pytest.raises(Refused) as refused:
        home.stream("/passing")
    assert refused.value.status == 404


def test_a_ticket_s_stream_ends_with_the_sign_in_that_asked_for_it(home: House) -> None:
    for number, realm in enumerate((STAFF, CUSTOMER)):
        account = home.register(f"ticketed{number}", realm)
        auth = f"/api/v1/collections/{realm}/auth" if realm else "/api/v1/auth"
        caller = Caller(home, account, account["access_token"], auth)
        with (
            home.stream(f"/posts?token={home.ticket(caller.token)}") as stream,
            home.socket(f"?token={home.ticket(caller.token)}") as socket,
        ):
            stream.next()
            log_out(caller)
            assert stream.ended() and socket.close_code() == 4401


def test_a_ticket_of_an_ended_sign_in_opens_nothing(home: House) -> None:
    account = home.register("too-late")
    caller = Caller(home, account, account["access_token"], "/api/v1/auth")
    ticket = home.ticket(caller.token)
    log_out(caller)
    with pytest.raises(Refused) as refused:
        home.stream(f"/posts?token={ticket}")
    assert refused.value.status == 401


def test_a_browser_s_session_has_tickets_too_and_its_streams_end_with_it(home: House) -> None:
    with httpx.Client(base_url=home.url, follow_redirects=True, timeout=30) as browser:

        def post(path: str, **form: str) -> httpx.Response:
            token = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": f"{home.url}/admin/", "Origin": home.url}
            return browser.post(path, data=form, headers=token)

        browser.get("/admin/login/")
        post("/admin/login/", username="first@example.com", password=PASSWORD)
        assert browser.post("/api/v1/realtime/ticket").status_code == 403  # without CSRF token
        ticket = post("/api/v1/realtime/ticket").raise_for_status().json()["ticket"]
        with home.stream(f"/posts?token={ticket}") as stream:
            stream.next()
            home.create("posts", "for the browser")
            assert stream.next().type == "record.created"
            time.sleep(2.5)  # it is asked again, and is still good
            home.create("posts", "again")
            assert stream.next().type == "record.created"
            assert post("/admin/logout/").status_code == 200
            assert stream.ended()
