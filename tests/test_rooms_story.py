"""Rooms over two servers that share Redis: one house, whichever of them a client came to."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.wire_house import House, Socket, house

pytestmark = pytest.mark.slow
LEASE, DYING = "30", "3"  # whoever is off the processor for longer is rightly taken for dead


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[tuple[House, House]]:
    environ = {"REDIS_URL": redis_url, "REALTIME_LEASE_SECONDS": LEASE}
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    with house(one, **environ) as first, house(two, **environ) as second:
        yield first, second
        assert "Traceback" not in first.log + second.log


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as open_sockets:
        yield open_sockets


def named(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def test_what_is_said_in_one_process_is_heard_in_the_other(houses: tuple[House, House], stack: ExitStack) -> None:
    alice_name, bob_name, room = named("alice"), named("bob"), named("lobby")
    alice = stack.enter_context(houses[0].socket("", f"/ws/{alice_name}"))
    bob = stack.enter_context(houses[1].socket("", f"/ws/{bob_name}"))
    assert bob.next()["total_connections"] == alice.next()["total_connections"] + 1
    for socket in (alice, bob):
        assert socket.ask(type="join_room", room=room)["type"] == "room_joined"
    assert alice.ask(type="members", room=room)["members"] == sorted([alice_name, bob_name])
    for number in range(200):
        alice.say(type="room_message", room=room, content=number)
    assert [alice.next()["content"] for _ in range(200)] == [bob.next()["content"] for _ in range(200)]
    bob.say(type="private", to=alice_name, content="psst")
    assert alice.next() == {"type": "private", "from": bob_name, "content": "psst"}
    alice.say(type="broadcast", content="all")
    assert bob.next()["type"] == "broadcast" and alice.quiet()
    bob.ask(type="leave_room", room=room)
    alice.say(type="room_message", room=room, content="anybody?")
    assert alice.next()["content"] == "anybody?" and bob.quiet()


def test_a_name_that_is_taken_in_one_process_is_taken_in_the_other(
    houses: tuple[House, House], stack: ExitStack
) -> None:
    name = named("alice")
    alice = stack.enter_context(houses[0].socket("", f"/ws/{name}"))
    alice.next()
    with pytest.raises(InvalidStatus) as refusal, houses[1].socket("", f"/ws/{name}"):
        pass
    assert refusal.value.response.status_code == 409 and alice.quiet()
    alice.connection.close()
    with houses[1].socket("", f"/ws/{name}") as again:
        assert again.next()["type"] == "connection"


def test_an_account_turns_out_who_uses_its_id_in_another_process(houses: tuple[House, House], stack: ExitStack) -> None:
    account = houses[1].http.get("/api/v1/auth/me").json()["id"]
    squatter = stack.enter_context(houses[0].socket("", f"/ws/{account}"))
    squatter.next()
    owner = stack.enter_context(houses[1].socket(f"?token={houses[1].token}", f"/ws/{account}"))
    assert owner.next()["type"] == "connection"
    assert squatter.close_code() == 4409


def test_whoever_was_with_a_killed_process_leaves_the_chat(
    houses: tuple[House, House], stack: ExitStack, tmp_path: Path, redis_url: str
) -> None:
    room, ghost_name, alice_name = named("kitchen"), named("ghost"), named("alice")
    alice = stack.enter_context(houses[0].socket(f"?client_id={alice_name}", f"/ws/chat/{room}"))
    assert alice.next()["members"] == [alice_name]
    with house(tmp_path, REDIS_URL=redis_url, REALTIME_LEASE_SECONDS=DYING) as dying:
        ghost = stack.enter_context(dying.socket(f"?client_id={ghost_name}", f"/ws/chat/{room}"))
        assert ghost.next()["members"] == sorted([alice_name, ghost_name])
        assert alice.next()["client_id"] == ghost_name
        dying.server.kill()
        left = alice.next(60)
    assert (left["type"], left["client_id"]) == ("user_left", ghost_name)
    assert alice.quiet()
    late = stack.enter_context(houses[1].socket(f"?client_id={ghost_name}", f"/ws/chat/{room}"))
    assert late.next()["members"] == sorted([alice_name, ghost_name])


def test_a_server_that_goes_says_so_and_whoever_was_there_has_left(
    houses: tuple[House, House], stack: ExitStack, tmp_path: Path, redis_url: str
) -> None:
    room, going_name, alice_name = named("kitchen"), named("going"), named("alice")
    alice: Socket = stack.enter_context(houses[0].socket(f"?client_id={alice_name}", f"/ws/chat/{room}"))
    alice.next()
    with house(tmp_path, REDIS_URL=redis_url, REALTIME_LEASE_SECONDS="60") as leaving:
        going = stack.enter_context(leaving.socket(f"?client_id={going_name}", f"/ws/chat/{room}"))
        going.next()
        assert alice.next()["type"] == "user_joined"
        assert leaving.server.leave() == 0
        assert alice.next()["type"] == "user_left" and going.close_code() == 1012
        assert "Traceback" not in leaving.log


def test_without_its_redis_a_server_has_rooms_and_presence_of_its_own(tmp_path: Path) -> None:
    with house(tmp_path, REDIS_URL="redis://127.0.0.1:1/0") as alone:
        name, room = named("alice"), named("lobby")
        with (
            alone.socket(f"?room={room}", f"/ws/{name}") as alice,
            alone.socket(f"?room={room}", f"/ws/{named('bob')}") as bob,
            alone.stream(f"?user_id={name}", None) as stream,
        ):
            assert [socket.next()["type"] for socket in (alice, alice, bob, bob)] == ["connection", "room_joined"] * 2
            alice.say(type="room_message", room=room, content="hello")
            assert alice.next() == bob.next()
            assert stream.next().type == "connected" and stream.until("user.joined").data["data"]["user_id"] == name
            with pytest.raises(InvalidStatus), alone.socket("", f"/ws/{name}"):
                pass
            shown = alone.http.get(f"/api/v1/presence/{name}")
            assert shown.json()["online"] and shown.elapsed.total_seconds() < 3
        assert " ERROR fastcms.realtime" not in alone.log and "exception was never retrieved" not in alone.log
