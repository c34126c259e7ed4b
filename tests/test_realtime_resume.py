"""Cut anywhere and resumed: every event once, in order, or a word that there is a gap."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.sse_client import Stream
from tests.wire_house import House, house


class Notes:
    """The collection that all this is about."""

    def __init__(self, home: House) -> None:
        self.home = home
        home.collection("notes")

    def write(self, count: int) -> None:
        with httpx.Client(base_url=self.home.url, timeout=30, headers=self.home.http.headers) as client:
            for _ in range(count):
                client.post("/api/v1/collections/notes/records", json={"title": "x"}).raise_for_status()

    def stream(self, last_event_id: str | int | None = None) -> Stream:
        return self.home.stream("/notes", None, last_event_id)

    def logged(self, after: int = 0) -> list[int]:
        """The ids of all that happened to notes."""
        sql = "SELECT id FROM events WHERE collection = 'notes' AND record_id != '' AND id > ? ORDER BY id"
        with closing(self.database()) as connection:
            return [row[0] for row in connection.execute(sql, [after])]

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.home._database, timeout=30)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notes]:
    with house(tmp_path_factory.mktemp("resume")) as home:
        yield Notes(home)


class Writers:
    """So many clients that write so many notes each; the block waits for them."""

    def __init__(self, notes: Notes, count: int, each: int) -> None:
        self.threads = [threading.Thread(target=notes.write, args=(each,)) for _ in range(count)]

    def __enter__(self) -> Writers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        for thread in self.threads:
            thread.join()


def ids(stream: Stream) -> list[int]:
    return [int(frame.id) for frame in stream.frames if frame.type.startswith("record.")]


def read_to(stream: Stream, last: int) -> None:
    while int(stream.last_event_id or 0) < last:
        stream.next(10)


def test_cut_at_every_event_and_resumed_nothing_is_missing_or_swapped(notes: Notes) -> None:
    with notes.stream() as first:
        position = first.next().id
    found: list[int] = []
    with Writers(notes, 3, 40):
        while len(found) < 120:
            with notes.stream(position) as stream:
                frame = stream.until("record.created", 10)
                found.append(int(frame.id))
                position = frame.id
                if len(found) % 2:
                    stream.abort()
    assert found == notes.logged(found[0] - 1)
    with notes.stream(position) as stream:
        assert stream.next().type == "connected" and stream.quiet()


def test_many_who_join_while_others_write_agree(notes: Notes) -> None:
    streams: list[Stream] = []
    with Writers(notes, 3, 40) as writers:
        while any(thread.is_alive() for thread in writers.threads) and len(streams) < 60:
            streams.append(notes.stream())
    last = notes.logged()[-1]
    try:
        assert len(streams) > 10
        for stream in streams:
            begin = int(stream.next().id)
            read_to(stream, last)
            assert ids(stream) == notes.logged(begin)
    finally:
        for stream in streams:
            stream.close()


def test_a_long_past_is_told_whole_while_others_write(notes: Notes) -> None:
    """Over several pages of the log."""
    notes.write(1)
    begin = notes.logged()[-1]
    notes.home.repeat_last_event(1500)
    with Writers(notes, 2, 30), notes.stream(begin) as stream:
        stream.next()
        while len(stream.frames) < 1200:
            stream.next(10)
        known = len(stream.frames)
    with notes.stream(stream.last_event_id) as rest:
        last = notes.logged()[-1]
        read_to(rest, last)
        assert known == 1200
        assert [*ids(stream), *ids(rest)] == notes.logged(begin)


def test_whoever_comes_from_outside_of_the_log_is_told_to_read_again(notes: Notes) -> None:
    newest = notes.logged()[-1]
    with notes.stream(newest + 10_000) as stream:
        assert [stream.next().type, stream.next().type] == ["connected", "reset"]
        assert int(stream.last_event_id) == newest
    with closing(notes.database()) as connection:
        connection.execute("DELETE FROM events WHERE id <= ?", [newest - 3])
        connection.execute("INSERT OR REPLACE INTO event_log_state (id, trimmed_through) VALUES (1, ?)", [newest - 3])
        connection.commit()
    with notes.stream(newest - 4) as stream:
        stream.next()
        reset = stream.next()
        assert reset.type == "reset" and int(reset.id) == newest and reset.data["data"]["reason"]
        notes.write(1)
        assert int(stream.until("record.created").id) == newest + 1
    with notes.stream(newest - 3) as stream:
        assert [frame.type for frame in stream.take(5)] == ["connected", *["record.created"] * 4]


def test_those_who_were_there_when_the_server_was_killed_miss_nothing(notes: Notes) -> None:
    with notes.stream() as stream:
        begin = int(stream.next().id)
        notes.write(5)
        stream.until("record.created")
        notes.home.server.kill()
        assert stream.ended()
    notes.home.server.start()
    with notes.stream(stream.last_event_id) as again:
        notes.write(1)
        last = notes.logged()[-1]
        read_to(again, last)
    assert [*ids(stream), *ids(again)] == notes.logged(begin)


def test_what_happened_more_than_a_day_ago_is_not_told_any_more(notes: Notes) -> None:
    notes.write(3)
    first, second, third = notes.logged()[-3:]
    with closing(notes.database()) as connection:
        connection.execute("UPDATE events SET timestamp = datetime(timestamp, '-25 hours') WHERE id <= ?", [first])
        connection.commit()
    with notes.stream(first - 1) as stream:
        assert [stream.next().type, stream.next().type] == ["connected", "reset"]
        assert int(stream.last_event_id) == third
    with notes.stream(first) as stream:
        assert [frame.type for frame in stream.take(3)] == ["connected", *["record.created"] * 2]
        assert ids(stream)[-2:] == [second, third]
