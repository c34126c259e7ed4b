"""Settings that can change while the server runs: the table ``cms_settings``. Those of themes are in their room."""

from __future__ import annotations

import uuid

from django.db import models

from core import clock
from settings_app.themes.models import Theme as Theme
from settings_app.themes.models import ThemeSetting as ThemeSetting
from settings_app.themes.models import WrittenConfig as WrittenConfig


class CmsSetting(models.Model):
    """A value that is not the default; what the key means is declared in code (registry.py)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=100, unique=True)
    value = models.JSONField(null=True)
    secret = models.BooleanField(default=False, db_default=False)  # then the value is a text that is sealed
    category = models.CharField(max_length=50, db_index=True)
    type = models.CharField(max_length=20)
    description = models.TextField(blank=True)
    updated_at = models.DateTimeField(default=clock.now)
    updated_by = models.CharField(max_length=64, blank=True)

    class Meta:
        db_table = "cms_settings"
        ordering = ("category", "key")
