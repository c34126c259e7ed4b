"""Two requests about the same records at the same moment: one order or the other, and words for the loser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from accounts.principals import SYSTEM
from collections_app.models import Event
from collections_app.records import operations
from collections_app.records.operations import Call
from collections_app.tests.threads import STRESS, at_once, faults
from core.errors import DomainError

pytestmark = pytest.mark.engine

ROUNDS = 12 * STRESS


def statuses(answers: list[Any]) -> list[int]:
    """200 for what succeeded; whatever is no refusal in words is raised."""
    for fault in faults(answers):
        if not isinstance(fault, DomainError):
            raise fault
    return [answer.status if isinstance(answer, DomainError) else 200 for answer in answers]


def relation(target: str, **options: Any) -> dict[str, Any]:
    return {"type": "relation", "relation": {"collection_id": target, **options}}


def no_dangling_reference() -> bool:
    connection.check_constraints()
    return True


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (relation("authors"), lambda author: author),
        (relation("authors", cascade_delete=True), lambda author: author),
        (relation("authors", type="many-to-many"), lambda author: [author]),
    ],
    ids=["released", "cascaded", "many"],
)
def test_a_record_is_deleted_while_another_comes_to_refer_to_it(
    make_collection: Any, records: Any, field: dict[str, Any], value: Callable[[str], Any]
) -> None:
    make_collection("authors", name="text")
    make_collection("posts", author=field, title="text")
    for turn in range(ROUNDS):
        author = records("authors").create(name="a")["id"]
        old = records("posts").create(title=f"old {turn}")["id"]
        deleted, made, moved = statuses(at_once(
            lambda: records("authors").delete(author),  # noqa: B023
            lambda: records("posts").create(author=value(author), title=f"new {turn}"),  # noqa: B023
            lambda: records("posts").update(old, {"author": value(author)}),  # noqa: B023
        ))  # fmt: skip
        assert deleted in (200, 409)
        assert made in (200, 409, 422)
        assert moved in (200, 404, 409, 422)
        assert no_dangling_reference()
        if deleted == 200:
            assert records("authors").page(f"filter=id='{author}'")["total"] == 0
            referring = "~" if field["relation"].get("type") == "many-to-many" else "="
            assert records("posts").page(f"filter=author{referring}'{author}'")["total"] == 0


def test_of_many_who_want_one_value_one_gets_it(make_collection: Any, records: Any) -> None:
    make_collection("names", name={"type": "text", "validation": {"unique": True}})
    for turn in range(ROUNDS):
        other = records("names").create(name=f"other {turn}")["id"]
        answers = at_once(
            *[lambda: records("names").create(name=f"n{turn}")] * 3,  # noqa: B023
            lambda: records("names").update(other, {"name": f"n{turn}"}),  # noqa: B023
        )
        assert sorted(statuses(answers)) == [200, 409, 409, 409]
        assert all(fault.fields == {"name": ["This value is already in use."]} for fault in faults(answers))  # type: ignore[attr-defined]
        assert records("names").page(f"filter=name='n{turn}'")["total"] == 1


def test_a_record_is_deleted_once(make_collection: Any, records: Any) -> None:
    make_collection("notes", title="text")
    for _ in range(ROUNDS):
        note = records("notes").create(title="x")["id"]
        told = statuses(at_once(
            *[lambda: records("notes").delete(note)] * 3,  # noqa: B023
            lambda: records("notes").update(note, {"title": "y"}),  # noqa: B023
        ))  # fmt: skip
        assert sorted(told[:3]) == [200, 404, 404] and told[3] in (200, 404)
        assert Event.objects.filter(record_id=note, type="record.deleted").count() == 1


def test_putting_the_same_new_record_at_once_makes_one(make_collection: Any, records: Any) -> None:
    make_collection("notes", title="text")

    def put(record_id: str, title: str) -> None:
        requests = [{"method": "PUT", "collection": "notes", "id": record_id, "data": {"title": title}}]
        operations.batch(Call(principal=SYSTEM, method="POST", path="batch"), {"requests": requests})

    for turn in range(ROUNDS):
        record_id = f"note{turn:011d}"
        told = statuses(at_once(*(lambda t=t: put(record_id, t) for t in "abc")))  # noqa: B023
        assert 200 in told and set(told) <= {200, 409}
        history = list(Event.objects.filter(record_id=record_id).order_by("id"))
        assert [event.type for event in history] == ["record.created", *["record.updated"] * (told.count(200) - 1)]
        assert history[-1].data["title"] == records("notes").get(record_id)["title"]


def test_bulk_changes_that_meet_in_opposite_order_end_in_words(make_collection: Any, records: Any) -> None:
    make_collection("notes", count="integer")
    ids = [records("notes").create(count=0)["id"] for _ in range(10)]

    def add(order: list[str]) -> int:
        body = {"record_ids": order, "data": {"count+": 1}}
        answer = operations.bulk_update(Call(principal=SYSTEM, method="POST", path="bulk"), "notes", body)
        assert b'"failed":0' in answer.body
        return 1

    done = 0
    for _ in range(ROUNDS // 4):  # PostgreSQL looks for deadlocks after a second
        answers = at_once(lambda: add(ids), lambda: add(ids[::-1]), lambda: add(ids))
        done += sum(1 for answer in answers if answer == 1)
        for fault in faults(answers):
            assert "deadlock" in str(fault), fault
    assert records("notes").values("count") == [done] * 10
