"""The documents name what the code reads and answers."""

from __future__ import annotations

import re
from pathlib import Path

from core import errors

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_environment_name_is_documented():
    source = "".join(path.read_text() for path in (ROOT / "cms_project/settings").glob("*.py"))
    read = {
        name for call in re.findall(r"read\(([^()]*?)\)", source, re.S) for name in re.findall(r'"([A-Z_]{3,})"', call)
    }
    text = (ROOT / "docs/running.md").read_text()
    assert len(read) > 30
    assert sorted(name for name in read if f"`{name}`" not in text) == []


def test_every_error_code_is_documented():
    text = (ROOT / "docs/errors.md").read_text()
    missing = [kind.code for kind in errors.BY_STATUS.values() if f"| {kind.status} | `{kind.code}` |" not in text]
    assert missing == []
