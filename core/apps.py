from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Helpers that import no other app."""

    name = "core"
