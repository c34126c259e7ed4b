"""``manage.py serve``: migrate, say where, and become the server."""

from __future__ import annotations

import os
import resource
import signal
import sys
from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError
from django.db import connections

from accounts import first_account
from backups.restoring import applying, by_hand
from cms_project.migrating import migrate
from cms_project.production import refuse_unsafe
from core import metrics
from core.errors import DomainError, NotFound

SPARE_FILES = 2000  # for requests, the database, and whatever else is open


class Command(BaseCommand):
    help = "Apply migrations and serve HTTP and WebSocket on uvicorn."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--workers", type=int, default=settings.WORKERS)

    def handle(self, *args: Any, host: str, port: int, workers: int, **options: Any) -> None:
        try:
            refuse_unsafe(workers)
        except ImproperlyConfigured as fault:
            raise CommandError(str(fault)) from fault
        _link_to(port)
        has_backups = apps.is_installed("backups")
        if has_backups:
            self._restore()
        self.stdout.write("Applying migrations …")
        migrate()
        if has_backups:
            by_hand.settle()
        address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104
        self.stdout.write(f"{settings.PROJECT_NAME} listens on {address} ({settings.ENV})")
        self._say_what_is_next(address)
        self.stdout.flush()
        connections.close_all()
        if workers > 1:
            metrics.share()
        _take_many_connections()
        _run(host, port, workers)

    def _restore(self) -> None:
        """Put the staged backup in place, if there is one; where that fails, what was is served."""
        by_hand.look()
        try:
            done = applying.apply(at_start=True)
        except NotFound:
            return
        except DomainError as fault:
            self.stderr.write(fault.message)
            self.stderr.write("Serving what was there before.")
        else:
            self.stdout.write(f"{done.backup_filename} is restored. The state before is kept in {done.safety_copy}.")

    def _say_what_is_next(self, address: str) -> None:
        if settings.PRODUCTION and settings.EMAIL_PROVIDER == "console":
            self.stdout.write(
                "No mail server is set (SMTP_HOST, or EMAIL_PROVIDER): mails, with the links and codes in them, go to "
                f"this console and to {settings.EMAIL_FILE_PATH}, and to nobody else."
            )
        if not first_account.is_open():
            return
        self.stdout.write(f"No account yet. Open {address}/admin to make the first one, or run:")
        self.stdout.write("  python manage.py createsuperuser")
        if settings.PRODUCTION:
            self.stdout.write(f"One-time set-up token: {first_account.new_token()}")


def _link_to(port: int) -> None:
    """Have links in mails lead to the port that is served, where BASE_URL does not say better; also in workers."""
    default = f"http://127.0.0.1:{settings.PORT}"
    if port != settings.PORT and default == settings.BASE_URL:
        os.environ["BASE_URL"] = settings.BASE_URL = f"http://127.0.0.1:{port}"
        settings.CSRF_TRUSTED_ORIGINS = [settings.BASE_URL]


def _take_many_connections() -> None:
    """Each is an open file, of which most systems give a process 1,024 unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.REALTIME_MAX_CONNECTIONS + SPARE_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _run(host: str, port: int, workers: int) -> None:
    """uvicorn: its parser takes the unescaped ``>`` and ``<`` that people type in a filter.

    Client addresses from ``X-Forwarded-For`` are our own business (``TRUSTED_PROXIES``).
    """
    # After a graceful stop uvicorn raises the signal again: that is a success here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        "cms_project.asgi:application",
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="cms_project.connections:HttpProtocol",
        ws="cms_project.connections:SocketProtocol",
        ws_max_size=settings.WEBSOCKET_MAX_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,  # thousands of windows of memory, and each message compressed for each client
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=1024,
        timeout_graceful_shutdown=15,
        app_dir=str(settings.BASE_DIR),
    )
