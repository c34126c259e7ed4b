"""What is put right in a database that was put back to an earlier state, before anybody reads it.

An app registers what of its tables must not come back as it was: sign-ins that have ended, work that has
been done since, numbers that others know by now. :func:`settle` runs it all as one transaction on the
restored database; what has to be known of the state that is given up, :func:`present` has written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction


@dataclass(frozen=True, slots=True)
class Restoration:
    """One restore: its ``id``, the key of the principal who asked for it, and what :func:`present` answered.

    ``present`` is empty where nothing is known of the state before, as after a copy by hand.
    """

    id: str
    by: str
    present: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    settle: Callable[[Restoration, Any], None]
    present: Callable[[], Any]
    check: Callable[[], Any]


_parts: dict[str, _Part] = {}


def register(
    name: str,
    settle: Callable[[Restoration, Any], None],
    present: Callable[[], Any] = lambda: None,
    check: Callable[[], Any] = lambda: None,
) -> None:
    """Done in ``AppConfig.ready()``. ``settle`` gets what ``present`` answered (JSON) before, or None; ``check``
    raises where the restored tables are nothing that could be served."""
    _parts[name] = _Part(settle, present, check)


def present() -> dict[str, Any]:
    """What the restored state has to know of this one, as JSON."""
    return {name: part.present() for name, part in _parts.items()}


def settle(restoration: Restoration) -> None:
    """Make a restored database fit to be served: all parts in the order of the apps, or none."""
    with transaction.atomic():
        for name, part in _parts.items():
            part.settle(restoration, restoration.present.get(name))


def check() -> None:
    """Whether what was settled can be served, as far as a look at it tells; raises what a request would."""
    for part in _parts.values():
        part.check()
