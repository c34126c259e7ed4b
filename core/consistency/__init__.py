"""Whether what is stored fits together: checks that apps register, the problems they find, and their repair.

A check only reads. A repair adds what is missing or makes anew what follows from
other data (an index, a permission); none removes a value that somebody stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import Error

from core.errors import DomainError

logger = logging.getLogger(__name__)

# A repair can bring to light what another one has to do: the indexes of a table that was missing.
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """``sentence`` tells people what is wrong and, where there is no ``repair``, what to do about it.

    ``kind`` is ``table`` or ``column`` for those that are missing, whose names are then the ``subject``
    (``users``, ``users.email``), else empty.
    """

    sentence: str
    repair: Callable[[], object] | None = None
    kind: str = ""
    subject: str = ""


Check = Callable[[], Iterable[Problem]]

_checks: dict[str, Check] = {}


def register(name: str, check: Check) -> None:
    """Have ``check`` be asked, after those that were registered before; ``name`` says what it looks at."""
    _checks[name] = check


def find() -> list[Problem]:
    """All problems, in the order in which they are best repaired."""
    found: list[Problem] = []
    for name, check in _checks.items():
        try:
            found.extend(check())
        except (Error, DomainError) as fault:
            logger.debug("the check of %s ended early", name, exc_info=True)
            if not any(problem.kind for problem in found):  # else that says why
                found.append(
                    Problem(f"The {name} could not be looked at: {str(fault).strip() or type(fault).__name__}")
                )
    return found


def repair(report: Callable[[Problem, str], None]) -> list[Problem]:
    """Repair what can be, and answer what is left.

    ``report`` is told of each problem that was gone about, with why it could not be repaired, or nothing.
    """
    tried: set[tuple[str, str]] = set()
    for _ in range(_ROUNDS):
        problems = find()
        fresh = [problem for problem in problems if problem.repair and _attempt(problem) not in tried]
        if not fresh:
            return problems
        for problem in fresh:
            tried.add(_attempt(problem))
            report(problem, _repaired(problem))
    return find()


def _attempt(problem: Problem) -> tuple[str, str]:
    """What is wrong, and how it would be mended: a second way may be open where the first was not enough."""
    return problem.sentence, getattr(getattr(problem.repair, "func", problem.repair), "__name__", "")


def _repaired(problem: Problem) -> str:
    assert problem.repair is not None
    try:
        problem.repair()
    except (Error, DomainError) as fault:
        logger.debug("a repair failed", exc_info=True)
        return str(fault).strip() or type(fault).__name__
    return ""
