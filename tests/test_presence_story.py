"""Who is online, over streams and sockets, in one server and in two that share Redis."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sse_client import Stream
from tests.wire_house import House, house

pytestmark = pytest.mark.slow
LEASE, DYING = "30", "3"  # whoever is off the processor for longer is rightly taken for dead


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("presence")) as running:
        yield running
        assert "Traceback" not in running.log


def named(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def told(frame: Any) -> tuple[str, str, int, bool]:
    data = frame["data"]
    assert frame.keys() == {"type", "collection", "record_id", "data", "timestamp"} or "subscription" in frame
    assert data.keys() == {"user_id", "user_name", "connections", "last_seen", "verified"}
    assert frame["collection"] is frame["record_id"] is None
    return frame["type"], data["user_id"], data["connections"], data["verified"]


def hears(stream: Stream, user_id: str, timeout: float = 60) -> tuple[str, str, int, bool]:
    """What is next told of that user; other tests' users come and go too."""
    until = time.monotonic() + timeout
    while True:
        event = stream.next(max(0.0, until - time.monotonic()))
        if event.type.startswith("user.") and event.data["data"]["user_id"] == user_id:
            assert not event.id and event.type == event.data["type"]
            return told(event.data)


def deaf_to(stream: Stream, user_id: str, seconds: float = 0.4) -> bool:
    try:
        hears(stream, user_id, seconds)
    except TimeoutError:
        return True
    return False


def online(url: str, user_id: str, token: str = "") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = dict(httpx.get(f"{url}/api/v1/presence/{user_id}", headers=headers, timeout=60).raise_for_status().json())
    listed = httpx.get(f"{url}/api/v1/presence", headers=headers, timeout=60).raise_for_status().json()
    assert found["online"] == (found["presence"] is not None)
    assert found["online"] == any(row["user_id"] == user_id for row in listed["users"]), (found, listed)
    return found


def test_whoever_streams_with_a_user_id_is_online_until_the_last_stream_is_gone(home: House) -> None:
    user = named("user")
    with home.stream() as watcher:
        assert watcher.next().type == "connected"
        with home.stream(f"?user_id={user}", None) as one:
            assert one.next().type == "connected"
            assert hears(one, user) == hears(watcher, user) == ("user.joined", user, 1, False)
            with home.stream(f"?user_id={user}", None) as two:
                two.next()
                assert deaf_to(watcher, user)
                assert online(home.url, user)["presence"]["connections"] == 2
            assert deaf_to(watcher, user)
            assert online(home.url, user)["presence"]["connections"] == 1
            one.abort()
        assert hears(watcher, user) == ("user.left", user, 0, False)
    assert online(home.url, user) == {"user_id": user, "presence": None, "online": False}


def test_without_user_id_nobody_comes_and_a_bad_one_is_refused(home: House) -> None:
    account = home.http.get("/api/v1/auth/me").json()["id"]
    with home.stream("", home.token) as stream:
        stream.next()
        assert deaf_to(stream, account) and not online(home.url, account, home.token)["online"]
    bad = httpx.get(f"{home.url}/api/v1/realtime", params={"user_id": "x" * 129})
    assert bad.status_code == 422 and bad.json()["fields"].keys() == {"user_id"}


def test_a_token_says_who_it_is_and_those_alone_who_are_signed_in_are_told(home: House) -> None:
    name = named("carol")
    carol = home.register(name)
    token = carol["access_token"]
    me = httpx.get(f"{home.url}/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}).json()
    with home.stream() as anybody, home.stream("", home.token) as member:
        anybody.next()
        member.next()
        with home.stream(f"?user_id=somebody-else&token={home.ticket(token)}", None) as stream:
            assert stream.next().type == "connected"
            assert hears(member, me["id"]) == ("user.joined", me["id"], 1, True)
            assert deaf_to(anybody, me["id"]) and deaf_to(anybody, "somebody-else", 0.1)
            shown = online(home.url, me["id"], home.token)["presence"]
            assert shown["verified"] and "@" not in str(shown)
            assert not online(home.url, me["id"])["online"]
            # Somebody without a token under the same id is neither shown to them nor told of; only to who sees no others.
            with home.stream(f"?user_id={me['id']}", None) as impostor:
                impostor.next()
                assert hears(anybody, me["id"]) == ("user.joined", me["id"], 1, False) and deaf_to(member, me["id"])
                assert online(home.url, me["id"], home.token)["presence"]["connections"] == 1
                assert online(home.url, me["id"])["presence"]["verified"] is False
            assert deaf_to(member, me["id"])
            logout = {"refresh_token": carol["refresh_token"]}
            headers = {"Authorization": f"Bearer {token}"}
            httpx.post(f"{home.url}/api/v1/auth/logout", json=logout, headers=headers).raise_for_status()
            assert hears(member, me["id"]) == ("user.left", me["id"], 0, True)


def test_a_socket_makes_present_too_and_is_told(home: House) -> None:
    user = named("user")
    with home.socket() as watcher, home.stream() as stream:
        watcher.next()
        stream.next()
        with home.socket(f"?user_id={user}") as socket:
            assert [socket.next()["type"], told(watcher.until("user.joined"))[1]] == ["connected", user]
            assert hears(stream, user) == ("user.joined", user, 1, False)
            assert socket.ask(type="auth", token=home.token)["type"] in ("user.joined", "authenticated")
            assert hears(stream, user) == ("user.left", user, 0, False)
            account = home.http.get("/api/v1/auth/me").json()["id"]
            assert online(home.url, account, home.token)["online"]


# --- two servers -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[tuple[House, House]]:
    environ = {"REDIS_URL": redis_url, "REALTIME_LEASE_SECONDS": LEASE}
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    with house(one, **environ) as first, house(two, **environ) as second:
        yield first, second
        assert "Traceback" not in first.log + second.log


def test_who_comes_to_one_process_is_told_of_and_shown_by_the_other(houses: tuple[House, House]) -> None:
    here, there = houses
    user = named("user")
    with there.stream() as watcher:
        watcher.next()
        with here.stream(f"?user_id={user}", None) as one:
            one.next()
            assert hears(watcher, user) == ("user.joined", user, 1, False)
            with there.stream(f"?user_id={user}", None) as two:
                two.next()
                assert deaf_to(watcher, user)
                assert [online(house.url, user)["presence"]["connections"] for house in houses] == [2, 2]
            assert deaf_to(watcher, user)
        assert hears(watcher, user) == ("user.left", user, 0, False)
    assert not any(online(house.url, user)["online"] for house in houses)


def test_an_account_hides_who_uses_its_id_in_another_process(houses: tuple[House, House]) -> None:
    here, there = houses
    account = there.http.get("/api/v1/auth/me").json()["id"]
    with here.stream("", here.token) as watcher, here.stream(f"?user_id={account}", None) as impostor:
        watcher.next()
        impostor.next()
        assert hears(watcher, account) == ("user.joined", account, 1, False)
        with there.stream("?user_id=me", there.token) as owner:
            owner.next()
            assert hears(watcher, account) == ("user.left", account, 0, False)
            assert hears(watcher, account) == ("user.joined", account, 1, True)
            assert online(here.url, account)["presence"]["verified"] is False
            assert online(here.url, account, here.token)["presence"]["verified"]
        assert hears(watcher, account) == ("user.left", account, 0, True)
        assert hears(watcher, account) == ("user.joined", account, 1, False)


def test_ghosts_of_a_killed_process_are_gone_and_told_of_once(
    houses: tuple[House, House], tmp_path: Path, redis_url: str
) -> None:
    user = named("ghost")
    with houses[0].stream() as one, houses[1].stream() as two:
        one.next()
        two.next()
        with house(tmp_path, REDIS_URL=redis_url, REALTIME_LEASE_SECONDS=DYING) as dying:
            with dying.stream(f"?user_id={user}", None) as ghost:
                ghost.next()
                assert hears(one, user)[0] == hears(two, user)[0] == "user.joined"
                dying.server.kill()
            assert hears(one, user) == hears(two, user) == ("user.left", user, 0, False)
        assert deaf_to(one, user) and deaf_to(two, user)
    assert not online(houses[0].url, user)["online"]
