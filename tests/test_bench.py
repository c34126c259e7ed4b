"""The benches run: at a hundredth of their size, where only the table matters. And they notice wrong answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from bench import load
from bench.common import Row, table
from bench.load import Request, WrongAnswer
from bench.peers import DIFFERENT
from bench.stock import Stock
from bench.systems import spell
from collections_app.tests.threads import STRESS

ROOT = Path(__file__).resolve().parent.parent


# Some take half a minute; all of them run with TEST_STRESS=2.
ALONE = ["records", "io", "views", "writes", "rules", "schema", "bulk", "memory", "webhooks", "files", "backups"]
COMPARISONS = [
    ("peers", "| search for a rare word, exact total"),
    ("realtime", "| FastCMS, the owner"),
    ("growth", "| deep page by cursor"),
    ("mixed", "| lists with exact totals"),
    ("scan", "| PocketBase: point reads alone"),
    ("logins", "| FastCMS, Argon2id"),
    ("workers", "| create"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE if STRESS > 1 else ALONE[:2])
def test_a_bench_prints_its_table(name: str) -> None:
    shown = run_bench(name)
    assert "| measured" in " ".join(shown.split()), shown


@pytest.mark.slow
@pytest.mark.parametrize(("name", "line"), COMPARISONS if STRESS > 1 else COMPARISONS[:1])
def test_a_comparison_prints_its_table(name: str, line: str) -> None:
    shown = run_bench(name)
    assert "p99 ms" in shown and line in shown, shown


def run_bench(name: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", f"bench.{name}"],
        cwd=ROOT,
        env={**os.environ, "BENCH_SCALE": "0.01"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_table_says_which_targets_are_reached() -> None:
    shown = table(
        [
            Row("quick", 0.4, "ms", 1.0),
            Row("slow", 2.0, "ms", 1.0),
            Row("many", 20_000, "records/s", 10_000, more_is_better=True),
            Row("few", 9_000, "records/s", 10_000, more_is_better=True),
            Row("by the way", 3.14159, "µs"),
        ]
    )
    verdicts = [line.rsplit("|", 2)[1].strip() for line in shown.splitlines()[2:]]
    assert verdicts == ["yes", "**no**", "yes", "**no**", ""]
    assert "≥ 10,000 records/s" in shown and "3.14 µs" in shown
    assert len({len(line) for line in shown.splitlines()}) == 1


# --- the load generator -----------------------------------------------------------------------

PLAIN = [b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"n": 1}']
CHUNKED = [b"HTTP/1.1 200 OK\r\nTransfer-Enco", b'ding: chunked\r\n\r\n3\r\n{"n\r\n', b"5\r\n", b'": 1}\r\n0\r\n\r\n']
NOTHING = [b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n', b"\r\n"]
BUSY = [b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"]


@pytest.mark.parametrize(("pieces", "status"), [(PLAIN, 200), (CHUNKED, 200), (NOTHING, 304)])
def test_the_load_generator_reads_whole_answers(pieces: Sequence[bytes], status: int) -> None:
    seen = []
    holds = None if status == 304 else lambda found: not seen.append(found)
    with answering(pieces) as port:
        (measured,) = load.run(port, load.flow([Request(b"GET / HTTP/1.1\r\n\r\n", status, holds)], 2), seconds=0.1)
    assert measured.count >= 2 and measured.times == sorted(measured.times)
    assert status == 304 or (seen and all(found == {"n": 1} for found in seen))


def test_a_wrong_status_ends_the_load() -> None:
    with answering(BUSY) as port, pytest.raises(WrongAnswer, match="503 instead of 200"):
        load.run(port, load.flow([Request(b"GET / HTTP/1.1\r\n\r\n")]), seconds=5)


def test_a_wrong_body_ends_the_load() -> None:
    wish = Request(b"GET / HTTP/1.1\r\n\r\n", holds=lambda found: found["n"] == 2)
    with answering(PLAIN) as port, pytest.raises(WrongAnswer, match="not what was asked for"):
        load.run(port, load.flow([wish]), seconds=5)


def test_a_server_that_hangs_up_ends_the_load() -> None:
    with answering([]) as port, pytest.raises(ConnectionError):
        load.run(port, load.flow([Request(b"GET / HTTP/1.1\r\n\r\n")]), seconds=5)


@contextmanager
def answering(pieces: Sequence[bytes]) -> Iterator[int]:
    """The port of a server that answers everything with these pieces, or without any hangs up."""

    def serve(client: socket.socket) -> None:
        with client:
            while client.recv(1000) and pieces:
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(0.001)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=[client], daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)


def test_the_same_query_is_spelled_in_many_ways() -> None:
    wish = {"sort": "-created", "per_page": "30", "é": "a&b=c %"}
    ways = [spell(wish, way) for way in range(DIFFERENT)]
    assert len(set(ways)) == DIFFERENT
    assert all(dict(parse_qsl(way)) == wish for way in ways)


def test_what_the_benches_expect_is_what_the_records_say() -> None:
    stock = Stock(1000)
    records = list(stock.records("me"))
    assert stock.of_member == sum(record["owner"] == "me" for record in records) == 100
    assert 300 < stock.active_from(0) < 700
    assert stock.active_from(100.0) == sum(record["active"] and record["price"] >= 100.0 for record in records)
    assert stock.dearest == max(record["price"] for record in records if record["active"])
    for number in (0, 17, 999):
        word = stock.rare_word(number)
        assert stock.of_word(number) == sum(word in record["body"] for record in records) == 20
        assert not any(word in record["title"] for record in records)
