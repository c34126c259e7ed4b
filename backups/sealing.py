"""Archives that nobody reads without the password: authenticated encryption, piece by piece.

The key is made of the password by scrypt. Each piece of :data:`PIECE` bytes is sealed by AES-256-GCM
under a nonce that says which piece it is and whether it is the last (the STREAM construction), so none
can be changed, left out, put elsewhere or cut off. Pieces are of one length, so any can be read alone:

    magic (8)  salt (16)  prefix (7)  { piece  tag (16) } …

A nonce is prefix, number of the piece (4 bytes, big-endian), 1 for the last piece and else 0. The magic
says all of this, and how scrypt is set: another way would have another one.
"""

from __future__ import annotations

import io
import secrets
from typing import IO, TYPE_CHECKING

from core.errors import ValidationFailed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"FCMSENC1"
PIECE = 64 * 1024
_SALT, _PREFIX, _TAG = 16, 7, 16
_HEADER = len(MAGIC) + _SALT + _PREFIX
_SEALED = PIECE + _TAG
_COST = 2**16  # scrypt's N, with r=8: 64 MB and a fraction of a second for each guess
_MOST = 2**32  # pieces, 256 TB

WRONG = "The archive can't be decrypted: BACKUP_PASSWORD is another one than it was made with, or it is damaged."


class BadArchive(ValidationFailed):
    """No archive of ours, or not a whole one; the message says why."""

    default_message = "This is no archive of a backup."


def is_sealed(file: IO[bytes]) -> bool:
    """Whether a file begins as sealed ones do; it is read from its beginning, and left there."""
    file.seek(0)
    found = file.read(len(MAGIC)) == MAGIC
    file.seek(0)
    return found


def sealed_size(size: int) -> int:
    """How many bytes that many become."""
    return _HEADER + size + max(1, -(-size // PIECE)) * _TAG


class Sealing:
    """A file to write to, from front to back, that seals what it is given; :meth:`finish` writes the last piece."""

    def __init__(self, out: IO[bytes], password: str) -> None:
        salt, self._prefix = secrets.token_bytes(_SALT), secrets.token_bytes(_PREFIX)
        self._header = MAGIC + salt + self._prefix
        self._out, self._box = out, _box(password, salt)
        self._waiting = bytearray()
        self._number = 0
        out.write(self._header)

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > PIECE:  # what is left may be the last
            self._seal(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]
        return len(data)

    def flush(self) -> None:
        """What is no whole piece yet has to wait."""

    def finish(self) -> None:
        self._seal(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _seal(self, piece: bytes, *, last: bool) -> None:
        if self._number >= _MOST:
            raise OverflowError("too much for one archive")
        self._out.write(self._box.encrypt(_nonce(self._prefix, self._number, last), piece, self._header))
        self._number += 1


class Unsealed(io.RawIOBase):
    """What was sealed, to be read anywhere; BadArchive where the password is another, or a piece is not as it was."""

    def __init__(self, file: IO[bytes], password: str) -> None:
        super().__init__()
        if not password:
            raise BadArchive("The archive is encrypted, and BACKUP_PASSWORD is not set.")
        self._file = file
        whole = file.seek(0, io.SEEK_END) - _HEADER
        self._pieces = -(-whole // _SEALED)
        self._size = whole - self._pieces * _TAG
        if self._pieces < 1 or self._size < (self._pieces - 1) * PIECE:
            raise BadArchive(WRONG)
        file.seek(0)
        self._header = file.read(_HEADER)
        salt = self._header[len(MAGIC) : len(MAGIC) + _SALT]
        self._prefix = self._header[len(MAGIC) + _SALT :]
        self._box = _box(password, salt)
        self._at = 0
        self._kept = (-1, b"")  # the piece that was read last
        self._open(self._pieces - 1)  # that it is the last one shows that nothing is cut off

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._at >= self._size or not len(view):
            return 0
        number, start = divmod(self._at, PIECE)
        found = self._open(number)[start : start + len(view)]
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _open(self, number: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        if self._kept[0] != number:
            self._file.seek(_HEADER + number * _SEALED)
            nonce = _nonce(self._prefix, number, number == self._pieces - 1)
            try:
                self._kept = (number, self._box.decrypt(nonce, self._file.read(_SEALED), self._header))
            except InvalidTag as fault:
                raise BadArchive(WRONG) from fault
        return self._kept[1]


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([last])


def _box(password: str, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 7 MB, which few processes need
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return AESGCM(Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(password.encode()))
