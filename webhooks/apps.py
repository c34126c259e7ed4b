from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_save


class WebhooksConfig(AppConfig):
    """Listens to the event log; nothing below imports this app."""

    name = "webhooks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from collections_app import event_retention, events
        from core import background, consistency, restored
        from webhooks import consistency as consistency_of_webhooks
        from webhooks import notices as notices  # which knows what the mail's template needs
        from webhooks import numbers, planning, sweeping
        from webhooks import restored as restored_webhooks
        from webhooks.models import Webhook

        background.register(planning.TASK, "webhooks.tasks.deliver", every=10)
        background.register(sweeping.TASK, "webhooks.tasks.sweep", every=3600)
        events.appended.connect(planning.wake, dispatch_uid="webhooks.wake")
        event_retention.keep_from("webhooks", planning.needed_from)
        numbers.tell()
        consistency.register("webhooks", consistency_of_webhooks.check)
        restored.register("webhooks", restored_webhooks.settle)
        post_save.connect(planning.expect, sender=Webhook, dispatch_uid="webhooks.expect")
