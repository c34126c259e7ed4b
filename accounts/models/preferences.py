"""What accounts have chosen for themselves."""

from __future__ import annotations

from django.db import models

from accounts.models.owned import Owned
from settings_app.models import Theme


class ThemePreference(Owned):
    """The theme that somebody wants, whatever the site's is."""

    theme = models.ForeignKey(Theme, models.CASCADE, related_name="+")

    class Meta:
        db_table = "theme_preferences"
        constraints = (models.UniqueConstraint(fields=("realm", "account_id"), name="one_theme_preference"),)
