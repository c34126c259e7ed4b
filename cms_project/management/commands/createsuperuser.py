"""``manage.py createsuperuser``: Django's, which may also be the very first command."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import createsuperuser

from cms_project import migrating


class Command(createsuperuser.Command):
    """On an empty database it makes the tables first, as ``serve`` does."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        if migrating.is_empty():
            migrating.migrate()
        return super().execute(*args, **options)
