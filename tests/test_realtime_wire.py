"""Streams and sockets under strain: clients that do not read or vanish, and a server that ends."""

from __future__ import annotations

import resource
import socket as sockets
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.sse_client import Ended, Stream
from tests.wire_house import House, Socket, house

pytestmark = pytest.mark.slow
QUIET = ("Traceback", "ERROR", "WARNING")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("wire"), REALTIME_HEARTBEAT_SECONDS="1") as running:
        running.collection("posts")
        yield running
        assert not any(word in running.log for word in QUIET)


def ids(stream: Stream, count: int) -> list[int]:
    return [int(event.id) for event in stream.take(count, timeout=60)]


ROUND, ROUNDS = 20, 40
BIG = "x" * 20_000


def one_round(home: House, collection: str = "posts") -> None:
    """So many big events at once."""
    home.create(collection, BIG)
    home.repeat_last_event(ROUND - 2)
    home.create(collection, BIG)


def until_it_ends(stream: Stream) -> None:
    while True:
        stream.next(10)


def test_one_who_does_not_read_is_cut_off_and_comes_back_to_where_it_was(home: House) -> None:
    with (
        home.stream("/posts", receive_buffer=4096) as slow,
        home.stream("/posts") as other,
        home.socket() as socket,
    ):
        began = int(slow.next().id)
        other.next()
        socket.next()
        socket.ask(type="subscribe", collection="posts")
        wanted: list[int] = []
        for _ in range(ROUNDS):
            one_round(home)
            wanted += ids(other, ROUND)
            assert [socket.next()["id"] for _ in range(ROUND)] == wanted[-ROUND:]
        assert wanted == list(range(began + 1, began + 1 + ROUND * ROUNDS))
        with pytest.raises(Ended):
            until_it_ends(slow)
        got = [int(event.id) for event in slow.frames[1:]]
        assert got == wanted[: len(got)] and len(got) < len(wanted)
        with home.stream("/posts", last_event_id=slow.last_event_id) as again:
            assert again.next().type == "connected"
            assert ids(again, len(wanted) - len(got)) == wanted[len(got) :]
        home.create("posts", "after")
        assert other.until("record.created").data["data"]["title"] == "after"


def test_a_socket_that_is_not_read_is_cut_off_too(home: House) -> None:
    raw = sockets.create_connection(("127.0.0.1", home.server.port))
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    with home.socket(sock=raw, max_queue=1) as slow, home.stream("/posts") as other:
        slow.next()
        slow.ask(type="subscribe", collection="posts")
        other.next()
        for _ in range(ROUNDS):
            one_round(home)
            ids(other, ROUND)
        assert slow.close_code() == 1006


def test_a_long_past_is_told_at_the_pace_of_the_reader_in_little_memory(home: House) -> None:
    began = home.create("posts", "past") and home.repeat_last_event(1)
    last = home.repeat_last_event(50_000)
    with home.stream("/posts", last_event_id=last) as live:
        live.next()
        before = home.memory()
        with home.stream("/posts", last_event_id=began, receive_buffer=16_384) as stream:
            assert stream.next().type == "connected"
            most = expected = 0
            expected = began
            while expected < last:
                event = stream.next(30)
                expected += 1
                assert int(event.id) == expected
                if expected % 2000 == 0:
                    time.sleep(0.05)
                    most = max(most, home.memory())
            assert most - before < 40 * 2**20
            made = home.create("posts", "now")
            for reader in (stream, live):
                assert reader.until("record.created").data["record_id"] == made["id"]


def test_those_who_go_leave_nothing_behind(home: House) -> None:
    """However they go: at the end, in the middle of their past, or before they are answered."""
    home.create("posts", "small")
    last = home.repeat_last_event(5_000)
    before = None
    for turn in range(20):
        streams = [
            home.stream("/posts"),
            home.stream("/posts", last_event_id=last - 5_000, receive_buffer=4096),
            home.stream("/posts", last_event_id=last - 10),
        ]
        for number, stream in enumerate(streams):
            (stream.abort if (turn + number) % 2 else stream.close)()
        with home.socket() as socket:
            socket.say(type="subscribe", collection="posts", last_event_id=last - 5_000)
            if turn % 2:
                socket.connection.socket.close()
        if turn == 5:
            before = home.memory()
    with home.stream("/posts") as stream:
        stream.next()
        home.create("posts", "alone")
        assert stream.until("record.created").data["data"]["title"] == "alone"
    assert before is not None and home.memory() - before < 30 * 2**20


def test_a_server_asks_for_as_many_open_files_as_it_takes_connections(home: House) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, _ = resource.prlimit(home.server.pid, resource.RLIMIT_NOFILE)
    assert soft >= min(hard, 22_000)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_ends_ends_its_streams_and_takes_seconds(
    workers: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with house(tmp_path_factory.mktemp("ending"), WORKERS=workers) as home, ExitStack() as stack:
        home.collection("posts")
        streams = [stack.enter_context(home.stream("/posts")) for _ in range(50)]
        others: list[Socket] = [stack.enter_context(home.socket()) for _ in range(5)]
        for stream in streams:
            stream.next()
        for socket in others:
            socket.next()
        home.collection("heavy")
        deaf = stack.enter_context(home.stream("/heavy", receive_buffer=4096))
        deaf.next()
        for _ in range(12):
            one_round(home, "heavy")
        home.create("posts", "last")
        for stream in streams:
            stream.until("record.created")
        began = time.monotonic()
        assert home.server.leave() == 0
        assert time.monotonic() - began < 5
        assert all(stream.ended() for stream in streams)
        assert [socket.close_code() for socket in others] == [1012] * 5
        assert not any(word in home.log for word in QUIET), home.log[-3000:]


def test_whoever_was_cut_off_by_the_end_of_a_server_misses_nothing_at_the_next(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with house(tmp_path_factory.mktemp("again")) as home:
        home.collection("posts")
        with home.stream("/posts") as stream:
            stream.next()
            made = [home.create("posts", "one")["id"]]
            home.server.leave()
            assert stream.ended()
        home.server.start()
        made.append(home.create("posts", "two")["id"])
        with home.stream("/posts", last_event_id=stream.last_event_id) as again:
            again.next()
            made.append(home.create("posts", "three")["id"])
            seen = [event.data["record_id"] for event in (*stream.frames[1:], *again.take(3 - len(stream.frames[1:])))]
        assert seen == made
