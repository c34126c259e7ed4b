"""Files of records by the lane: as Django answers them, to the byte, and without a thread for a slow reader."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts import tokens
from accounts.models import User
from cms_project.front import Front
from cms_project.handler import DjangoHandler
from collections_app.files import thumbs
from collections_app.files import tokens as file_tokens
from collections_app.files.tests.conftest import picture, upload
from collections_app.models import StoredFile
from tests.asgi_client import call
from tests.server import SECRET_KEY, server
from tests.two_ways import Request, TwoWays, stand_still

pytestmark = [pytest.mark.engine, pytest.mark.slow]
MINE = "owner = @request.auth.id"
CALLERS = ("anonymous", "stranger", "owner", "admin", "forged")
LONG = b"0123456789abcdef" * 20_000  # more than is copied at once


@pytest.fixture
def files(
    make_collection: Any, as_user: Any, owner: User, admin: User, settings: Any, tmp_path: Path
) -> dict[str, str]:
    """Paths of files: of an open record, of the owner's, of a hidden field, one whose bytes are gone."""
    settings.MEDIA_ROOT = str(tmp_path / "files")
    thumbs = {"type": "file", "file": {"thumbs": ["20x20", "10x0"]}}
    make_collection("open", photo=thumbs, film="file", secret={"type": "file", "hidden": True}, view_rule=None)
    make_collection("mine", owner="text", photo=thumbs, view_rule=f"{MINE} || @request.query.key = 'open'")
    client = as_user(admin)
    given = {
        "photo": upload(picture(), 'q"ü.png'),
        "film": upload(LONG, "a.bin"),
        "secret": upload(b"<html>", "s.html"),
    }
    one = client.post("/api/v1/collections/open/records", given, format="multipart").json()
    owned = {"photo": upload(picture(), "p.png"), "owner": str(owner.pk)}
    two = client.post("/api/v1/collections/mine/records", owned, format="multipart").json()
    lost = client.post("/api/v1/collections/open/records", {"film": upload(b"x")}, format="multipart").json()
    for found in (tmp_path / "files").rglob(lost["film"]):
        found.unlink()
    paths = {name: f"/api/v1/files/open/{one['id']}/{one[name]}" for name in ("photo", "film", "secret")}
    assert client.get(f"{paths['photo']}?thumb=20x20").status_code == 200
    account = admin
    token = file_tokens.make(account, None, client.get("/api/v1/collections/mine").json()["id"], two["id"])
    return paths | {
        "mine": f"/api/v1/files/mine/{two['id']}/{two['photo']}",
        "lost": f"/api/v1/files/open/{lost['id']}/{lost['film']}",
        "token": token,
    }


@pytest.fixture
def ways(
    files: dict[str, str], owner: User, stranger: User, admin: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> Iterator[TwoWays]:  # fmt: skip
    signed = {user.username: tokens.issue(user).access for user in (owner, stranger, admin)}
    stand_still(monkeypatch)
    settings.ACCESS_LOG = False
    made = TwoWays(tmp_path, signed | {"forged": signed["owner"][:-3] + "abc"})
    yield made
    made.close()


def ask(path: str, who: str = "anonymous", method: str = "GET", by_lane: bool | None = True, **headers: str) -> Request:
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, path, who, sent, by_lane=by_lane)


def same(ways: TwoWays, requests: list[Request]) -> None:
    told = ways.differences(requests)
    assert not told, f"{len(told)} of {len(requests)} requests:\n" + "\n".join(told)


def test_who_asks_for_what(ways: TwoWays, files: dict[str, str]) -> None:
    same(ways, [
        ask(files[name] + query, who, method)
        for name in ("photo", "film", "secret", "mine", "lost")
        for who in CALLERS
        for method in ("GET", "HEAD")
        for query in ("", "?download=1", "?key=open")
    ])  # fmt: skip


def test_ranges_and_conditions(ways: TwoWays, files: dict[str, str]) -> None:
    etag = ways.by_lane(ask(files["film"])).header("etag")
    date = ways.by_lane(ask(files["film"])).header("last-modified")
    assert etag and date
    ranges = (
        "bytes=0-0", "bytes=5-", "bytes=-3", "bytes=0-999999", "bytes=999999-", "bytes=-0", "bytes=9-5", "bytes=0-1,3-4",
        "Bytes=1-2", "lines=1-2", "bytes=", "bytes=-", "rubbish", "bytes=100000-300000",
    )  # fmt: skip
    same(ways, [ask(files["film"], method=method, range=text) for text in ranges for method in ("GET", "HEAD")])
    validators = (etag, f"W/{etag}", '"x"', date, "rubbish", "", "Mon, 01 Jan 2024 00:00:00 +9999999999999999999999")
    same(ways, [ask(files["film"], range="bytes=1-2", if_range=text) for text in validators])
    same(ways, [ask(files["film"], if_none_match=text) for text in (*validators, "*", f'"a", {etag}')])
    same(ways, [ask(files["film"], if_modified_since=text) for text in validators])
    same(ways, [ask(files["mine"], "owner", if_none_match="*"), ask(files["mine"], "stranger", if_none_match="*")])


def test_what_is_asked_in_odd_ways(ways: TwoWays, files: dict[str, str]) -> None:
    photo, mine = files["photo"], files["mine"]
    queries = (
        "thumb=20x20", "thumb=1x1", "thumb=", "download=maybe", "download=", "download=true", "download=0", "size=1",
        "thumb=a&thumb=b", "token=", "%FF=1", "download=1&thumb=20x20", "=", "key=open",
    )  # fmt: skip
    same(ways, [ask(f"{photo}?{query}", method=method) for query in queries for method in ("GET", "HEAD")])
    same(ways, [ask(f"{photo}?thumb=20x20", if_none_match="*"), ask(f"{photo}?thumb=20x20", range="bytes=0-3")])
    accepted = ("image/avif,image/webp,image/*;q=0.8,*/*;q=0.5", "*/*", "image/*", "application/json", "video/mp4")
    same(ways, [ask(path, accept=text) for text in accepted for path in (photo, mine)])
    odd = ("text/html", "text/html,*/*;q=0.8", "application/json;q=0.5", "text/*")
    same(ways, [ask(path, by_lane=False, accept=text) for text in odd for path in (photo, mine)])
    folder, _, name = photo.rpartition("/")
    same(
        ways,
        [ask(path) for path in (f"{folder}/{name.upper()}", f"{folder}/x", f"{folder}/{name}/", folder[:-1] + "/x")],
    )
    same(
        ways,
        [ask(f"/api/v1/files/{rest}") for rest in ("nothing/x/y", f"open/{'a' * 2000}/y", "open/./.", "open/a/..")],
    )
    others = (f"{photo}//", f"{folder}/%00", "/api/v1/files/open/x", "/api/v1/files//x/y", f"{photo}/content")
    same(ways, [ask(path, by_lane=False) for path in others])
    same(ways, [ask(photo, method=method, by_lane=False) for method in ("POST", "DELETE", "OPTIONS", "PUT")])


def test_what_takes_a_thread_is_for_django(ways: TwoWays, files: dict[str, str]) -> None:
    mine, token = files["mine"], files["token"]
    same(ways, [ask(f"{mine}?token={given}", who, by_lane=None) for given in (token, "x") for who in CALLERS])
    before = ways.reached_django
    assert ways.by_lane(ask(f"{mine}?token={token}", "stranger")).status == 200  # who sends a token means it
    assert ways.by_lane(ask(f"{files['photo']}?thumb=10x0")).status == 200 and ways.reached_django == before + 2
    assert ways.by_lane(ask(f"{files['photo']}?thumb=10x0")).status == 200 and ways.reached_django == before + 2


class Reader:
    """A client that asks for a file, and takes as much of the answer as it likes."""

    def __init__(self, port: int, path: str, *headers: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def first(self) -> bytes:
        """What comes first; the rest waits."""
        return self.socket.recv(100)

    def rest(self) -> bytes:
        with self.socket:
            return b"".join(iter(lambda: self.socket.recv(1_000_000), b""))


def test_readers_that_take_nothing_hold_up_nobody(
    make_collection: Any, as_user: Any, admin: User, settings: Any, tmp_path: Path
) -> None:
    settings.SECRET_KEY, settings.MEDIA_ROOT = SECRET_KEY, str(tmp_path / "files")
    size, content = {"max_size": 50_000_000}, random.Random(1).randbytes(12_000_000)
    make_collection("films", film={"type": "file", "file": size}, view_rule=None)
    url = "/api/v1/collections/films/records"
    made = as_user(admin).post(url, {"film": upload(content, "a.bin")}, format="multipart").json()
    path = f"/api/v1/files/films/{made['id']}/{made['film']}"
    by_django = "Accept: text/html"  # as whoever opens the address in a browser
    with server(tmp_path) as running:
        slow = [Reader(running.port, path, *([by_django] if number % 2 else [])) for number in range(24)]
        begun = [reader.first() for reader in slow]
        for headers in ([], [by_django]):
            whole = Reader(running.port, path, *headers).rest()
            assert whole.startswith(b"HTTP/1.1 200") and whole.endswith(content)
            part = Reader(running.port, path, "Range: bytes=1000000-4999999", *headers).rest()
            assert part.startswith(b"HTTP/1.1 206") and part.endswith(b"\r\n\r\n" + content[1_000_000:5_000_000])
        for reader in slow[:12]:
            reader.socket.close()
        for reader, start in zip(slow[12:], begun[12:], strict=True):
            assert (start + reader.rest()).endswith(b"\r\n\r\n" + content)
        with httpx.Client(base_url=running.url, timeout=30) as client:  # one connection, whatever went before on it
            for number in range(0, 12_000_000, 1_499_999):
                got = client.get(path, headers={"Range": f"bytes={number}-{number + 200_000}"})
                assert got.content == content[number : number + 200_001]
                assert client.get(f"{url}/{made['id']}").status_code == 200
        assert "Traceback" not in running.log.read_text() and "ERROR" not in running.log.read_text()


def test_who_waits_for_thumbs_holds_up_no_plain_file(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.ACCESS_LOG = False
    may_go_on, thumb = threading.Event(), thumbs.thumb

    def slow(*given: Any) -> Any:
        assert may_go_on.wait(60)
        return thumb(*given)

    monkeypatch.setattr(thumbs, "thumb", slow)
    handler = DjangoHandler(1)
    front = Front(handler)

    async def crowd() -> list[int]:
        queries = ("?thumb=10x0", "?thum%62=10x0") * 4
        waiting = [asyncio.create_task(call(front, "GET", files["photo"] + query, [])) for query in queries]
        plain = await asyncio.wait_for(call(front, "GET", files["photo"], []), 60)
        may_go_on.set()
        return [plain.status, *[answer.status for answer in await asyncio.gather(*waiting)]]

    try:
        assert asyncio.run(crowd()) == [200] * 9
    finally:
        may_go_on.set()
        handler.close()


def test_a_file_that_goes_is_gone_at_once(ways: TwoWays, files: dict[str, str]) -> None:
    assert ways.by_lane(ask(files["film"])).content == LONG
    StoredFile.objects.filter(original_name="a.bin").update(state=StoredFile.State.DUE)
    same(ways, [ask(files["film"])])
    assert ways.by_lane(ask(files["film"])).status == 404
