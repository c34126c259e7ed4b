"""What the environment says, by every documented name, as typed values.

The first name that is set wins; ``.env`` in the project root fills in what the
process environment leaves open. ``ENV_FILE`` names another file; empty means none.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent.parent

_env_file = os.environ.get("ENV_FILE", str(ROOT / ".env"))
if _env_file and Path(_env_file).is_file():
    environ.Env.read_env(_env_file)


def read(cast: Callable[[str], T], default: T, *names: str) -> T:
    """The first of ``names`` that is set and not blank, cast; else ``default``."""
    for name in names:
        raw = os.environ.get(name, "").strip()
        if raw:
            try:
                return cast(raw)
            except ValueError as fault:
                raise ImproperlyConfigured(f"{name}={raw!r}: {fault}") from fault
    return default


def flag(raw: str) -> bool:
    if raw.lower() in environ.Env.BOOLEAN_TRUE_STRINGS:
        return True
    if raw.lower() in ("false", "off", "n", "no", "0"):
        return False
    raise ValueError("expected true or false")


def whole(raw: str) -> int:
    number = int(raw)
    if number < 0:
        raise ValueError("expected a whole number, zero or more")
    return number


def positive(raw: str) -> int:
    number = int(raw)
    if number < 1:
        raise ValueError("expected a whole number, one or more")
    return number


def port(raw: str) -> int:
    number = int(raw)
    if not 0 <= number < 65_536:
        raise ValueError("expected a port, 0 to 65535")
    return number


def web_address(raw: str) -> str:
    """``https://cms.example``, without a slash at its end."""
    parts = urlsplit(raw)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an address like https://cms.example")
    return raw.rstrip("/")


NO_TEXTS: list[str] = []


def texts(raw: str) -> list[str]:
    """A comma list or a JSON array of texts."""
    if raw.startswith("[") and '"' in raw:
        parsed = json.loads(raw)
        if not all(isinstance(item, str) for item in parsed):
            raise ValueError("expected a list of texts")
        return [item.strip() for item in parsed if item.strip()]
    return [item.strip() for item in raw.split(",") if item.strip()]


NO_NETWORKS: list[IPv4Network | IPv6Network] = []


def networks(raw: str) -> list[IPv4Network | IPv6Network]:
    """A list of addresses and CIDRs: ``10.0.0.1, 192.168.0.0/16``."""
    return [ip_network(text, strict=False) for text in texts(raw)]


def environment_name(raw: str) -> str:
    name = {"dev": "development", "local": "development", "test": "testing", "prod": "production"}.get(
        raw.lower(), raw.lower()
    )
    if name not in ("development", "testing", "staging", "production"):
        raise ValueError("expected development, testing, staging or production")
    return name


def directory(raw: str) -> Path:
    return (ROOT / Path(raw).expanduser()).resolve()


def secret_key(env: str, data_dir: Path) -> str:
    """The key of the environment, else the one kept in ``DATA_DIR/secret_key``.

    The file is made at the first start outside production: complete and private
    before it has its name, so that two processes starting together agree.
    """
    given = read(str, "", "SECRET_KEY", "JWT_SECRET")
    if given or env in ("production", "staging"):
        return given
    path = data_dir / "secret_key"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        draft = data_dir / f".secret_key.{os.getpid()}.{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its key is the key
        finally:
            draft.unlink()
    return path.read_text().strip()


ENV = read(environment_name, "development", "ENV", "ENVIRONMENT")
PRODUCTION = ENV in ("production", "staging")
DATA_DIR = read(directory, ROOT / "data", "DATA_DIR")
os.umask(0o077)  # whoever has read this makes files under DATA_DIR, and they hold secrets: nobody else reads them
