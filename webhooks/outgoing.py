"""Where a webhook may go: what its address must look like, and to which machines we connect.

A name may resolve to anything, and to something else a moment later, so what counts is
:func:`may_connect`, which the client asks of each address that it is about to connect to.
:func:`check_url` tells people early what can never work.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from django.conf import settings

from core.errors import ValidationFailed
from core.networks import is_public

MAX_CHARS = 2000  # our column
_NOT_PUBLIC = (
    "This is not an address of the public internet. Private addresses are called with WEBHOOK_ALLOW_PRIVATE=true."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. ``status`` is None where no answer came, and ``error`` says why in a few words."""

    status: int | None = None
    body: str = ""
    retry_after: str = ""
    error: str = ""
    duration_ms: int = 0

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def may_connect(address: str) -> bool:
    """Whether a webhook may go to the machine with this address."""
    return bool(settings.WEBHOOK_ALLOW_PRIVATE) or is_public(address)


def check_url(url: str) -> None:
    """Raises ValidationFailed about ``url`` for what is no http(s) address of a public machine."""
    problem = _problem(url)
    if problem:
        raise ValidationFailed(fields={"url": [problem]})


def _problem(url: str) -> str:
    if len(url) > MAX_CHARS:
        return f"At most {MAX_CHARS:,} characters."
    if not url.isprintable() or any(char.isspace() or char == "\\" for char in url):
        return "An address has no spaces, backslashes or control characters."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "Not a valid address."
    if parts.scheme not in ("http", "https") or not host:
        return "Must be an http:// or https:// address with a host."
    if "@" in parts.netloc:
        return "Must not contain a user name or password."
    if "#" in url:
        return "Must not contain a fragment (#)."
    if port == 0:
        return "Not a valid port."
    literal = _literal(host)
    if literal is None and not _is_name(host):
        return "Not a valid host name."
    if settings.WEBHOOK_ALLOW_PRIVATE:
        return ""
    name = host.rstrip(".")
    if literal is not None:
        return "" if is_public(literal) else _NOT_PUBLIC
    return _NOT_PUBLIC if name == "localhost" or name.endswith(".localhost") else ""


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that the host is, in whatever spelling the client and the system's resolver take for one."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    with suppress(UnicodeError):  # no name either
        host = host.encode("idna").decode("ascii")  # of other scripts' dots and digits
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))  # 127.1, 0x7f000001, 2130706433
    except (OSError, ValueError):
        return None


def _is_name(host: str) -> bool:
    try:
        encoded = host.rstrip(".").encode("idna")
    except UnicodeError:
        return False
    return 0 < len(encoded) <= 253 and all(char.isalnum() or char in "-_." for char in encoded.decode("ascii"))
