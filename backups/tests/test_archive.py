"""What is written is read again, whole or by pieces, and nothing else is."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups import archive, sealing
from backups.archive import BadArchive
from backups.sealing import PIECE

MOMENT = (2026, 1, 15, 10, 0, 0)
CONTENT = bytes(range(256)) * 1000


def write(path: Path, password: str = "") -> Path:
    with path.open("wb") as out, archive.Writer(out, password, MOMENT) as writer:
        writer.add("database.db", [CONTENT[:100_000], CONTENT[100_000:]], stored=False)
        writer.add("files/ab/abc.png", [b"picture"], stored=True)
        writer.finish({"engine": "sqlite", "name": "Größe"})
    return path


@pytest.mark.parametrize("password", ["", "a good password"])
def test_what_is_written_is_read_again(tmp_path: Path, password: str) -> None:
    with archive.reading(write(tmp_path / "a", password), password) as found:
        assert [one.filename for one in found.members] == ["database.db", "files/ab/abc.png", "metadata.json"]
        assert b"".join(found.pieces("database.db")) == CONTENT
        assert b"".join(found.pieces("files/ab/abc.png")) == b"picture"
        assert found.metadata["version"] == 1 and found.metadata["name"] == "Größe"
        digest = hashlib.sha256(b"picture").hexdigest()
        assert found.metadata["files"]["files/ab/abc.png"] == {"size": 7, "sha256": digest}


def test_any_tool_can_open_a_plain_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    assert zipfile.ZipFile(path).testzip() is None
    told = subprocess.run(["unzip", "-p", str(path), "metadata.json"], capture_output=True, check=False)
    if told.returncode == 0:
        assert json.loads(told.stdout)["engine"] == "sqlite"


def test_an_encrypted_one_shows_nothing_and_needs_its_password(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "secret")
    assert b"picture" not in path.read_bytes() and not zipfile.is_zipfile(path)
    for wrong in ("other", ""):
        with pytest.raises(BadArchive, match="BACKUP_PASSWORD"), archive.reading(path, wrong):
            pass


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_sealed_bytes_are_read_from_anywhere(length: int) -> None:
    content = (CONTENT * 2)[:length]
    out = io.BytesIO()
    sealed = sealing.Sealing(out, "secret")
    sealed.write(content[:70_000])
    sealed.write(content[70_000:])
    sealed.finish()
    assert len(out.getvalue()) == sealing.sealed_size(length)
    found = io.BufferedReader(sealing.Unsealed(out, "secret"))
    assert found.read() == content
    for start in (0, length // 2, max(0, length - 3), length + 5):
        found.seek(start)
        assert found.read(50) == content[start : start + 50]


def test_what_was_changed_cut_off_or_swapped_is_refused() -> None:
    out = io.BytesIO()
    writer = sealing.Sealing(out, "secret")
    writer.write(CONTENT)
    writer.finish()
    whole = out.getvalue()
    header, sealed = 31, PIECE + 16
    pieces = [whole[start : start + sealed] for start in range(header, len(whole), sealed)]
    assert len(pieces) >= 3
    first = whole[:header]
    flipped = bytearray(whole)
    flipped[header + 10] ^= 1
    for broken in (
        bytes(flipped),
        first + b"".join(pieces[:-1]),
        whole[:-1],
        first + pieces[1] + pieces[0] + b"".join(pieces[2:]),
        first + b"".join(pieces[1:]),
        whole[: header + 5],
        first,
    ):
        with pytest.raises(BadArchive):
            io.BufferedReader(sealing.Unsealed(io.BytesIO(broken), "secret")).read()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(BadArchive), archive.reading(path, ""):
        pass


def test_a_damaged_member_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes().replace(b"picture", b"picturE"))
    with archive.reading(path, "") as found, pytest.raises(BadArchive):
        list(found.pieces("files/ab/abc.png"))


def test_one_that_is_given_up_says_nothing_afterwards(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"a"
        raise OSError("no more")

    path = tmp_path / "a.zip"
    with pytest.raises(OSError, match="no more"), path.open("wb") as out, archive.Writer(out, "", MOMENT) as writer:
        writer.add("files/a", broken(), stored=True)
    del writer
    gc.collect()  # pytest tells of what is raised meanwhile
    with pytest.raises(BadArchive), archive.reading(path, ""):
        pass
