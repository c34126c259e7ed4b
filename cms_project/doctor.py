"""What ``manage.py doctor`` looks at: everything that a house needs, whether a server runs or not.

Each check only reads, says what it finds in sentences, and what to do about it. It has a thread and a time limit
of its own, so one that hangs costs its seconds and no more. No sentence has a secret in it.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core import checks as system_checks
from django.core.files.storage import storages
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from redis import Redis

from accounts import mail_server, selectors
from accounts.models import Role
from cms_project import checks, production
from core import background, clock, consistency, database
from core.hosts import Hosts
from core.logs import redact

MEGABYTE = 1024 * 1024
CONNECTIONS = 70  # that one process may have for moments, with HANDLER_THREADS=4 (docs/running.md)
STALE = timedelta(days=8)  # a weekly schedule that works is never as late
_CHECKED_ALONE = ("SECRET_KEY", "ALLOWED_HOSTS")
_TOO_WIDE = 8  # bits: a network of so many addresses is no list of proxies
_LONGEST = 300


class Level(StrEnum):
    OK, WARN, FAIL = "OK", "WARN", "FAIL"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``remedy`` is what to do; empty where all is well."""

    level: Level
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """``look`` yields verdicts; what it raises is a failure. ``seconds`` is how long it may take."""

    name: str
    look: Callable[[], Iterable[Verdict]]
    needs_database: bool = False
    seconds: float = 15


def ok(sentence: str) -> Verdict:
    return Verdict(Level.OK, sentence)


def warn(sentence: str, remedy: str) -> Verdict:
    return Verdict(Level.WARN, sentence, remedy)


def fail(sentence: str, remedy: str) -> Verdict:
    return Verdict(Level.FAIL, sentence, remedy)


def serious(sentence: str, remedy: str) -> Verdict:
    """A failure in production; at a desk it may well be meant."""
    return Verdict(Level.FAIL if settings.PRODUCTION else Level.WARN, sentence, remedy)


def examine() -> Iterator[tuple[str, Verdict]]:
    """All verdicts in order, each with the name of its check."""
    has_database = True
    for check in CHECKS:
        if check.needs_database and not has_database:
            yield check.name, warn("Not looked at, for the database can't be used.", "Mend that first.")
            continue
        for verdict in _looked(check):
            if check.name in ("database", "migrations") and verdict.level is Level.FAIL:
                has_database = False
            yield check.name, verdict


def _looked(check: Check) -> list[Verdict]:
    found: list[Verdict] = []
    done = threading.Event()

    def look() -> None:
        try:
            found.extend(check.look())
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with it, that is the finding
            found.append(fail(f"It could not be looked at: {_told(fault)}", "Mend what is said here, and look again."))
        finally:
            database.close()
            done.set()

    threading.Thread(target=look, name=f"doctor {check.name}", daemon=True).start()
    if not done.wait(check.seconds):
        remedy = "See whether what it asks is overloaded or can't be reached."
        return [fail(f"No answer within {check.seconds:g} s.", remedy)]
    return found


def _told(fault: BaseException) -> str:
    """The first line of what a fault says, without the secrets of this house."""
    text = next(iter(str(fault).strip().splitlines()), "") or type(fault).__name__
    for secret in filter(None, _secrets()):
        text = text.replace(secret, "***")
    return redact(text)[:_LONGEST]


def _secrets() -> Iterator[str]:
    yield settings.SECRET_KEY if settings.SECRET_KEY_IS_SET else ""
    yield settings.DATABASES["default"].get("PASSWORD") or ""
    yield settings.EMAIL_HOST_PASSWORD
    for url in (settings.REDIS_URL, settings.CELERY_BROKER_URL):
        yield urlsplit(url).password or ""


# --- what the environment says ------------------------------------------------------------------


def _reasons(*, of: str = "") -> Iterator[Verdict]:
    """Why a production server does not start: reasons of one variable, or all others."""
    for reason in production.reasons():
        name = reason.partition(" ")[0]
        if (name == of) if of else (name not in _CHECKED_ALONE):
            yield fail(reason, "Set it as docs/running.md says; until then no server starts.")


def _settings() -> Iterator[Verdict]:
    found = list(_reasons())
    yield from found
    if not settings.PRODUCTION and not _is_here(_base_host()):
        yield warn(
            f"ENV is {settings.ENV}, and BASE_URL is of a public address: strangers may become superadmin.",
            "Set ENV=production.",
        )
    elif not found:
        yield ok(f"ENV is {settings.ENV}.")
    if settings.PRODUCTION and not settings.RATE_LIMIT_ENABLED:
        yield warn("Requests are not limited.", "Leave RATE_LIMIT_ENABLED out, unless a proxy limits them.")


def _secret_key() -> Iterator[Verdict]:
    found = list(_reasons(of="SECRET_KEY"))
    yield from found or [ok("SECRET_KEY is set.")]
    file = settings.DATA_DIR / "secret_key"
    if file.exists() and file.stat().st_mode & 0o077:
        yield serious(f"Others on this machine can read {file}.", f"chmod 600 {file}")


def _base_host() -> str:
    return urlsplit(settings.BASE_URL).hostname or ""


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _allowed_hosts() -> Iterator[Verdict]:
    host = urlsplit(settings.BASE_URL).netloc
    if host not in Hosts():
        yield fail(
            f"BASE_URL names {host}, which ALLOWED_HOSTS does not serve.", f"Add {_base_host()} to ALLOWED_HOSTS."
        )
    elif any("*" in name for name in settings.ALLOWED_HOSTS):
        yield from (
            _reasons(of="ALLOWED_HOSTS") if settings.PRODUCTION else [warn("Any name is served.", "Name the hosts.")]
        )
    else:
        yield ok(f"ALLOWED_HOSTS serves {', '.join(settings.ALLOWED_HOSTS)}.")


def _base_url() -> Iterator[Verdict]:
    parts = urlsplit(settings.BASE_URL)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield fail(f"BASE_URL is {settings.BASE_URL}, which is no address.", "BASE_URL=https://cms.example.com")
    elif settings.PRODUCTION and _is_here(parts.hostname):
        yield fail(
            f"BASE_URL is {settings.BASE_URL}: links in mails lead to the reader's own machine.",
            "Set BASE_URL to the public address.",
        )
    elif settings.PRODUCTION and parts.scheme != "https":
        yield warn(f"BASE_URL is {settings.BASE_URL}: passwords and cookies are sent in the clear.", "Use HTTPS.")
    else:
        yield ok(f"Links begin with {settings.BASE_URL}.")


def _proxies() -> Iterator[Verdict]:
    trusted = settings.TRUSTED_PROXIES
    wide = [str(network) for network in trusted if network.prefixlen < _TOO_WIDE]
    if wide:
        yield fail(
            f"TRUSTED_PROXIES trusts {', '.join(wide)}: anybody can pretend to be another client.",
            "Name the proxies' own addresses.",
        )
    elif settings.BASE_URL.startswith("https://") and not trusted:
        yield warn(
            "BASE_URL is HTTPS, which a proxy ends, and TRUSTED_PROXIES is empty: all clients are counted as one.",
            "Set TRUSTED_PROXIES to the address from which the proxy connects.",
        )
    else:
        yield ok(f"Proxies are trusted: {', '.join(map(str, trusted)) or 'none'}.")


def _system() -> Iterator[Verdict]:
    """Django's own checks, and those that apps have registered there."""
    ours = "production."  # said already
    found = [one for one in system_checks.run_checks() if not one.is_silenced() and not str(one.id).startswith(ours)]
    for one in found:
        make = fail if one.is_serious() else warn
        yield make(str(one.msg), str(one.hint or "See manage.py check."))
    if not found:
        yield ok("The checks of the apps have nothing to say.")


# --- the database --------------------------------------------------------------------------------


def _database() -> Iterator[Verdict]:
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite" and not Path(name).is_file():  # to connect would make it
        yield fail(f"There is no database {name} yet.", "Start manage.py serve: it makes one.")
        return
    try:
        connection.ensure_connection()
    except Exception as fault:  # noqa: BLE001 - a driver's, Django's, or the file system's
        yield fail(
            f"The database does not answer: {_told(fault)}", "Start it, and look at DATABASE_URL (docs/running.md)."
        )
        return
    if connection.vendor != "postgresql":
        yield ok(f"SQLite {'.'.join(map(str, connection.Database.sqlite_version_info))} answers.")  # type: ignore[attr-defined]
        return
    (version, most, is_superuser), *_ = _rows(
        "SELECT current_setting('server_version'), current_setting('max_connections')::int, usesuper"
        " FROM pg_user WHERE usename = current_user"
    )
    yield ok(f"PostgreSQL {version} answers.")
    if most < CONNECTIONS * settings.WORKERS:
        yield warn(
            f"max_connections is {most}, and {settings.WORKERS} workers may want {CONNECTIONS * settings.WORKERS}.",
            "Raise it in postgresql.conf, or lower WORKERS or HANDLER_THREADS.",
        )
    if is_superuser and settings.PRODUCTION:
        yield warn(
            "The database's user is a superuser: so is whatever is restored from a backup.",
            "Let an ordinary user own the database.",
        )


def _rows(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _migrations() -> Iterator[Verdict]:
    if checks.MIGRATIONS.ask():
        yield ok("All migrations are applied.")
    else:
        yield fail("The database is not of this version.", "Start manage.py serve: it migrates first.")


def _consistency() -> Iterator[Verdict]:
    found = consistency.find()
    if not found:
        yield ok("What is stored fits together.")
        return
    mended = sum(1 for problem in found if problem.repair)
    yield fail(
        f"{len(found)} things do not fit together; the first: {found[0].sentence}",
        f"manage.py checkdb tells all of them, and --fix repairs {mended}.",
    )


def _clock() -> Iterator[Verdict]:
    now = clock.now()
    if connection.vendor == "postgresql":
        away = abs((_rows("SELECT clock_timestamp()")[0][0] - now).total_seconds())
        if away > 5:
            yield fail(
                f"The clock is {away:.0f} s from the database's: codes and tokens end too early or too late.",
                "Have NTP set the clocks of both machines.",
            )
            return
    last = max(MigrationRecorder(connection).applied_migrations().values(), key=lambda one: one.applied).applied
    if last > now:
        yield fail(f"The clock says {now:%Y-%m-%d %H:%M}, and the database is younger.", "Have NTP set the clock.")
    else:
        yield ok("The clock is right, as far as can be told.")


# --- what runs beside it -------------------------------------------------------------------------


def _redis() -> Iterator[Verdict]:
    if not settings.REDIS_URL:
        told = f"REDIS_URL is not set, and WORKERS is {settings.WORKERS}."
        few = settings.WORKERS <= 1
        yield ok(f"{told} Several servers would need it.") if few else serious(told, "Set REDIS_URL, or WORKERS=1.")
        return
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as redis:
            version = redis.info("server")["redis_version"]
    except Exception as fault:  # noqa: BLE001 - the network's, Redis', or the address is none
        yield fail(f"Redis does not answer: {_told(fault)}", "Start it, and look at REDIS_URL.")
        return
    if checks.CACHE.ask() and checks.CHANNEL_LAYER.ask():
        yield ok(f"Redis {version} answers, and keeps values.")
    else:
        yield fail("Redis answers, but keeps no values.", "See whether it has memory and may be written.")


def _worker() -> Iterator[Verdict]:
    from monitoring import heartbeat  # an app that may be left out

    if heartbeat.is_fresh():
        yield ok("Background tasks are run.")
    elif not background.has_broker():
        yield warn("No background task ran within the last minute.", "Start manage.py serve, whose threads run them.")
    else:
        from cms_project.celery import app  # 5 MB

        workers = len(app.control.ping(timeout=2))
        told = "no worker answers" if not workers else f"{workers} workers answer, and nobody calls them"
        remedy = "celery -A cms_project " + ("beat, once in all" if workers else "worker, and beat once in all")
        yield fail(f"No background task (mail, webhooks, backups) ran within the last minute: {told}.", remedy)


def _mail() -> Iterator[Verdict]:
    found = mail_server.server()
    if found.provider == "console":
        remedy = "Set SMTP_HOST, or EMAIL_PROVIDER (docs/mail.md)."
        told = "Mail goes to the console and DATA_DIR/mail, and to nobody else."
        yield warn(told, remedy) if settings.PRODUCTION else ok(told)
        return
    if parseaddr(mail_server.sender())[1].endswith("@localhost"):
        yield warn("Mails come from an address at localhost, which servers refuse.", "Set SMTP_FROM_EMAIL.")
    if found.provider != "smtp":
        yield ok(f"Mail leaves by {found.provider}.")
        return
    try:
        with socket.create_connection((found.host, found.port), timeout=5):
            pass
    except OSError as fault:
        yield serious(
            f"The mail server {found.host}:{found.port} can't be reached: {_told(fault)}",
            "Look at SMTP_HOST and SMTP_PORT, and whether a firewall is between.",
        )
    else:
        yield ok(f"The mail server {found.host}:{found.port} listens.")


# --- what is stored ------------------------------------------------------------------------------


def _data_dir() -> Iterator[Verdict]:
    folder = Path(settings.DATA_DIR)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as fault:
        yield fail(f"{folder} can't be written: {_told(fault)}", "Give it to the user that the server runs as.")
        return
    if folder.stat().st_uid != os.geteuid():
        yield warn(f"{folder} is of another user.", "Run commands as the user that the server runs as.")
    free, least = shutil.disk_usage(folder).free // MEGABYTE, settings.HEALTH_MIN_DISK_MB
    if free < least:
        yield fail(f"{free:,} MB are free in {folder}: less than HEALTH_MIN_DISK_MB ({least}).", "Make room.")
    elif free < 10 * least:
        yield warn(f"{free:,} MB are free in {folder}.", "Make room soon: a backup takes the database twice.")
    else:
        yield ok(f"{folder} can be written, and has {free:,} MB of room.")


def _files() -> Iterator[Verdict]:
    yield from _stored("default", "S3_BUCKET", Path(settings.MEDIA_ROOT))


def _stored(alias: str, variable: str, folder: Path) -> Iterator[Verdict]:
    """Whether a bucket answers, or a folder (that is made when it is first needed) can be written."""
    storage: Any = storages[alias]
    if hasattr(storage, "bucket"):
        try:
            storage.bucket.meta.client.head_bucket(Bucket=storage.bucket.name)
        except Exception as fault:  # noqa: BLE001 - botocore's, by many names
            yield fail(f"The bucket of {variable} can't be used: {_told(fault)}", f"Look at {variable} and its keys.")
        else:
            yield ok(f"The bucket of {variable} answers.")
    elif folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        yield fail(f"{folder} can't be written.", "Give it to the user that the server runs as.")
    else:
        yield ok(f"Stored in {folder}.")


def _backups() -> Iterator[Verdict]:
    from backups import postgres_tools, schedule  # an app that may be left out
    from backups.models import Backup
    from core.errors import DomainError
    from settings_app import values

    yield from _stored("backups", "BACKUP_S3_BUCKET", Path(settings.BACKUP_DIR))
    if connection.vendor == "postgresql":
        try:
            for name in ("pg_dump", "pg_restore"):
                postgres_tools.tool(name)
        except DomainError as fault:
            yield serious(fault.message, "Without them nothing can be backed up or restored.")
    if settings.PRODUCTION and not settings.BACKUP_S3_BUCKET:
        yield warn("Backups are on the disk that they are of.", "Set BACKUP_S3_BUCKET, or fetch them (docs/deploy.md).")
    if not str(values.get(schedule.SCHEDULE)).strip():
        yield warn("No backups are made by themselves.", "Set backup_schedule, such as 0 2 * * * (docs/backups.md).")
    there = Backup.objects.filter(deleted=None)
    last = there.exclude(status=Backup.Status.RUNNING).first()
    newest = there.filter(status=Backup.Status.COMPLETED).first()
    if last is not None and last.status == Backup.Status.FAILED:
        yield serious(f"The last backup failed: {redact(last.error)}", "Mend that, then manage.py backup.")
    if newest is None:
        yield warn("There is no backup.", "manage.py backup makes one.")
    elif clock.now() - newest.created > STALE:
        yield warn(f"The newest backup is of {newest.created:%Y-%m-%d}.", "manage.py backup makes one.")
    else:
        yield ok(f"The newest backup is of {newest.created.astimezone(UTC):%Y-%m-%d %H:%M} UTC.")


# --- who may do what -----------------------------------------------------------------------------


def _superadmin() -> Iterator[Verdict]:
    if any(account.role == Role.SUPERADMIN for account in selectors.admins()):
        yield ok("There is a superadmin who can sign in.")
    else:
        yield serious("No superadmin can sign in.", "manage.py createsuperuser, or /admin while there is no account.")


def _second_factor() -> Iterator[Verdict]:
    admins = selectors.admins()
    without = [account for account in admins if not account.two_fa_enabled]
    told = f"{len(without)} of {len(admins)} admins sign in with a password alone."
    if without and settings.PRODUCTION:
        yield warn(told, "Have them turn on a second factor (docs/accounts.md).")
    else:
        yield ok(told)


CHECKS = [
    Check("settings", _settings),
    Check("secret_key", _secret_key),
    Check("allowed_hosts", _allowed_hosts),
    Check("base_url", _base_url),
    Check("proxies", _proxies),
    Check("data_dir", _data_dir),
    Check("database", _database),
    Check("migrations", _migrations, needs_database=True),
    Check("system", _system, needs_database=True),
    Check("clock", _clock, needs_database=True),
    Check("checkdb", _consistency, needs_database=True, seconds=120),
    Check("redis", _redis),
    *([Check("worker", _worker, needs_database=True)] if apps.is_installed("monitoring") else []),
    Check("mail", _mail, needs_database=True),
    Check("files", _files, seconds=60),
    *([Check("backups", _backups, needs_database=True, seconds=60)] if apps.is_installed("backups") else []),
    Check("superadmin", _superadmin, needs_database=True),
    Check("second_factor", _second_factor, needs_database=True),
]
