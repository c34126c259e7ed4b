"""What is known of a file's content, and the names that files are stored under."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_ALPHABET = "0123456789abcdefghijkmnpqrstuvwxyz"
_CHARACTERS = 24  # of 5 bits: nobody guesses a name
MAX_ORIGINAL = 255
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Facts:
    """A file by its content; ``extension`` has no dot, ``width`` and ``height`` (pixels) are of pictures."""

    size: int
    mime: str
    extension: str
    sha256: str
    width: int | None = None
    height: int | None = None


def new_name(extension: str) -> str:
    """A name that nobody guesses; what the file is called at home stands beside it."""
    name = "".join(secrets.choice(_ALPHABET) for _ in range(_CHARACTERS))
    return f"{name}.{extension}" if extension else name


def path_of(name: str) -> str:
    """Where the bytes are in the storage."""
    return f"{name[:2]}/{name}"


def original_name(sent: str) -> str:
    """What a client calls the file: the last part of a path, in printable characters."""
    last = re.split(r"[/\\]", sent)[-1]
    clean = _UNPRINTABLE.sub("", last).strip(" .")
    stem, dot, extension = clean.rpartition(".")
    if len(clean) > MAX_ORIGINAL and dot and len(extension) <= 20:
        clean = f"{stem[: MAX_ORIGINAL - len(extension) - 1]}.{extension}"
    return clean[:MAX_ORIGINAL] or "file"
