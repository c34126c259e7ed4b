"""The examples of docs/rules.md hold, in SQL and in memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collections_app.rules import RuleEnv
from collections_app.rules.tests import blog

PAGE = Path(__file__).parents[3] / "docs" / "rules.md"
_BLOCK = re.compile(r"```(rules|filter)(?: as (\w+))?\n(.*?)```", re.DOTALL)
CALLERS = {"": blog.NOBODY, "nobody": blog.NOBODY, "ann": blog.ANN}


def examples() -> list[tuple[str, str, str, str]]:
    """(language, caller, expression, ids) of every line of every block."""
    return [
        (language, caller, *(part.strip() for part in line.split("→")))  # type: ignore[misc]
        for language, caller, block in _BLOCK.findall(PAGE.read_text())
        for line in block.splitlines()
    ]


@pytest.mark.engine
def test_every_example_of_the_page_holds(make_collection: Callable[..., Any]) -> None:
    blog.build(make_collection)
    posts = blog.Posts()
    found = examples()
    assert len(found) > 50
    wrong = []
    for language, caller, source, ids in found:
        principal = CALLERS[caller]
        if language == "filter":
            held = posts.by_filter(source, principal)
        else:
            held = posts.by_rule(source, RuleEnv(principal=principal))
        if held != ids:
            wrong.append((source, ids, held))
    assert wrong == []
