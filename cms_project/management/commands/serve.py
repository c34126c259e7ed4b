"""``manage.py serve``: migrate, say where, and become the server."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError, call_command

from accounts import first_account
from cms_project.production import refuse_unsafe


class Command(BaseCommand):
    help = "Apply migrations and serve HTTP and WebSocket on granian."
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
        self.stdout.write("Applying migrations …")
        call_command("migrate", verbosity=0, interactive=False)
        address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104
        self.stdout.write(f"{settings.PROJECT_NAME} listens on {address} ({settings.ENV})")
        self._say_what_is_next(address)
        self.stdout.flush()
        # The server takes this process's place: one process less, and signals reach it directly.
        os.execv(sys.executable, granian_command(host, port, workers))  # noqa: S606 - no shell

    def _say_what_is_next(self, address: str) -> None:
        if not first_account.is_open():
            return
        self.stdout.write(f"No account yet. Open {address}/admin to make the first one, or run:")
        self.stdout.write("  python manage.py createsuperuser")
        if settings.PRODUCTION:
            self.stdout.write(f"One-time set-up token: {first_account.new_token()}")


def granian_command(host: str, port: int, workers: int) -> list[str]:
    options = {
        "--interface": "asgi",
        "--host": host,
        "--port": str(port),
        "--workers": str(workers),
        "--loop": "uvloop",
        "--log-level": "warning",
        "--backpressure": "256",
        "--workers-kill-timeout": "15",
        "--working-dir": str(settings.BASE_DIR),
    }
    flags = ["--respawn-failed-workers"]
    return [
        sys.executable,
        "-m",
        "granian",
        *(word for pair in options.items() for word in pair),
        *flags,
        "cms_project.asgi:application",
    ]
