"""``theme-config.json``: a theme under the names that front ends know, written when an admin says so.

The file in ``DATA_DIR`` is for whoever serves it himself. The server answers ``/theme-config.json`` from the
database, where the same bytes are, so every machine serves what was written last.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from core import clock, json
from settings_app.themes import keys, selectors
from settings_app.themes.models import Theme, WrittenConfig

FILE = "theme-config.json"


def write(theme_id: str | None) -> tuple[Theme, dict[str, Any]]:
    """Write the config of a theme, by default the current one: the theme, and what was written. NotFound."""
    theme = selectors.find(theme_id, admin=True) if theme_id else selectors.the_current()
    content = as_config(theme)
    text = json.dumps(content).decode()
    with transaction.atomic():
        WrittenConfig.objects.update_or_create(pk=1, defaults={"content": text, "written_at": clock.now()})
        _replace(Path(settings.DATA_DIR) / FILE, text)
    return theme, content


def as_config(theme: Theme) -> dict[str, Any]:
    """Every declared key by its name there; what the theme does not say is as in the product's own theme."""
    values = theme.values()
    return {key.config_name: values.get(key.name, key.standard) for key in keys.DECLARED}


def _replace(path: Path, text: str) -> None:
    """Put the file there whole: who reads meanwhile gets the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # it is public, and other servers may hand it out
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
