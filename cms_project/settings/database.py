"""One database: SQLite under DATA_DIR, or PostgreSQL by DATABASE_URL.

Beside SQLite's file is a second one, for what is written all the time and missed by
nobody: see cms_project/ephemeral.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from cms_project.settings.environment import DATA_DIR, ROOT, read, whole

BUSY_TIMEOUT_MS = read(whole, 5000, "DB_BUSY_TIMEOUT_MS")
QUERY_TIMEOUT_MS = read(whole, 10_000, "DB_QUERY_TIMEOUT_MS")


def sqlite(path: Path, synchronous: str = "") -> dict[str, Any]:
    """WAL with every commit on disk before it is answered; writers queue, none fails at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pragmas = {
        "journal_mode": "WAL",
        "synchronous": synchronous or read(str, "FULL", "SQLITE_SYNCHRONOUS"),
        "foreign_keys": "ON",
        "temp_store": "MEMORY",
        "journal_size_limit": 64 * 1024 * 1024,
        "mmap_size": read(whole, 0, "SQLITE_MMAP_MB") * 1024 * 1024,
        "cache_size": -1024 * read(whole, 4, "SQLITE_CACHE_MB"),
    }
    return {
        "ENGINE": "core.sqlite3",
        "NAME": str(path),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": BUSY_TIMEOUT_MS / 1000,
            "transaction_mode": "IMMEDIATE",
            "init_command": ";".join(f"PRAGMA {name}={value}" for name, value in pragmas.items()),
        },
    }


def postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    options.pop("ssl", None)  # asyncpg's spelling; libpq's is sslmode
    options.setdefault("options", f"-c lock_timeout={BUSY_TIMEOUT_MS}")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def from_url(url: str) -> dict[str, Any]:
    """``sqlite:///./data/app.db``, ``postgres://…``, ``postgresql+asyncpg://…``: drivers are ignored."""
    engine = url.partition("://")[0].partition("+")[0].lower()
    if engine in ("sqlite", "sqlite3"):
        name = urlsplit(url).path.removeprefix("/")  # sqlite:///relative, sqlite:////absolute
        if not name or name == ":memory:":
            raise ImproperlyConfigured("DATABASE_URL: SQLite needs a file; several threads share it")
        return sqlite((ROOT / name).resolve())
    if engine in ("postgres", "postgresql", "psql", "pgsql"):
        return postgresql(url)
    raise ImproperlyConfigured(f"DATABASE_URL: {engine!r} is not supported; use sqlite or postgresql")


def from_environment() -> dict[str, Any]:
    url = read(str, "", "DATABASE_URL")
    if url:
        return from_url(url)
    driver = read(str, "sqlite", "DB_DRIVER").lower()
    if driver in ("sqlite", "sqlite3"):
        return sqlite(DATA_DIR / "app.db")
    if driver in ("postgres", "postgresql", "pgsql"):
        host, port = read(str, "127.0.0.1", "DB_HOST"), read(whole, 5432, "DB_PORT")
        config = postgresql(f"postgres://{host}:{port}/")
        config["NAME"] = read(str, "fastcms", "DB_DATABASE", "DB_NAME")
        config["USER"] = read(str, "postgres", "DB_USERNAME", "DB_USER")
        config["PASSWORD"] = read(str, "", "DB_PASSWORD")
        return config
    raise ImproperlyConfigured(f"DB_DRIVER={driver}: use sqlite or postgresql")


DATABASES = {"default": from_environment()}
if "sqlite" in DATABASES["default"]["ENGINE"]:
    _file = Path(DATABASES["default"]["NAME"])
    DATABASES["ephemeral"] = sqlite(_file.with_name(f"{_file.stem}-ephemeral{_file.suffix}"), synchronous="NORMAL")
    DATABASE_ROUTERS = ["cms_project.ephemeral.Router"]
