"""What became of the rows of an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_ERRORS = 1000  # that are told one by one


@dataclass(slots=True)
class Report:
    """What became of the rows."""

    imported: int = 0
    updated: int = 0
    total: int = 0
    failed: int = 0
    hashed: int = 0  # passwords
    errors: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, number: int, sentence: str) -> None:
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"row": number, "error": sentence})

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Report:
        """What :meth:`stored` has told."""
        return cls(**{**stored, "errors": list(stored["errors"])}) if stored else cls()

    def stored(self) -> dict[str, Any]:
        return {**self.as_json(), "hashed": self.hashed}

    def as_json(self) -> dict[str, Any]:
        return {
            "imported": self.imported,
            "total": self.total,
            "errors": sorted(self.errors, key=lambda error: error["row"]),
            "updated": self.updated,
            "failed": self.failed,
        }
