"""What a file is, by its content: neither its name nor what the client declares decides.

The magic numbers are the library's. Added to them is what has none: markup that browsers
would run, and texts, for which alone the name may say what kind of text it is.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from typing import IO

import filetype
import orjson
from PIL import Image

from collections_app.files.facts import Facts

HEAD = 8192
PIECE = 1024 * 1024
MAX_JSON = 10 * 1024 * 1024  # bytes: to be sure, the whole of it has to be read
UNKNOWN = ("application/octet-stream", "bin")

# Pictures that are opened to see how large they are; nothing else is ever decoded.
PICTURES = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/bmp": "BMP",
}
# Pillow would refuse to say how large a picture is that is too large; thumbs ask before they decode one.
Image.MAX_IMAGE_PIXELS = None
_TEXTS = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "md": "text/markdown",
    "ics": "text/calendar",
    "vtt": "text/vtt",
    "log": "text/plain",
}
_RENAMED = {"image/x-ms-bmp": "image/bmp", "audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac"}
_LEADING = re.compile(
    rb"\A(?:\xef\xbb\xbf)?(?:\s|\x00|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE\s+svg.*?>|<!ENTITY.*?>|\]>)*", re.S | re.I
)
_SVG = re.compile(rb"<(?:[\w.-]+:)?svg[\s>/]", re.I)
_HTML = re.compile(
    rb"<(?:!doctype|html|head|body|script|iframe|title|style|table|img|svg|a|b|br|div|font|h[1-6]|p|meta|link"
    rb"|object|embed|form|base|frameset|math|template|video|audio|details)(?=[\s>/])",
    re.I,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def inspect(file: IO[bytes], name: str) -> Facts:
    """Read the whole file once, in pieces; ``name`` counts only among kinds of text."""
    digest, size, texts, head = hashlib.sha256(), 0, _Text(), b""
    file.seek(0)
    while piece := file.read(PIECE):
        if not size:
            head = piece[:HEAD]
        digest.update(piece)
        size += len(piece)
        texts.read(piece)
    mime, extension = _type(file, head, size, name, texts.is_text())
    width = height = None
    if mime in PICTURES:
        measured = _measured(file, mime)
        if measured is None:
            mime, extension = UNKNOWN  # it only begins like one
        else:
            width, height = measured
    file.seek(0)
    return Facts(size, mime, extension, digest.hexdigest(), width, height)


def _type(file: IO[bytes], head: bytes, size: int, name: str, is_text: bool) -> tuple[str, str]:
    markup = head[_LEADING.match(head).end() :] if b"<" in head else b""  # type: ignore[union-attr]
    if _SVG.match(markup) or (head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml") and _SVG.search(head)):
        return "image/svg+xml", "svg"
    if _HTML.match(markup):
        return "text/html", "html"
    known = filetype.guess(head) if head else None
    if known is not None:
        return _RENAMED.get(known.mime, known.mime), known.extension.lower()
    if not is_text:
        return UNKNOWN
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml"):
        return "application/xml", "xml"
    if _is_json(file, head, size):
        return "application/json", "json"
    extension = name.rpartition(".")[2].lower()
    return _TEXTS.get(extension, "text/plain"), extension if extension in _TEXTS else "txt"


class _Text:
    """Whether all of a file is UTF-8 without the characters that no text has."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._good = True

    def read(self, piece: bytes) -> None:
        if self._good:
            try:
                self._good = not _CONTROLS.search(self._decoder.decode(piece))
            except UnicodeDecodeError:
                self._good = False

    def is_text(self) -> bool:
        if self._good:
            try:
                self._decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                self._good = False
        return self._good


def _is_json(file: IO[bytes], head: bytes, size: int) -> bool:
    if head.lstrip()[:1] not in (b"{", b"[") or size > MAX_JSON:
        return False
    file.seek(0)
    try:
        orjson.loads(file.read())
    except orjson.JSONDecodeError:
        return False
    return True


def _measured(file: IO[bytes], mime: str) -> tuple[int, int] | None:
    """The picture's width and height by its header; nothing is decoded. None where it is none."""
    file.seek(0)
    try:
        with Image.open(file, formats=(PICTURES[mime],)) as picture:
            return picture.size
    except Exception:  # noqa: BLE001 - whatever the decoder stumbles over, it is no picture to us
        return None
