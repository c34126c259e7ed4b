"""A PostgreSQL database for the time of a bench, and what its backends cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

NAME = "fastcms_bench"


@contextmanager
def scratch(url: str) -> Iterator[str]:
    """A new database on the server of that URL, and its own URL; dropped at the end."""
    with psycopg.connect(url, autocommit=True) as server:
        drop = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"
        server.execute(drop)
        server.execute(f"CREATE DATABASE {NAME}")
        try:
            yield urlsplit(url)._replace(path=f"/{NAME}").geturl()
        finally:
            server.execute(drop)


def backends() -> list[int]:
    """The processes that serve connections to it, where the server runs on this machine."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if title.startswith(b"postgres:") and f" {NAME} ".encode() in title:
            found.append(int(entry.name))
    return found
