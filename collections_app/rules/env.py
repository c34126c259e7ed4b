"""The request that a rule is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dc_field
from datetime import datetime
from typing import Any

from accounts.principals import ANONYMOUS, Principal
from core import clock


@dataclass(slots=True)
class RuleEnv:
    """What the names of a request mean: who asks, how, with which data.

    ``before`` is the stored record on updates, for ``:changed``.
    """

    principal: Principal = ANONYMOUS
    method: str = "GET"
    query: Mapping[str, str] = dc_field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None
    now: datetime = dc_field(default_factory=clock.now)
    fleeting: bool = False  # whether the answer would be another one if asked again of the same data

    def moment(self) -> datetime:
        """``now``, for what depends on it."""
        self.fleeting = True
        return self.now
