from __future__ import annotations

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """Copies of the database and files; nothing below imports this app."""

    name = "backups"

    def ready(self) -> None:
        from django.core import checks

        from backups import leasing, schedule, services
        from backups.restoring import staging
        from collections_app.files import removal
        from core import background, restored

        schedule.declare_settings()
        background.register(services.TASK, "backups.tasks.make", every=schedule.EVERY)
        background.register(services.TIDYING, "backups.tasks.tidy", every=3600)
        checks.register(staging.check)
        restored.register("backups", leasing.end_all)
        removal.hold_while("backups", leasing.is_copying)
