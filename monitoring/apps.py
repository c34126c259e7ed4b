from __future__ import annotations

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Which requests there were, and that somebody works in the background; nothing below imports this app."""

    name = "monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.conf import settings

        from core import access_log, background
        from monitoring import heartbeat, lag, request_log

        request_log.declare_settings()
        if settings.REQUEST_LOG:
            access_log.keep(access_log.Keeper("table", request_log.write, request_log.MOST))
        background.register(heartbeat.TASK, "monitoring.tasks.beat", every=heartbeat.EVERY_SECONDS)
        background.register(request_log.TASK, "monitoring.tasks.trim", every=request_log.EVERY_SECONDS)
        lag.tell()
