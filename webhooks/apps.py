from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """Listens to the event log; nothing below imports this app."""

    name = "webhooks"
