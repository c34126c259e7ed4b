"""Small copies of pictures, made when somebody first asks for one, and stored.

Nothing is decoded that is larger than :data:`MAX_PIXELS`, only the first frame ever is, and few
at a time. JPEGs are decoded at the smallest scale that will do.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from weakref import WeakValueDictionary

from PIL import Image, ImageOps

from collections_app.files import facts, storage
from collections_app.files.removal import THUMBS
from collections_app.files.sniffing import PICTURES
from collections_app.models import StoredFile
from collections_app.schema.fields.files import MAX_PIXELS
from core.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

AT_ONCE = 2  # pictures that one process decodes
WAIT_SECONDS = 10
LARGE = 16_000_000  # pixels; of what can't be decoded at a smaller scale one at a time
MAX_BYTES = 100 * 1024 * 1024
MAX_SCANS = 100  # of a JPEG; encoders write a dozen, and the decoder goes over all of the picture for each
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})([tbf]?)")
_QUALITY = 82
_SCALABLE = frozenset({"image/jpeg"})
# What a thumb is, by what the picture is: those that browsers may not know become PNG.
_FORMATS = {"image/jpeg": ("JPEG", "image/jpeg", "jpg"), "image/webp": ("WEBP", "image/webp", "webp")}
_PNG = ("PNG", "image/png", "png")

# What follows 0xFF in a JPEG: zero is a byte of the picture, and D0 to D7 stand between such bytes.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_SCAN, _END, _BARE = b"\xda", b"\xd9", (b"\xd8", b"\x01")  # bare markers have no length

_turns = threading.BoundedSemaphore(AT_ONCE)
_large = threading.Lock()


class _Turn:
    """Whose turn it is to make one thumb: the others wait, and find it made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_making: WeakValueDictionary[str, _Turn] = WeakValueDictionary()
_guard = threading.Lock()


def thumb(row: StoredFile, size: str) -> tuple[bytes, str] | None:
    """The picture in a size such as ``200x100``, and its type; None where it is none that can be made smaller.

    Raises ServiceUnavailable where too many are being made.
    """
    if row.mime not in PICTURES or row.size > MAX_BYTES or (row.width or 0) * (row.height or 0) > MAX_PIXELS:
        return None
    how, mime, _ = _FORMATS.get(row.mime, _PNG)
    path = _path(row, size)
    found = _stored(path)
    if found is None:
        with _turn(path):
            found = _stored(path)
            if found is None:
                found = _made(row, size, how)
                if found is None:
                    return None
                _keep(row, path, found)
    return found, mime


def stored(row: StoredFile, size: str) -> tuple[bytes, str] | None:
    """The thumb, where somebody has asked for it before; None else."""
    found = _stored(_path(row, size))
    return None if found is None else (found, _FORMATS.get(row.mime, _PNG)[1])


def _path(row: StoredFile, size: str) -> str:
    return f"{THUMBS}/{facts.path_of(row.name)}/{size}.{_FORMATS.get(row.mime, _PNG)[2]}"


def _keep(row: StoredFile, path: str, made: bytes) -> None:
    """Store it for the next who asks. This one has it anyway, also where the disk is full, or its picture just went."""
    try:
        storage.current().new(path, BytesIO(made))
        if not StoredFile.objects.filter(pk=row.pk, state=StoredFile.State.KEPT).exists():
            storage.current().remove(path)  # it was deleted meanwhile
    except ServiceUnavailable as fault:
        logger.warning("a thumb was made and not kept: %s", fault)


def _stored(path: str) -> bytes | None:
    try:
        return b"".join(storage.current().pieces(path, 0, MAX_BYTES))
    except FileNotFoundError:
        return None


@contextmanager
def _turn(path: str) -> Iterator[None]:
    with _guard:
        turn = _making.setdefault(path, _Turn())
    if not turn.lock.acquire(timeout=WAIT_SECONDS):
        raise ServiceUnavailable
    try:
        yield
    finally:
        turn.lock.release()


@contextmanager
def _decoding(row: StoredFile) -> Iterator[None]:
    is_large = row.mime not in _SCALABLE and (row.width or 0) * (row.height or 0) > LARGE
    if is_large and not _large.acquire(timeout=WAIT_SECONDS):
        raise ServiceUnavailable
    try:
        if not _turns.acquire(timeout=WAIT_SECONDS):
            raise ServiceUnavailable
        try:
            yield
        finally:
            _turns.release()
    finally:
        if is_large:
            _large.release()


def _made(row: StoredFile, size: str, how: str) -> bytes | None:
    """The thumb's bytes; FileNotFoundError where the picture's are missing."""
    pieces = storage.current().pieces(facts.path_of(row.name), 0, row.size)
    with _decoding(row):
        source = BytesIO(b"".join(pieces))
        try:
            return small(source, row.mime, size, how)
        except Exception:  # noqa: BLE001 - whatever the decoder stumbles over: the picture is broken
            return None


def small(source: BytesIO, mime: str, size: str, how: str) -> bytes:
    """A picture in that size; raises whatever Pillow does."""
    parsed = _SIZE.fullmatch(size)
    assert parsed is not None  # it is one that a field has declared
    width, height, mode = int(parsed[1]), int(parsed[2]), parsed[3]
    with Image.open(source, formats=(PICTURES[mime],)) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("too many pixels")
        if mime == "image/jpeg" and _scans(source.getvalue()) > MAX_SCANS:
            raise ValueError("too many scans")
        sideways = picture.getexif().get(0x0112) in (5, 6, 7, 8)
        box = (height, width) if sideways else (width, height)
        # Decoded at the smallest scale that has every pixel of the thumb, and then averaged.
        picture.draft(None, _scaled(picture.size, box, mode))
        profile = picture.info.get("icc_profile")
        upright = ImageOps.exif_transpose(picture)
    made = _fitted(_plain(upright, how), width, height, mode)
    made.info = {}  # where it was taken, and with what, is nobody's affair; what its colours are is
    out = BytesIO()
    made.save(out, how, quality=_QUALITY, optimize=how != "WEBP", icc_profile=profile)
    return out.getvalue()


def _scans(jpeg: bytes) -> int:
    """How often a JPEG goes over its picture, up to one more than is too often."""
    count, at = 0, 0
    while count <= MAX_SCANS and (marker := _MARKER.search(jpeg, at)) is not None:
        at = marker.end()
        if marker[1] == _END:
            break
        count += marker[1] == _SCAN
        if marker[1] not in _BARE:
            at += int.from_bytes(jpeg[at : at + 2])
    return count


def _scaled(size: tuple[int, int], box: tuple[int, int], mode: str) -> tuple[int, int]:
    """How large the whole picture is when its thumb is cut out of it, or is all of it."""
    (width, height), (wanted_width, wanted_height) = size, box
    scales = [wanted / edge for wanted, edge in ((wanted_width, width), (wanted_height, height)) if wanted]
    scale = min(scales) if mode == "f" else max(scales)
    if mode == "f" or len(scales) == 1:
        scale = min(scale, 1.0)  # nothing is made larger than it is
    return max(1, round(width * scale)), max(1, round(height * scale))


def _plain(picture: Image.Image, how: str) -> Image.Image:
    """In colours that can be averaged and that the format has."""
    if picture.mode.startswith("I"):  # greys of 16 bits
        picture = picture.convert("I").point(lambda grey: grey * (1 / 256)).convert("L")
    if how == "JPEG":
        return picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")
    if picture.mode in ("L", "LA", "RGB", "RGBA"):
        has_key = "transparency" in picture.info
        return picture.convert("RGBA") if has_key else picture
    transparent = picture.mode in ("PA", "RGBa", "La") or "transparency" in picture.info
    return picture.convert("RGBA" if transparent else "RGB")


def _fitted(picture: Image.Image, width: int, height: int, mode: str) -> Image.Image:
    """In the size that is wanted; nothing larger than the thumb is made on the way, however narrow the picture."""
    if mode == "f" or not (width and height):
        return picture.resize(_scaled(picture.size, (width, height), mode), Image.Resampling.LANCZOS, reducing_gap=2.0)
    scale = max(width / picture.width, height / picture.height)
    across, down = min(width / scale, picture.width), min(height / scale, picture.height)
    left = (picture.width - across) / 2
    top = {"t": 0.0, "b": picture.height - down}.get(mode, (picture.height - down) / 2)
    part = (left, top, left + across, top + down)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=part, reducing_gap=2.0)
