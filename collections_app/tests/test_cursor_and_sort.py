"""The order of lists, and walking through them by cursor: nothing twice, nothing left out."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote

import pytest
from rest_framework.test import APIClient

from collections_app.records import read
from collections_app.tests.web import Callers, get, path

pytestmark = pytest.mark.engine

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
COUNT = 24
TEXTS = ["b", "a", "Z", "é", "", None, "😀", "aa", "B", "10", "9", "ß", "\u00ff"]


@pytest.fixture
def rows(make_collection: Any, records: Any) -> list[dict[str, Any]]:
    """Records with empties, equals and extremes in every kind of field that has an order."""
    dice = random.Random(7)
    make_collection("places", name="text", **OPEN)
    places = [records("places").create(name=name)["id"] for name in ("Oslo", "Rome", None)]
    make_collection(
        "things", text="text", number="number", integer="integer", decimal="decimal", active="bool", at="datetime",
        time="time", spot="geo_point", place={"type": "relation", "relation": {"collection_id": "places"}},
        kind={"type": "select", "select": {"values": ["x", "y"]}}, **OPEN,
    )  # fmt: skip
    for _ in range(COUNT):
        records("things").create(
            text=dice.choice(TEXTS), number=dice.choice([None, -1.5, 0, 1e300, -1e300, 2, 5e-324]),
            integer=dice.choice([None, -(2**63), 2**63 - 1, 0, 7]), decimal=dice.choice([None, "-0.50", "0.10",
            "9.99", "10.00"]),
            active=dice.choice([True, False]), at=dice.choice([None, "0001-01-01", "2026-01-15T10:00:00.000001Z",
            "2026-01-15T10:00:00Z"]),
            time=dice.choice([None, "00:00", "10:00:00.5", "23:59:59"]), spot=dice.choice([None, {"lon": -1,
            "lat": 2}, {"lon": 1.5, "lat": 0}]),
            place=dice.choice([None, *places]), kind=dice.choice([None, "x", "y"]),
        )  # fmt: skip
    return records("things").items(f"per_page={COUNT}&expand=place")  # type: ignore[no-any-return]


@pytest.fixture
def client(callers: Callers) -> APIClient:
    return callers["stranger"]


def value_of(row: dict[str, Any], name: str) -> Any:
    if name == "place.name":
        return row.get("expand", {}).get("place", {}).get("name")
    if name == "spot.lon":
        return row["spot"] and row["spot"]["lon"]
    if name == "at":
        return row[name] and row[name].rstrip("Z")
    return float(row[name]) if name == "decimal" and row[name] is not None else row[name]


def expected(rows: list[dict[str, Any]], sort: str) -> list[str]:
    """The ids in the order that the contract of sort says: empties first, then by value, the id last."""
    keys = sort.split(",")
    ordered = sorted(rows, key=lambda row: row["id"], reverse=keys[-1].startswith("-"))
    for key in reversed(keys):
        name = key.lstrip("-")
        empties = [row for row in ordered if value_of(row, name) is None]
        others = [row for row in ordered if value_of(row, name) is not None]
        others.sort(key=lambda row: value_of(row, name), reverse=key.startswith("-"))
        ordered = others + empties if key.startswith("-") else empties + others
    return [row["id"] for row in ordered]


SORTS = [
    "text", "number", "integer", "decimal", "active", "at", "time", "kind", "created", "updated", "id", "place",
    "place.name", "spot.lon",
    "text,-number", "-text,number", "-active,text,-integer", "kind,-at", "-place.name,text", "active,id",
    "-decimal,-time,kind",
]  # fmt: skip


def test_a_list_is_in_order_and_a_cursor_walks_it(rows: list[dict[str, Any]], client: APIClient) -> None:
    for sort in [*SORTS, *(f"-{sort}" for sort in SORTS if "," not in sort)]:
        walk(rows, client, sort)


def walk(rows: list[dict[str, Any]], client: APIClient, sort: str) -> None:
    wanted = expected(rows, sort)
    whole = client.get(f"{path('things')}?sort={sort}&per_page=500").json()["items"]
    assert [item["id"] for item in whole] == wanted, sort
    for per_page in (3, COUNT, 100):
        found, cursor = [], ""
        while cursor is not None:
            page = client.get(f"{path('things')}?sort={sort}&per_page={per_page}&cursor={cursor}").json()
            assert set(page) == {"items", "per_page", "next_cursor"}
            found += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            assert len(found) <= COUNT
        assert found == wanted, (sort, per_page)


def test_without_sort_the_newest_come_first(rows: list[dict[str, Any]], client: APIClient) -> None:
    ids = [item["id"] for item in client.get(f"{path('things')}?per_page=100").json()["items"]]
    assert ids == sorted(ids, reverse=True)
    walked = client.get(f"{path('things')}?per_page=100&cursor=").json()
    assert [item["id"] for item in walked["items"]] == ids and walked["next_cursor"] is None


def test_what_comes_and_goes_meanwhile_moves_nothing(rows: list[dict[str, Any]], client: APIClient) -> None:
    """Unlike with numbered pages: what was there all the time is seen exactly once."""
    url, seen, cursor, turn = f"{path('things')}?sort=integer,text&per_page=3", [], "", 0
    stable = {row["id"] for row in rows}
    while cursor is not None:
        page = client.get(f"{url}&cursor={cursor}").json()
        seen += [item["id"] for item in page["items"]]
        cursor, turn = page["next_cursor"], turn + 1
        client.post(path("things"), {"integer": -(2**63), "text": ""})
        client.post(path("things"), {"integer": 2**63 - 1, "text": "zzz"})
        gone = page["items"][0]["id"]
        if turn < 4:
            client.delete(path("things", gone))
            stable.discard(gone)
        assert turn < 40
    assert len(seen) == len(set(seen))
    assert stable <= set(seen)


def test_the_record_that_a_cursor_stands_on_may_be_gone(rows: list[dict[str, Any]], client: APIClient) -> None:
    wanted = expected(rows, "text")
    page = client.get(f"{path('things')}?sort=text&per_page=5&cursor=").json()
    client.delete(path("things", page["items"][-1]["id"]))
    rest = client.get(f"{path('things')}?sort=text&per_page=100&cursor={page['next_cursor']}").json()
    assert [item["id"] for item in rest["items"]] == wanted[5:]


def test_a_cursor_goes_with_filter_search_fields_and_rules(rows: list[dict[str, Any]], client: APIClient) -> None:
    query = f"sort=-number,text&filter={quote('integer != null && active = true')}&fields=id,text"
    whole = get(client, f"{path('things')}?{query}&per_page=100").json()["items"]
    found, cursor = [], ""
    while cursor is not None:
        page = get(client, f"{path('things')}?{query}&per_page=2&cursor={cursor}").json()
        found, cursor = found + page["items"], page["next_cursor"]
    assert found == whole and 2 < len(whole) < COUNT
    assert set(found[0]) == {"id", "text"}


def test_a_sort_through_a_relation_sees_only_what_may_be_listed(
    rows: list[dict[str, Any]], client: APIClient, callers: Callers
) -> None:
    callers["admin"].patch("/api/v1/collections/places", {"list_rule": "name = 'Rome'"})
    url = f"{path('things')}?sort=-place.name,id&per_page=100"
    order = [value_of(row, "place.name") == "Rome" for row in expand(client, callers, url)]
    assert order == sorted(order, reverse=True)
    rest = [row["id"] for row, rome in zip(expand(client, callers, url), order, strict=True) if not rome]
    assert rest == sorted(rest)
    walked, cursor = [], ""
    while cursor is not None:
        page = client.get(f"{path('things')}?sort=-place.name,id&per_page=4&cursor={cursor}").json()
        walked, cursor = walked + [item["id"] for item in page["items"]], page["next_cursor"]
    assert walked == [row["id"] for row in expand(client, callers, url)]


def expand(client: APIClient, callers: Callers, url: str) -> list[dict[str, Any]]:
    """The stranger's order, with what an admin sees of each place."""
    places = {item["id"]: item for item in callers["admin"].get(path("places")).json()["items"]}
    items = client.get(url).json()["items"]
    return [{**item, "expand": {"place": places[item["place"]]} if item["place"] else {}} for item in items]


def test_a_random_order_has_all_records(rows: list[dict[str, Any]], client: APIClient) -> None:
    orders = {
        tuple(item["id"] for item in client.get(f"{path('things')}?sort=@random&per_page=100").json()["items"])
        for _ in range(4)
    }
    assert len(orders) > 1
    assert {frozenset(order) for order in orders} == {frozenset(row["id"] for row in rows)}


def test_pages_by_number_reach_the_last_record(rows: list[dict[str, Any]], client: APIClient) -> None:
    for sort in ("text", "-number", "kind,-at"):
        found = []
        for page in range(1, 7):
            answer = client.get(f"{path('things')}?sort={sort}&per_page=4&page={page}").json()
            assert (answer["total"], answer["total_pages"]) == (COUNT, 6)
            found += [item["id"] for item in answer["items"]]
        assert found == expected(rows, sort)


@pytest.mark.parametrize("sort", ["", "text", "-number", "kind,-at", "-at,text,id"])
@pytest.mark.parametrize("query", ["", "&skip_total=true", "&filter=number>0"])
def test_pages_are_the_same_when_they_are_counted_off_from_the_end(
    rows: list[dict[str, Any]], client: APIClient, monkeypatch: pytest.MonkeyPatch, sort: str, query: str
) -> None:
    def pages() -> list[Any]:
        url = f"{path('things')}?sort={sort}&per_page=4{query}&page="
        return [client.get(f"{url}{page}").json()["items"] for page in (*range(1, 9), 900)]

    from_the_start = pages()
    monkeypatch.setattr(read, "_DEEP", 0)
    assert pages() == from_the_start
    assert any(from_the_start) and from_the_start[-1] == []
