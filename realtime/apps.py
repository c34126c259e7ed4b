from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Listens to the event log; nothing below imports this app."""

    name = "realtime"
