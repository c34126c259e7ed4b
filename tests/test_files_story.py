"""Files through the server that is run: killed in the middle of uploads, and looked at by a real browser."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from accounts import tokens
from accounts.models import User
from collections_app.files import facts, removal, storage, sweeping
from collections_app.models import FileUse, StoredFile
from collections_app.tests.threads import STRESS
from tests import chromium
from tests.server import SECRET_KEY, Server, server

pytestmark = [pytest.mark.engine, pytest.mark.slow]
State = StoredFile.State
ROUNDS = 2 * STRESS
RAN = "localStorage.setItem('ran', location.href)"
# Each would run in our origin, if it ran.
HOSTILE = {
    "script.svg": f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RAN}"><script>{RAN}</script></svg>'.encode(),
    "page.png": f"<!doctype html><script>{RAN}</script>".encode(),
    "late.txt": b" " * 9000 + f"<html><script>{RAN}</script>".encode(),
    "code.js": RAN.encode(),
    "bare.xml": f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>{RAN}</script></html>'.encode(),
    "style.css": b"body{background:url(/)}",
}


@pytest.fixture
def headers(admin: User, settings: Any, tmp_path: Path) -> dict[str, str]:
    settings.SECRET_KEY = SECRET_KEY
    settings.MEDIA_ROOT = str(tmp_path / "files")
    return {"Authorization": f"Bearer {tokens.issue(admin).access}"}


@pytest.fixture
def running(make_collection: Any, headers: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    sizes = {"max_size": 50_000_000, "thumbs": ["64x64"]}
    make_collection("things", title="text", file={"type": "file", "file": sizes}, view_rule=None)
    with server(tmp_path) as started:
        yield started


class Uploader(threading.Thread):
    """Creates, replaces and deletes until the server goes; keeps what was acknowledged."""

    def __init__(self, url: str, headers: dict[str, str], seed: int) -> None:
        super().__init__()
        self.records, self.headers, self.chance = (
            f"{url}/api/v1/collections/things/records",
            headers,
            random.Random(seed),
        )
        self.kept: dict[str, tuple[str, str]] = {}  # record → stored name, digest
        self.unsure: set[str] = set()

    def run(self) -> None:
        with httpx.Client(timeout=60, headers=self.headers) as client:
            try:
                while True:
                    self._turn(client)
            except httpx.TransportError:
                return

    def _turn(self, client: httpx.Client) -> None:
        content = self.chance.randbytes(self.chance.choice((10, 300_000, 3_000_000)))
        sent = {"file": ("a.bin", content)}
        if self.kept and self.chance.random() < 0.5:
            record = self.chance.choice(list(self.kept))
            self.unsure.add(record)
            if self.chance.random() < 0.3:
                client.delete(f"{self.records}/{record}").raise_for_status()
                del self.kept[record]
            else:
                self._keep(client.patch(f"{self.records}/{record}", files=sent), content)
            self.unsure.discard(record)
        else:
            self._keep(client.post(self.records, files=sent), content)

    def _keep(self, answer: httpx.Response, content: bytes) -> None:
        answer.raise_for_status()
        record = answer.json()
        self.kept[record["id"]] = (record["file"], hashlib.sha256(content).hexdigest())


def test_a_server_killed_during_uploads_loses_no_file_and_leaves_none(
    running: Server, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    for number in range(ROUNDS):
        if not running.is_alive():
            running.start()
        uploaders = [Uploader(running.url, headers, seed) for seed in range(number * 4, number * 4 + 4)]
        for uploader in uploaders:
            uploader.start()
        deadline = time.monotonic() + 60
        while not all(uploader.kept for uploader in uploaders) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.4))
        running.kill()
        for uploader in uploaders:
            uploader.join(90)
            for record, (name, digest) in uploader.kept.items():
                if record not in uploader.unsure:
                    assert FileUse.objects.filter(record_id=record, file__name=name, file__sha256=digest).exists()
    monkeypatch.setattr(removal, "STAGED_FOR", timedelta(0))
    report = sweeping.sweep()
    assert report.without_bytes == []
    kept = {row.name: row for row in StoredFile.objects.all()}
    assert {row.state for row in kept.values()} == {State.KEPT}
    assert FileUse.objects.count() == len(kept)
    assert sorted(path for path, _ in storage.current().walk()) == sorted(map(facts.path_of, kept))
    for name, row in kept.items():
        found = b"".join(storage.current().pieces(facts.path_of(name), 0, row.size))
        assert hashlib.sha256(found).hexdigest() == row.sha256


def _photo() -> bytes:
    out = BytesIO()
    Image.effect_noise((3000, 2000), 90).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def test_many_who_ask_for_a_thumb_get_the_same_and_readers_are_not_held_up(
    running: Server, headers: dict[str, str]
) -> None:
    with httpx.Client(base_url=f"{running.url}/api/v1", headers=headers, timeout=60) as client:
        photo = _photo()
        made = client.post("/collections/things/records", files={"file": ("a.jpg", photo)}).json()
        url = f"/files/things/{made['id']}/{made['file']}"
        with ThreadPoolExecutor(12) as crew:
            answers = list(crew.map(lambda _: client.get(f"{url}?thumb=64x64"), range(12)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        thumbs = [path for path, _ in storage.current().walk() if path.startswith("thumbs/")]
        assert len(thumbs) == 1
        whole = client.get(url)
        assert whole.content == photo and whole.headers["content-length"] == str(len(photo))
        part = client.get(url, headers={"Range": "bytes=500000-1499999"})
        assert part.status_code == 206 and part.content == photo[500_000:1_500_000]
        head = client.head(url)
        assert head.status_code == 200 and not head.content and head.headers["content-length"] == str(len(photo))
        assert client.get(url, headers={"Accept": "image/png"}).status_code == 200


@pytest.mark.skipif(chromium.BINARY is None, reason="needs a browser")
def test_nothing_that_is_stored_runs_in_a_browser(running: Server, headers: dict[str, str], tmp_path: Path) -> None:
    records = f"{running.url}/api/v1/collections/things/records"
    urls = []
    for name, content in HOSTILE.items():
        made = httpx.post(records, files={"file": (name, content)}, headers=headers).json()
        urls.append(f"{running.url}/api/v1/files/things/{made['id']}/{made['file']}")
    with chromium.page(tmp_path / "browser") as page:
        page.open(f"{running.url}/docs")
        page.wait("document.readyState === 'complete'")
        page.run("localStorage.setItem('control', '1')")
        for url in urls:
            page.open(url)
            time.sleep(0.15)
        page.open(f"{running.url}/docs")
        page.wait("document.readyState === 'complete' && localStorage.getItem('control') === '1'")
        # And from a page of ours, as everything that a page can take in.
        page.run(
            f"""for (const url of {json.dumps(urls)}) {{
              for (const [tag, key] of [['iframe','src'],['object','data'],['embed','src'],['img','src'],['script','src']]) {{
                const one = document.createElement(tag); one[key] = url; document.body.append(one)
              }}
              const link = document.createElement('link'); link.rel = 'stylesheet'; link.href = url; document.body.append(link)
            }}"""
        )
        time.sleep(0.8)
        assert page.run("localStorage.getItem('ran')") is None
        # The picture itself is shown: that is what SVGs are kept for.
        shown = f"new Promise(done => {{const i = new Image(); i.onload = () => done(i.width > 0); i.onerror = () => done(false); i.src = {json.dumps(urls[0])}}})"
        assert page.run(shown) is True
