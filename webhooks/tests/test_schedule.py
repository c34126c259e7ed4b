"""When what failed is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from webhooks.schedule import next_attempt

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)


def minutes(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - NOW) / timedelta(minutes=1)


def test_the_waits_are_those_that_are_documented() -> None:
    assert [minutes(next_attempt(attempt, 5, NOW)) for attempt in range(1, 7)] == [1, 5, 15, 30, 60, None]


@pytest.mark.parametrize("count", range(6))
def test_there_are_as_many_retries_as_were_asked_for(count: int) -> None:
    assert [attempt for attempt in range(1, 8) if next_attempt(attempt, count, NOW)] == list(range(1, count + 1))


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", 2), ("0", 1), ("59", 1), ("86400", 1440), ("99999999999999999999", 1440), ("172800", 1440),
        ("Thu, 15 Jan 2026 10:10:00 GMT", 10), ("Thu, 15 Jan 2026 09:00:00 GMT", 1),
        ("Thu, 15 Jan 2026 10:10:00", 10), ("Thu, 15 Jan 2099 10:10:00 GMT", 1440),
        ("", 1), ("soon", 1), ("-5", 1), ("1.5", 1), ("１２０", 1), ("Thu, 99 Jan 2026 10:10:00 GMT", 1), ("9" * 5000, 1440),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 1440), ("Mon, 01 Jan 0001 00:00:00 +2359", 1),
    ],
)  # fmt: skip
def test_an_answer_can_make_the_wait_longer_within_a_day(header: str, wait: float) -> None:
    assert minutes(next_attempt(1, 5, NOW, header)) == wait
