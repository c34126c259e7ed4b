"""What a line of the log is cut down to."""

from __future__ import annotations

import pytest

from core import logs


def test_of_a_text_without_end_the_beginning_is_kept() -> None:
    shown = logs.redact("x" * 1_000_000)
    assert len(shown) < logs.MAX_CHARACTERS + 100 and shown.endswith("(967,232 more characters)")


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in logs._PATTERNS if "eyJ" in pattern.pattern])
def test_what_looks_like_a_token_is_found_but_not_looked_for_twice_in_one_run(pattern) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    assert logs.redact(f"token in a sentence {token}, and /path/{token}/") == "token in a sentence ***, and /path/***/"
    assert pattern.search("-eyJ" * 20_000) is None, "in a run that has a beginning, the middle is none"
