"""Conversations over real sockets: what is said, to whom it gets, under which name."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.wire_house import House, Socket, house

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("rooms"), ROOMS_MESSAGES_PER_SECOND="30") as running:
        yield running
        assert "Traceback" not in running.log and "ERROR" not in running.log


class Cast:
    """Clients, closed at the end of the test; names are of that test alone."""

    def __init__(self, home: House, stack: ExitStack) -> None:
        self._home, self._stack, self._mark = home, stack, uuid.uuid4().hex[:6]

    def name(self, name: str) -> str:
        return f"{name}-{self._mark}"

    def client(self, name: str, query: str = "") -> Socket:
        """Connected under that name, and greeted."""
        socket = self._stack.enter_context(self._home.socket(query, f"/ws/{quote(self.name(name), safe='')}"))
        self.hello = socket.next()
        return socket

    def guest(self, name: str, room: str, query: str = "") -> Socket:
        path = f"/ws/chat/{quote(self.name(room), safe='')}"
        return self._stack.enter_context(self._home.socket(f"?client_id={quote(self.name(name))}{query}", path))

    def join(self, socket: Socket, room: str) -> None:
        assert socket.ask(type="join_room", room=self.name(room))["type"] == "room_joined"


@pytest.fixture
def cast(home: House) -> Iterator[Cast]:
    with ExitStack() as stack:
        yield Cast(home, stack)


def refused(home: House, path: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refusal, home.socket("", path):
        pass
    response = refusal.value.response
    return response.status_code, json.loads(response.body or b"{}")


# --- clients ---------------------------------------------------------------------------------------


def test_the_first_message_welcomes_and_counts(cast: Cast) -> None:
    cast.client("alice")
    first = cast.hello
    cast.client("bob")
    name = cast.name("alice")
    assert {**first, "total_connections": 0} == {
        "type": "connection", "message": f"Welcome {name}! You are connected.", "total_connections": 0
    }  # fmt: skip
    assert cast.hello["total_connections"] == first["total_connections"] + 1


def test_what_is_said_in_a_room_gets_to_all_members_and_to_nobody_else(cast: Cast) -> None:
    alice, bob, carol = cast.client("alice"), cast.client("bob"), cast.client("carol")
    room = cast.name("lobby")
    answer = alice.ask(type="join_room", room=room)
    assert answer == {"type": "room_joined", "room": room, "message": f"You joined room {room}."}
    cast.join(bob, "lobby")
    alice.say(type="room_message", room=room, content="Hello everyone!")
    said = {"type": "room_message", "from": cast.name("alice"), "content": "Hello everyone!", "room": room}
    assert alice.next() == said and bob.next() == said and carol.quiet()
    answer = bob.ask(type="leave_room", room=room)
    assert answer == {"type": "room_left", "room": room, "message": f"You left room {room}."}
    alice.say(type="room_message", room=room, content={"any": ["JSON", 1]})
    assert alice.next()["content"] == {"any": ["JSON", 1]} and bob.quiet()


def test_a_room_can_be_joined_with_the_connection(cast: Cast) -> None:
    alice = cast.client("alice", f"?room={cast.name('lobby')}")
    assert cast.hello["type"] == "connection" and alice.next()["type"] == "room_joined"
    listed = alice.ask(type="members", room=cast.name("lobby"))
    assert listed == {"type": "members", "room": cast.name("lobby"), "members": [cast.name("alice")]}


def test_only_members_speak_in_a_room_and_hear_who_is_there(cast: Cast) -> None:
    alice, bob = cast.client("alice"), cast.client("bob")
    cast.join(alice, "lobby")
    for message in ({"type": "room_message", "content": "let me in"}, {"type": "members"}, {"type": "leave_room"}):
        answer = bob.ask(room=cast.name("lobby"), **message)
        assert (answer["type"], answer["code"]) == ("error", "VALIDATION_ERROR") and "not in room" in answer["message"]
    assert alice.quiet()


def test_a_broadcast_gets_to_all_others(cast: Cast) -> None:
    alice, bob, carol = cast.client("alice"), cast.client("bob"), cast.client("carol")
    alice.say(type="broadcast", content="hi all")
    said = {"type": "broadcast", "from": cast.name("alice"), "content": "hi all"}
    assert bob.next() == said and carol.next() == said and alice.quiet()


def test_a_private_message_gets_to_one(cast: Cast) -> None:
    alice, bob, carol = cast.client("alice"), cast.client("bob"), cast.client("carol")
    alice.say(type="private", to=cast.name("bob"), content="psst")
    assert bob.next() == {"type": "private", "from": cast.name("alice"), "content": "psst"}
    answer = alice.ask(type="private", to=cast.name("nobody"), content="psst")
    assert answer["type"] == "error" and cast.name("nobody") in answer["message"] and carol.quiet()


def test_anything_else_is_echoed(cast: Cast) -> None:
    alice = cast.client("alice")
    assert alice.ask(type="dance", n=1) == {"type": "echo", "message": {"type": "dance", "n": 1}}
    assert alice.ask(no_type=True) == {"type": "echo", "message": {"no_type": True}}
    for text in ("hello", "{not json", '{"a": NaN}', "\x00", "ü" * 10):
        alice.connection.send(text)
        assert alice.connection.recv(5) == f"Echo: {text}"
    alice.connection.send("[1, 2]")
    assert alice.next() == {"type": "echo", "message": [1, 2]}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "join_room"},
        {"type": "join_room", "room": ""},
        {"type": "join_room", "room": "x" * 101},
        {"type": "join_room", "room": "a\nb"},
        {"type": "join_room", "room": ["lobby"]},
        {"type": "room_message", "room": None, "content": "x"},
        {"type": "broadcast"},
        {"type": "private", "content": "x"},
        {"type": "private", "to": {}, "content": "x"},
    ],
)
def test_a_message_that_makes_no_sense_is_an_error_and_the_socket_stays(cast: Cast, message: dict[str, Any]) -> None:
    alice, bob = cast.client("alice"), cast.client("bob")
    answer = alice.ask(**message)
    assert answer.keys() == {"type", "message", "code"} and answer["type"] == "error"
    assert alice.ask(type="ping")["type"] == "echo" and bob.quiet()


def test_a_message_is_text_of_64_kilobytes_at_most(cast: Cast) -> None:
    alice, bob = cast.client("alice"), cast.client("bob")
    assert alice.ask(type="broadcast", content="x" * 70_000)["code"] == "PAYLOAD_TOO_LARGE"
    alice.connection.send(b"bytes")
    assert alice.next()["code"] == "BAD_REQUEST" and bob.quiet()
    alice.say(type="broadcast", content="x" * 60_000)
    assert len(bob.next()["content"]) == 60_000


def test_a_client_is_in_50_rooms_at_most(cast: Cast) -> None:
    alice = cast.client("alice")
    for number in range(50):
        alice.say(type="join_room", room=f"{cast.name('room')}-{number}")
    assert [alice.next(10)["type"] for _ in range(50)] == ["room_joined"] * 50
    assert alice.ask(type="join_room", room=cast.name("one-more"))["code"] == "CONFLICT"
    assert alice.ask(type="join_room", room=f"{cast.name('room')}-7")["type"] == "room_joined"
    assert alice.ask(type="leave_room", room=f"{cast.name('room')}-7")["type"] == "room_left"
    cast.join(alice, "one-more")


def test_who_talks_too_much_is_heard_more_slowly_and_wholly(cast: Cast, home: House) -> None:
    alice, bob = cast.client("alice"), cast.client("bob")
    began = time.monotonic()
    for number in range(135):
        alice.say(type="broadcast", content=number)
    assert [bob.next()["content"] for _ in range(135)] == list(range(135))
    assert time.monotonic() - began > 0.4  # 120 at once, and then 30 a second


def test_names_of_rooms_are_names_and_nothing_else(cast: Cast, home: House) -> None:
    """None is a group of the channel layer, a key of Redis, or the collection of that name."""
    home.collection("notes")
    alice = cast.client("alice")
    rooms = ["notes", "record.created", "fastcms.relay", "user/*", "at:room:x", "%s {} $(x)", "Küche 🍳", "chat", "all"]
    for room in rooms:
        assert alice.ask(type="join_room", room=room) == {
            "type": "room_joined", "room": room, "message": f"You joined room {room}."
        }  # fmt: skip
    home.create("notes", "not for rooms")
    assert alice.quiet()
    alice.say(type="room_message", room="Küche 🍳", content="🍳")
    assert alice.next()["room"] == "Küche 🍳"


# --- chat rooms --------------------------------------------------------------------------------------


def test_a_chat_room_tells_who_is_there_who_comes_and_who_goes(cast: Cast) -> None:
    room = cast.name("kitchen")
    alice = cast.guest("alice", "kitchen")
    assert alice.next() == {"type": "joined_room", "room": room, "members": [cast.name("alice")]}
    bob = cast.guest("bob", "kitchen")
    assert bob.next()["members"] == sorted([cast.name("alice"), cast.name("bob")])
    name = cast.name("bob")
    assert alice.next() == {
        "type": "user_joined", "room": room, "client_id": name, "message": f"{name} joined the room."
    }  # fmt: skip
    bob.say(type="message", content="Morning")
    said = {"type": "message", "from": name, "content": "Morning", "room": room}
    assert alice.next() == said and bob.next() == said
    assert bob.ask(type="room_message", room=room, content="x")["type"] == "echo"
    bob.connection.close()
    assert alice.next() == {"type": "user_left", "room": room, "client_id": name, "message": f"{name} left the room."}
    late = cast.guest("late", "kitchen")
    assert cast.name("bob") not in late.next()["members"]


def test_a_chat_room_and_a_room_of_the_same_name_are_two(cast: Cast) -> None:
    alice, bob = cast.guest("alice", "lobby"), cast.client("bob")
    alice.next()
    cast.join(bob, "lobby")
    alice.say(type="message", content="in the chat")
    bob.say(type="room_message", room=cast.name("lobby"), content="in the room")
    assert alice.next()["content"] == "in the chat" and bob.next()["content"] == "in the room"
    assert alice.quiet() and bob.quiet()


# --- names -------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_is_not_taken_over(cast: Cast, home: House) -> None:
    alice, bob = cast.client("alice"), cast.client("bob")
    status, body = refused(home, f"/ws/{cast.name('alice')}")
    assert (status, body["error_code"]) == (409, "CONFLICT")
    bob.say(type="private", to=cast.name("alice"), content="still you")
    assert alice.next()["content"] == "still you"
    guest = cast.guest("alice", "kitchen")
    guest.next()
    path = f"/ws/chat/{cast.name('kitchen')}?client_id={cast.name('alice')}"
    assert refused(home, path)[0] == 409 and guest.quiet()
    cast.guest("alice", "garden").next()  # another room
    alice.connection.close()
    again = cast.client("alice")
    assert again.ask(type="x")["type"] == "echo"


def test_of_many_who_want_a_name_at_once_one_gets_it(cast: Cast, home: House) -> None:
    outcomes: list[int] = []
    done = threading.Barrier(9)

    def want() -> None:
        try:
            with connect(f"{home.url.replace('http', 'ws')}/ws/{cast.name('popular')}"):
                outcomes.append(101)
                done.wait(20)
        except InvalidStatus as refusal:
            outcomes.append(refusal.response.status_code)
            done.wait(20)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    done.wait(20)
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == [101] + [409] * 7


def test_a_token_says_who_speaks_whatever_the_path_does(cast: Cast, home: House) -> None:
    eve = home.register(cast.name("eve"))
    account = httpx.get(f"{home.url}/api/v1/auth/me", headers={"Authorization": f"Bearer {eve['access_token']}"}).json()
    listener = cast.client("listener")
    for credential in (eve["access_token"], home.ticket(eve["access_token"])):
        speaker = cast.client("admin", f"?token={credential}")
        assert cast.hello["message"] == f"Welcome {account['id']}! You are connected."
        speaker.say(type="broadcast", content="I am the admin")
        said = listener.next()
        assert (said["from"], said["verified"]) == (account["id"], True)
        assert eve["access_token"] not in json.dumps(said) and "@" not in json.dumps(said)
    listener.say(type="private", to=account["id"], content="to both tabs")
    assert speaker.next()["content"] == "to both tabs"


def test_an_account_gets_its_id_back_from_whoever_uses_it_as_a_name(cast: Cast, home: House) -> None:
    eve = home.register(cast.name("eve"))
    account = httpx.get(f"{home.url}/api/v1/auth/me", headers={"Authorization": f"Bearer {eve['access_token']}"}).json()
    with home.socket("", f"/ws/{account['id']}") as squatter:
        squatter.next()
        cast.client("x", f"?token={eve['access_token']}")
        assert squatter.close_code() == 4409
    assert refused(home, f"/ws/{account['id']}")[0] == 409


def test_a_sign_in_that_ends_takes_its_sockets_with_it(cast: Cast, home: House) -> None:
    eve = home.register(cast.name("eve"))
    headers = {"Authorization": f"Bearer {eve['access_token']}"}
    speaker = cast.client("x", f"?token={eve['access_token']}")
    guest = cast.guest("x", "kitchen", f"&token={eve['access_token']}")
    bob = cast.client("bob")
    cast.join(bob, "lobby")
    cast.join(speaker, "lobby")
    answer = httpx.post(f"{home.url}/api/v1/auth/logout", headers=headers, json={"refresh_token": eve["refresh_token"]})
    assert answer.is_success, answer.text
    assert speaker.close_code() == guest.close_code() == 4401
    assert bob.ask(type="members", room=cast.name("lobby"))["members"] == [cast.name("bob")]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ws/alice?token=nonsense", 401),
        ("/ws/alice?who=1", 400),
        ("/ws/alice?room=" + "x" * 101, 422),
        ("/ws/" + "x" * 101, 422),
        ("/ws/%07", 422),
        ("/ws/chat/lobby", 422),
        ("/ws/chat/lobby?client_id=", 422),
        ("/ws/chat/" + "x" * 101 + "?client_id=a", 422),
        ("/ws/chat/lobby?client_id=a&room=b", 400),
        ("/ws", 404),
        ("/ws/a/b", 404),
    ],
)
def test_who_comes_with_what_can_not_be_is_refused(home: House, path: str, status: int) -> None:
    assert refused(home, path)[0] == status


def test_an_api_key_that_may_not_write_does_not_speak(home: House, cast: Cast) -> None:
    made = home.http.post("/api/v1/auth/api-keys", json={"name": "reads", "access": "read"})
    assert refused(home, f"/ws/robot?token={made.json()['key']}")[0] == 403


# --- limits of the server ------------------------------------------------------------------------------


def test_who_does_not_read_is_cut_off_and_nobody_else_waits(cast: Cast, home: House) -> None:
    alice, bob = cast.client("alice"), cast.client("bob")
    ear = socket.socket()
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what the kernel takes for it is soon full
    ear.connect(("127.0.0.1", home.server.port))
    path = f"{home.url.replace('http', 'ws')}/ws/{cast.name('deaf')}"
    with connect(path, sock=ear, max_queue=1, compression=None, close_timeout=0) as deaf:
        deaf.recv(5)
        for number in range(115):
            alice.say(type="broadcast", content=f"{number} " + "x" * 60_000)
            assert bob.next(10)["content"].startswith(f"{number} ")
        answer = alice.ask(type="private", to=cast.name("deaf"), content="are you there?")
        assert answer["type"] == "error"


def test_tokens_can_be_required(tmp_path_factory: pytest.TempPathFactory) -> None:
    with house(tmp_path_factory.mktemp("closed"), ROOMS_REQUIRE_TOKEN="true") as closed:
        assert refused(closed, "/ws/alice")[0] == refused(closed, "/ws/chat/lobby?client_id=alice")[0] == 401
        with closed.socket(f"?token={closed.token}", "/ws/alice") as alice:
            assert alice.next()["type"] == "connection"
