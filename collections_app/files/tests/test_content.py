"""What a file is, is found by its content; nothing that is stored can run, and no picture takes the server down."""

from __future__ import annotations

import struct
import zlib
from datetime import timedelta
from io import BytesIO
from os import utime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from django.core.management import call_command
from django.db import connection
from PIL import Image

from collections_app.files import facts, removal, serving, sniffing, staging, storage, sweeping, thumbs
from collections_app.files.tests.conftest import picture, upload
from collections_app.models import FileUse, StoredFile
from core import clock
from core.errors import ServiceUnavailable

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def zipped(names: dict[str, bytes]) -> bytes:
    out = BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return out.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A tiny PNG that claims to be huge, and whose rows are there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(b"\x00" * (width // 8 + 1)) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "name", "mime"),
    [
        (SVG, "a.png", "image/svg+xml"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->\n' + SVG, "a.jpg", "image/svg+xml"),
        (b'<!DOCTYPE svg [<!ENTITY x "y">]>' + SVG, "a.txt", "image/svg+xml"),
        (b'<?xml version="1.0"?><x:svg xmlns:x="http://www.w3.org/2000/svg"/>', "a.xml", "image/svg+xml"),
        (b"<html><script>alert(1)</script>", "a.png", "text/html"),
        (b"  \n<!-- hello --><ScRiPt >alert(1)</script>", "a.gif", "text/html"),
        (b"<!doctype HTML>", "a.txt", "text/html"),
        (b"<a href=x>", "a.txt", "text/html"),
        (picture(), "a.html", "image/png"),
        (picture(kind="JPEG"), "a.svg", "image/jpeg"),
        (picture() + b"<script>alert(1)</script>", "a.html", "image/png"),
        (b"GIF89a/*" + b"\x00" * 30 + b"*/=1;alert(1)", "a.gif", "application/octet-stream"),
        (picture(kind="GIF") + b"/*<script>alert(1)</script>*/", "a.js", "image/gif"),
        (b"\x89PNG\r\n\x1a\nnothing more", "a.png", "application/octet-stream"),
        (b"\xff\xd8\xff<script>", "a.jpg", "application/octet-stream"),
        (b"%PDF-1.7\n", "a.png", "application/pdf"),
        (zipped({"a.txt": b"x"}), "a.jpg", "application/zip"),
        (b"MZ\x90\x00" + b"\x00" * 100, "a.png", "application/x-msdownload"),
        (b"a,b\n1,2\n", "a.csv", "text/csv"),
        (b"a,b\n1,2\n", "a.html", "text/plain"),
        ("Grüße".encode(), "a.md", "text/markdown"),
        ("Grüße".encode("utf-16"), "a.txt", "application/octet-stream"),
        (b"text with \x00 in it", "a.txt", "application/octet-stream"),
        (b'{"a": 1}', "a.txt", "application/json"),
        (b"{not json", "a.json", "text/plain"),
        (b"", "a.png", "text/plain"),
    ],
)
def test_the_content_decides_what_a_file_is(content: bytes, name: str, mime: str) -> None:
    found = sniffing.inspect(BytesIO(content), name)
    assert found.mime == mime and found.size == len(content)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "file"),
        ("...", "file"),
        ("a\x00b\r\nSet-Cookie: x.png", "abSet-Cookie: x.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("x" * 5000 + ".png", "x" * 251 + ".png"),
        ('quo"te\\%.txt', "%.txt"),
    ],
)
def test_a_name_from_elsewhere_leads_nowhere(sent: str, kept: str) -> None:
    assert facts.original_name(sent) == kept
    header = serving.disposition("attachment", kept)
    assert "\r" not in header and "\n" not in header and header.isascii() and header.count('"') == 2


@pytest.mark.engine
def test_what_could_run_is_a_download_and_held_in_a_sandbox(
    make_collection: Any, as_user: Any, admin: Any, anonymous: Any
) -> None:
    make_collection("things", file="file", view_rule=None)
    client, records = as_user(admin), "/api/v1/collections/things/records"
    for content, mime in (
        (SVG, "image/svg+xml"),
        (b"<html><script>1</script>", "application/octet-stream"),
        (b"<?xml version='1.0'?><a/>", "application/octet-stream"),
        (b"%PDF-1.7", "application/pdf"),
    ):
        made = client.post(records, {"file": upload(content, "x.png")}, format="multipart").json()
        got = anonymous.get(f"/api/v1/files/things/{made['id']}/{made['file']}")
        assert got.status_code == 200 and got["Content-Type"] == mime
        assert got["Content-Disposition"].startswith("attachment")
        assert (
            got["Content-Security-Policy"].startswith("default-src 'none'")
            and "sandbox" in got["Content-Security-Policy"]
        )
        assert "allow-" not in got["Content-Security-Policy"] and got["X-Content-Type-Options"] == "nosniff"


@pytest.mark.engine
def test_a_type_that_is_not_allowed_is_refused_whatever_it_is_called(
    make_collection: Any, as_user: Any, admin: Any, stored: Any
) -> None:
    make_collection(
        "things", file={"type": "file", "file": {"mime_types": ["image/png", "image/jpeg"], "max_size": 1000}}
    )
    client, records = as_user(admin), "/api/v1/collections/things/records"
    for content in (SVG, b"<html>", b"text", picture(kind="GIF"), b"\x89PNG\r\n\x1a\n", picture((2000, 2000))):
        refused = client.post(records, {"file": upload(content, "x.png", "image/png")}, format="multipart")
        assert refused.status_code == 422 and "file" in refused.json()["fields"]
    assert not stored() and not StoredFile.objects.exists()
    assert client.get(records).json()["total"] == 0


@pytest.mark.engine
def test_what_is_too_much_is_refused_before_it_is_read(
    make_collection: Any, as_user: Any, admin: Any, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = {"type": "file", "file": {"max_files": 3, "max_size": 1000}}
    make_collection("things", file={"type": "file", "file": {"max_size": 1000}}, papers=several)
    client, records = as_user(admin), "/api/v1/collections/things/records"
    monkeypatch.setattr(sniffing, "inspect", lambda *given: pytest.fail("it was read"))
    for given, sentence in (
        ({"file": upload(b"x" * 1001)}, "at most 1,000"),
        ({"papers": [upload(b"x")] * 4}, "At most 3 files"),
        ({"papers": ["a" * 24, *[upload(b"x")] * 3]}, "At most 3 files"),
    ):
        refused = client.post(records, given, format="multipart")
        assert refused.status_code == 422 and sentence in str(refused.json()["fields"]), refused.content
    assert not StoredFile.objects.exists() and not stored()


@pytest.mark.engine
def test_every_kind_that_is_known_has_a_name_that_fields_take(make_collection: Any, as_user: Any, admin: Any) -> None:
    make_collection("things", file="file")
    packed = upload(b"\x1f\x9d\x90" + b"x" * 50, "a.Z")  # of compress(1)
    made = as_user(admin).post("/api/v1/collections/things/records", {"file": packed}, format="multipart")
    assert made.status_code == 201 and made.json()["file"].endswith(".z")


@pytest.mark.engine
def test_a_picture_that_unfolds_into_gigabytes_is_refused_or_never_decoded(
    make_collection: Any, as_user: Any, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("things", file={"type": "file", "file": {"thumbs": ["50x50"]}}, other="file")
    client, records = as_user(admin), "/api/v1/collections/things/records"
    bomb = png_of(30_000, 30_000)
    assert len(bomb) < 500_000
    refused = client.post(records, {"file": upload(bomb)}, format="multipart")
    assert refused.status_code == 422 and "pixels" in refused.json()["fields"]["file"][0]
    kept = client.post(records, {"other": upload(bomb)}, format="multipart").json()
    row = StoredFile.objects.get(name=kept["other"])
    monkeypatch.setattr(thumbs, "small", lambda *given: pytest.fail("it was decoded"))
    assert thumbs.thumb(row, "50x50") is None


@pytest.mark.engine
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("20x20", (20, 20)),
        ("20x20t", (20, 20)),
        ("20x10f", (13, 10)),
        ("0x15", (20, 15)),
        ("30x0", (30, 22)),
        ("400x0", (40, 30)),
    ],
)
def test_thumbs_have_the_size_that_was_asked_for(size: str, expected: tuple[int, int]) -> None:
    for kind, mime in (("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")):
        made = Image.open(BytesIO(thumbs.small(BytesIO(picture(kind=kind)), mime, size, kind)))
        assert made.size == expected and made.format == kind


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1), (3, 7)])
@pytest.mark.parametrize("size", ["100x50", "100x50t", "100x50b", "0x100", "100x0", "100x50f"])
def test_nothing_larger_than_thumb_and_picture_is_made_of_a_narrow_picture(
    shape: tuple[int, int], size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    resize = Image.Image.resize

    def watched(picture: Image.Image, *given: Any, **more: Any) -> Image.Image:
        found = resize(picture, *given, **more)
        made.append(found.width * found.height)
        return found

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert thumbs.small(BytesIO(picture(shape)), "image/png", size, "PNG")
    assert made and max(made) <= max(100 * 50, shape[0] * shape[1])


def test_a_thumb_is_cut_out_where_it_is_asked_for() -> None:
    striped = Image.new("RGB", (20, 60), "red")
    striped.paste("lime", (0, 20, 20, 40))
    striped.paste("blue", (0, 40, 20, 60))
    source = BytesIO()
    striped.save(source, "PNG")
    for size, colour in (("10x10t", (255, 0, 0)), ("10x10", (0, 255, 0)), ("10x10b", (0, 0, 255))):
        made = Image.open(BytesIO(thumbs.small(source, "image/png", size, "PNG")))
        assert made.size == (10, 10) and made.getpixel((5, 5)) == colour


def test_a_thumb_stands_upright_and_tells_nothing_of_its_camera() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8825] = 6, "Camera", {1: "N"}
    lying = Image.new("RGB", (60, 40), "white")
    lying.paste("red", (0, 0, 20, 40))  # on the left; turned by 90° clockwise it is at the top
    source = BytesIO()
    lying.save(source, "JPEG", exif=exif, comment=b"secret", quality=95)
    made = Image.open(BytesIO(thumbs.small(source, "image/jpeg", "20x30", "JPEG")))
    assert made.size == (20, 30)
    red, white = made.getpixel((10, 3)), made.getpixel((10, 27))
    assert red[0] > 200 and red[1] < 80 and white[1] > 200  # type: ignore[index]
    assert not made.getexif() and "comment" not in made.info


def progressive(scans: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A JPEG whose last scan stands there again and again, each but a few bytes."""
    whole = picture(size, "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + whole[-2:]


def test_a_jpeg_of_very_many_scans_is_not_decoded() -> None:
    assert thumbs.small(BytesIO(progressive(50)), "image/jpeg", "20x20", "JPEG")
    with pytest.raises(ValueError, match="scans"):
        thumbs.small(BytesIO(progressive(101)), "image/jpeg", "20x20", "JPEG")
    # Another JPEG within its metadata, and what stands behind its end, are no scans of it.
    camera = Image.Exif()
    camera[0x010F] = "\xff\xda".encode("latin1") * 200
    spoken = picture((64, 64), "JPEG", exif=camera, comment=b"\xff\xda" * 200) + b"\xff\xda" * 200
    assert thumbs.small(BytesIO(spoken), "image/jpeg", "20x20", "JPEG")


def test_greys_of_16_bits_stay_grey() -> None:
    source = BytesIO()
    Image.new("I;16", (40, 40), 20_000).save(source, "PNG")
    made = Image.open(BytesIO(thumbs.small(source, "image/png", "20x20", "PNG")))
    assert abs(int(made.convert("L").getpixel((5, 5))) - 78) <= 1  # type: ignore[arg-type]


@pytest.mark.engine
def test_a_thumb_that_cannot_be_stored_is_answered(
    make_collection: Any, as_user: Any, admin: Any, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("things", file={"type": "file", "file": {"thumbs": ["20x20"]}})
    client = as_user(admin)
    made = client.post("/api/v1/collections/things/records", {"file": upload(picture())}, format="multipart").json()

    def full(*given: Any) -> None:
        raise ServiceUnavailable

    monkeypatch.setattr(storage.LocalStorage, "new", full)
    got = client.get(f"/api/v1/files/things/{made['id']}/{made['file']}?thumb=20x20")
    assert got.status_code == 200 and Image.open(BytesIO(got.content)).size == (20, 20)
    assert stored() == [facts.path_of(made["file"])]


def test_a_thumb_of_another_kind_is_called_so(make_collection: Any, as_user: Any, admin: Any) -> None:
    make_collection("things", file={"type": "file", "file": {"thumbs": ["20x20"]}})
    client = as_user(admin)
    sent = {"file": upload(picture(kind="GIF"), "a b.gif")}
    made = client.post("/api/v1/collections/things/records", sent, format="multipart").json()
    url = f"/api/v1/files/things/{made['id']}/{made['file']}"
    assert 'filename="a b.gif"' in client.get(url)["Content-Disposition"]
    assert client.get(f"{url}?thumb=20x20&download=1")["Content-Disposition"] == 'attachment; filename="a b.png"'


def test_a_broken_picture_is_answered_as_it_is(make_collection: Any, as_user: Any, admin: Any) -> None:
    make_collection("things", file={"type": "file", "file": {"thumbs": ["50x50"]}})
    client = as_user(admin)
    broken = picture((300, 300))[:-200]
    made = client.post("/api/v1/collections/things/records", {"file": upload(broken)}, format="multipart").json()
    got = client.get(f"/api/v1/files/things/{made['id']}/{made['file']}?thumb=50x50")
    assert got.status_code == 200 and got.content == broken


@pytest.mark.engine
@pytest.mark.parametrize(
    ("header", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=5-", 206, slice(5, None)),
        ("Bytes=5-", 206, slice(5, None)),
        ("bytes=٣-٥", 200, slice(0, None)),
        ("bytes=-3", 206, slice(-3, None)),
        ("bytes=0-99999", 206, slice(0, None)),
        ("bytes=-99999", 206, slice(0, None)),
        ("bytes=99999-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-2", 200, slice(0, None)),
        ("bytes=0-1,3-4", 200, slice(0, None)),
        ("lines=0-1", 200, slice(0, None)),
        ("bytes=a-b", 200, slice(0, None)),
        ("bytes=-", 200, slice(0, None)),
        ("bytes=" + "9" * 400 + "-", 200, slice(0, None)),
    ],
)
def test_ranges(make_collection: Any, as_user: Any, admin: Any, header: str, status: int, part: slice | None) -> None:
    make_collection("things", file="file")
    client, content = as_user(admin), bytes(range(256))
    made = client.post("/api/v1/collections/things/records", {"file": upload(content)}, format="multipart").json()
    url = f"/api/v1/files/things/{made['id']}/{made['file']}"
    got = client.get(url, headers={"Range": header})
    assert got.status_code == status
    if part is None:
        assert got["Content-Range"] == "bytes */256" and got.json()["error_code"] == "RANGE_NOT_SATISFIABLE"
        return
    assert got.content == content[part] and got["Content-Length"] == str(len(got.content))
    head = client.head(url, headers={"Range": header})
    assert head.status_code == status and not head.content and head["Content-Length"] == got["Content-Length"]
    etag = got["ETag"]
    for validator, answer in ((etag, status), ('"other"', 200), (got["Last-Modified"], status), ("rubbish", 200)):
        assert client.get(url, headers={"Range": header, "If-Range": validator}).status_code == answer


@pytest.mark.engine
@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999999",
        "Mon, 01 Jan 99999999999999 00:00:00 GMT",
        "Mon, 99 Jan 2024 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Sat, 01 Jan 0001 00:00:00 +2359",
        "rubbish",
    ],
)
def test_a_date_that_is_none_is_no_condition(make_collection: Any, as_user: Any, admin: Any, date: str) -> None:
    make_collection("things", file="file")
    client = as_user(admin)
    made = client.post("/api/v1/collections/things/records", {"file": upload(b"12345")}, format="multipart").json()
    url = f"/api/v1/files/things/{made['id']}/{made['file']}"
    got = client.get(url, headers={"If-Modified-Since": date})
    assert got.status_code == (304 if "9999 2" in date else 200)
    assert client.get(url, headers={"Range": "bytes=0-1", "If-Range": date}).status_code == 200


@pytest.mark.engine
def test_odd_paths_find_nothing(make_collection: Any, as_user: Any, admin: Any) -> None:
    make_collection("things", file="file", view_rule=None)
    client = as_user(admin)
    made = client.post("/api/v1/collections/things/records", {"file": upload(b"x")}, format="multipart").json()
    for name in ("..%2f..%2fapp.db", "%00", "a" * 5000, made["file"].upper(), ".", "a%00b"):
        assert client.get(f"/api/v1/files/things/{made['id']}/{name}").status_code == 404
    for path in ("things/x", f"nothing/{made['id']}", "things/%00", f"things/{'a' * 2000}"):
        assert client.get(f"/api/v1/files/{path}/{made['file']}").status_code == 404
    for query in ("thumb=1x1", "thumb=../x", "download=maybe", "size=1", "thumb=a&thumb=b"):
        assert client.get(f"/api/v1/files/things/{made['id']}/{made['file']}?{query}").status_code == 400


@pytest.mark.engine
def test_a_sweep_finds_bytes_without_rows_and_rows_without_bytes(
    make_collection: Any, as_user: Any, admin: Any, stored: Any, settings: Any, capsys: Any
) -> None:
    make_collection("things", file="file")
    client = as_user(admin)
    names = [
        client.post("/api/v1/collections/things/records", {"file": upload(b"x")}, format="multipart").json()["file"]
        for _ in range(2)
    ]
    root = Path(settings.MEDIA_ROOT)
    for path in ("zz/" + "z" * 24 + ".png", ".incoming/half", "thumbs/zz/" + "z" * 24 + ".png/9x9.png"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"stray")
    young = stored()
    assert sweeping.sweep().without_row == [] and stored() == young  # they may be about to get their row
    for found in root.rglob("*"):
        if found.is_file():
            utime(found, (0, 0))
    (root / facts.path_of(names[0])).unlink()
    before = stored()
    call_command("sweep_files", "--dry-run")
    told = capsys.readouterr().out
    assert "no row knows of them: 3" in told and f"missing in the storage: 1\n  {names[0]}" in told
    assert stored() == before
    call_command("sweep_files")
    assert stored() == [facts.path_of(names[1])]


@pytest.mark.engine
def test_a_sweep_holds_records_against_what_is_kept_for_them(
    make_collection: Any, records: Any, as_user: Any, admin: Any, stored: Any, settings: Any, capsys: Any
) -> None:
    made = make_collection("things", title="text", file="file", papers={"type": "file", "file": {"max_files": 3}})
    client, url = as_user(admin), "/api/v1/collections/things/records"

    def new(**given: Any) -> Any:
        return client.post(url, given, format="multipart").json()

    whole, lost, idle = (new(file=upload(b"x"), papers=[upload(b"1"), upload(b"2")]) for _ in range(3))
    stranger = Path(settings.MEDIA_ROOT, "mine", "notes.txt")
    stranger.parent.mkdir()
    stranger.write_bytes(b"not ours")
    utime(stranger, (0, 0))
    orphan = staging.announce(sniffing.inspect(BytesIO(b"x"), "x.txt"), "x.txt", "")
    storage.current().new(facts.path_of(orphan.name), BytesIO(b"x"))
    StoredFile.objects.filter(pk=orphan.pk).update(state=StoredFile.State.KEPT)
    FileUse.objects.filter(record_id=lost["id"], file__name=lost["file"]).delete()
    with connection.cursor() as cursor:  # as only somebody else can write
        cursor.execute(f"UPDATE {made.table} SET papers = NULL WHERE id = %s", [idle["id"]])
    young = stored()
    sweeping.sweep()
    assert stored() == young and FileUse.objects.count() == 8  # they may be about to fit together
    StoredFile.objects.update(since=clock.now() - timedelta(hours=2))
    call_command("sweep_files", "--dry-run")
    told = capsys.readouterr().out
    assert stored() == young and "to remove, because nobody has them: 1" in told
    assert "do not name them: 2\n" in told and f"things/{idle['id']} papers {idle['papers'][0]}" in told
    assert f"not there: 1\n  things/{lost['id']} file {lost['file']}" in told
    assert "none of ours: 1\n  mine/notes.txt" in told
    report = sweeping.sweep()
    assert report.removed == 3 and report.foreign == ["mine/notes.txt"] and stranger.exists()
    gone = {facts.path_of(name) for name in (orphan.name, *idle["papers"])}
    assert set(young) - set(stored()) == gone  # what a record names stays, also where it is not kept for it
    assert client.get(f"{url}/{whole['id']}").json()["papers"] == whole["papers"]
    assert sweeping.sweep().removed == 0


@pytest.mark.engine
def test_the_hourly_round_removes_what_dead_processes_left(db: None, stored: Any, settings: Any) -> None:
    half = Path(settings.MEDIA_ROOT, ".incoming", "half")
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half of it")
    row = staging.announce(sniffing.inspect(BytesIO(b"x"), "x.txt"), "x.txt", "")
    storage.current().new(facts.path_of(row.name), BytesIO(b"x"))
    assert removal.remove_due() == 0 and len(stored()) == 2
    utime(half, (0, 0))
    StoredFile.objects.update(since=clock.now() - timedelta(hours=2))
    assert removal.remove_due() == 1 and stored() == [] and not StoredFile.objects.exists()
