"""A storage of its own for each test, and pictures to put there."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from collections_app.files import storage


def picture(size: tuple[int, int] = (40, 30), kind: str = "PNG", **saved: Any) -> bytes:
    out = BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, kind, **saved)
    return out.getvalue()


def upload(content: bytes, name: str = "Öl & Wasser.png", declared: str = "image/png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, declared)


@pytest.fixture
def stored(tmp_path: Path, settings: Any) -> Callable[[], list[str]]:
    """What is in the storage, thumbs too."""
    settings.MEDIA_ROOT = str(tmp_path / "files")
    return lambda: sorted(path for path, _ in storage.current().walk())


@pytest.fixture(autouse=True)
def own_storage(stored: Callable[[], list[str]]) -> None:
    """Also where nobody looks into it."""
