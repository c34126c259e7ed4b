"""The page on settings names what is declared."""

from __future__ import annotations

import re
from pathlib import Path

from settings_app import registry

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/settings.md"


def test_every_declared_setting_has_its_row():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|.*\| (\w+) \| [^|]+\|$", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((one.key, one.type, one.category) for one in registry.known.values())
