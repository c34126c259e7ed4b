from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """Copies of the database and files; nothing below imports this app."""

    name = "backups"
