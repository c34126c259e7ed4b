"""The tables ``themes``, ``theme_settings`` and ``theme_configs``."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from core import clock


class Theme(models.Model):
    """A look of the site. Several may be there to choose from (``is_active``); one is the default."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    is_active = models.BooleanField(default=False)
    is_default = models.BooleanField(default=False)
    created_by = models.CharField(
        max_length=64, blank=True
    )  # the id of an account, empty for what came with the product
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        db_table = "themes"
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("is_default",), condition=models.Q(is_default=True), name="themes_one_default"
            ),
        )

    def __str__(self) -> str:
        return self.name

    def values(self) -> dict[str, Any]:
        """The settings, by key."""
        return {setting.key: setting.value for setting in self.settings.all()}


class ThemeSetting(models.Model):
    """One value of a theme; what a key means is declared in keys.py."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    theme = models.ForeignKey(Theme, models.CASCADE, related_name="settings")
    key = models.CharField(max_length=100)
    value = models.JSONField()
    type = models.CharField(max_length=20)

    class Meta:
        db_table = "theme_settings"
        ordering = ("key",)
        constraints = (models.UniqueConstraint(fields=("theme", "key"), name="theme_settings_one_value"),)


class WrittenConfig(models.Model):
    """What was written last as ``theme-config.json``: one row, so that every machine serves the same."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    content = models.TextField()
    written_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "theme_configs"
