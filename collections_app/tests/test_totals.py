"""Totals are remembered, and never stale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import transaction

from collections_app.records import totals
from collections_app.tests.fixtures import Records, person
from core import database

pytestmark = pytest.mark.engine

FIRST_OF_MANY = "per_page=1&filter=title~'a'"


@pytest.fixture(autouse=True)
def nothing_counted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "_totals", {})


@pytest.fixture
def posts(make_collection: Callable[..., Any], records: Callable[..., Records]) -> Records:
    make_collection("posts", title="text")
    found = records("posts")
    for title in ("an apple", "a pear", "plum"):
        found.create(title=title)
    return found


@pytest.fixture
def other_thread() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Runs something on a database connection of its own."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda action: pool.submit(action).result()
        pool.submit(database.close).result()


def test_a_total_follows_what_this_connection_writes(posts: Records) -> None:
    assert posts.page(FIRST_OF_MANY)["total"] == 2
    extra = posts.create(title="a fig")
    assert posts.page(FIRST_OF_MANY)["total"] == 3
    posts.update(extra["id"], {"title": "fig"})
    assert posts.page(FIRST_OF_MANY)["total"] == 2


def test_a_total_follows_what_another_connection_writes(
    posts: Records, other_thread: Callable[[Callable[[], Any]], Any]
) -> None:
    assert posts.page(FIRST_OF_MANY)["total"] == 2
    other_thread(lambda: posts.create(title="a quince"))
    assert posts.page(FIRST_OF_MANY)["total"] == 3
    assert other_thread(lambda: posts.page(FIRST_OF_MANY)["total"]) == 3
    posts.create(title="a medlar")
    assert other_thread(lambda: posts.page(FIRST_OF_MANY)["total"]) == 4


def test_what_was_rolled_back_leaves_no_total(posts: Records) -> None:
    with transaction.atomic():
        posts.create(title="a date")
        assert posts.page(FIRST_OF_MANY)["total"] == 3
        transaction.set_rollback(True)
    assert posts.page(FIRST_OF_MANY)["total"] == 2


def test_callers_with_other_rights_have_other_totals(make_collection: Any, records: Any) -> None:
    make_collection("notes", owner="text", title="text", list_rule="owner = @request.auth.id")
    for owner in ("ann", "ann", "ann", "bob", "bob"):
        records("notes").create(owner=owner, title="a")
    assert records("notes", person("ann")).page("per_page=1")["total"] == 3
    assert records("notes", person("bob")).page("per_page=1")["total"] == 2
    assert records("notes").page("per_page=1")["total"] == 5


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that counted. Whatever else goes on in a cluster of PostgreSQL, here it stands still."""
    ask, counted = totals._ask, []

    def watched(sql: str, params: Any = ()) -> Any:
        if "count(*)" in sql:
            counted.append(sql)
        answer = ask(sql, params)
        return (*answer[:-1], "1:1:") if "pg_current_snapshot" in sql else answer

    monkeypatch.setattr(totals, "_ask", watched)
    return counted


def test_an_unchanged_database_is_counted_once(posts: Records, counted: list[str]) -> None:
    for _ in range(3):
        assert posts.page(FIRST_OF_MANY)["total"] == 2
    assert len(counted) == 1


def test_a_total_that_one_connection_counted_is_known_to_all(
    posts: Records, other_thread: Callable[[Callable[[], Any]], Any], counted: list[str]
) -> None:
    assert other_thread(lambda: posts.page(FIRST_OF_MANY)["total"]) == 2
    assert posts.page(FIRST_OF_MANY)["total"] == 2
    assert len(counted) == 1


def test_the_memory_for_totals_is_bounded(posts: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MAX_TOTALS", 5)
    for number in range(20):
        posts.page(f"per_page=1&filter=title!='{number}'")
    assert 1 <= len(totals._totals) <= 5
