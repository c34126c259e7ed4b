"""PostgreSQL's own programs, of a version that knows the server's: on PATH, or where Debian keeps them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from django.db import connection

from core.errors import ServiceUnavailable

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_INSTALLED = Path("/usr/lib/postgresql")
_SECONDS = 20  # that a program may take to say its version
_MAX_WORDS = 300


def tool(name: str) -> str:
    """The path of ``pg_dump`` or another, as old as the server or newer; ServiceUnavailable where there is none."""
    connection.ensure_connection()
    server = int(connection.pg_version) // 10_000  # type: ignore[attr-defined]
    found = sorted((version, path) for path in _candidates(name) if (version := _version(path)))
    for version, path in found:
        if version >= server:
            return path
    wanted = f"Install PostgreSQL's client programs of version {server} or newer."
    if found:
        raise ServiceUnavailable(f"{name} {found[-1][0]} is older than the server, which is {server}. {wanted}")
    raise ServiceUnavailable(f"There is no {name} on PATH or under {_INSTALLED}. {wanted}")


def start(command: Sequence[str], told: IO[str]) -> subprocess.Popen[bytes]:
    """Start a program on this project's database, which it finds in its environment: no secret is among its words.

    What it writes is read from its ``stdout``; what it complains of goes to ``told``.
    """
    return subprocess.Popen(  # noqa: S603 - the program is one of :func:`tool`
        command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told
    )


def last_words(told: str) -> str:
    """What a program says when it fails, in short."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return " ".join(lines)[:_MAX_WORDS] or "it said nothing"


def environment() -> dict[str, str]:
    """What libpq reads to find the database of this project, and its language."""
    config: dict[str, Any] = connection.settings_dict
    wanted = {
        "PGHOST": config["HOST"],
        "PGPORT": config["PORT"],
        "PGUSER": config["USER"],
        "PGPASSWORD": config["PASSWORD"],
        "PGDATABASE": config["NAME"],
        "PGSSLMODE": config["OPTIONS"].get("sslmode"),
        "PGSSLROOTCERT": config["OPTIONS"].get("sslrootcert"),
        "PGSSLCERT": config["OPTIONS"].get("sslcert"),
        "PGSSLKEY": config["OPTIONS"].get("sslkey"),
        "PGPASSFILE": config["OPTIONS"].get("passfile"),
        "PGSERVICE": config["OPTIONS"].get("service"),
    }
    return {**os.environ, "LC_ALL": "C", **{name: str(value) for name, value in wanted.items() if value}}


def _candidates(name: str) -> Iterator[str]:
    on_path = shutil.which(name)
    if on_path:
        yield on_path
    yield from (str(path) for path in _INSTALLED.glob(f"*/bin/{name}") if os.access(path, os.X_OK))


def _version(path: str) -> int:
    """Its major version; 0 where it can't say."""
    try:
        told = subprocess.run(  # noqa: S603
            [path, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = _VERSION.search(told.stdout)
    return int(found[1]) if found else 0
