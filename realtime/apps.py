from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Listens to the event log; nothing below imports this app."""

    name = "realtime"

    def ready(self) -> None:
        from core import metrics
        from realtime import hub

        metrics.gauge("realtime_connections", "Streams and sockets of events that are open.", hub.open_now, ["kind"])
