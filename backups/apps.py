from __future__ import annotations

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """Copies of the database and files; nothing below imports this app."""

    name = "backups"

    def ready(self) -> None:
        from django.core import checks

        from backups import leasing, schedule, selectors, services
        from backups.restoring import staging
        from collections_app.files import removal
        from core import background, metrics, restored

        schedule.declare_settings()
        background.register(services.TASK, "backups.tasks.make", every=schedule.EVERY)
        background.register(services.TIDYING, "backups.tasks.tidy", every=3600)
        metrics.facts("backups", "Backups, by status.", selectors.counts, ["status"])
        metrics.facts("last_backup_age_seconds", "How long ago the newest backup was made.", selectors.age)
        checks.register(staging.check)
        restored.register("backups", leasing.end_all, leasing.present)
        removal.hold_while("backups", leasing.is_copying)
