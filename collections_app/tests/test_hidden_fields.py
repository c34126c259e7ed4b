"""What a caller may not read can't be told by any means: asked for, it does not exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rest_framework.test import APIClient

from collections_app.models import Event
from collections_app.tests.web import BATCH, COLLECTIONS, Callers, get, nothing_changes, path

pytestmark = pytest.mark.engine

PUBLIC = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


def relation(collection: str, **more: Any) -> dict[str, Any]:
    return {"type": "relation", "relation": {"collection_id": collection, **more.pop("relation", {})}, **more}


@pytest.fixture
def house(make_collection: Any, records: Any) -> dict[str, str]:
    """People with hidden fields, among collections that may and may not be listed."""
    make_collection("vault", title="text")
    make_collection("places", name="text", code={"type": "text", "hidden": True}, **PUBLIC)
    make_collection(
        "people", name="text", salary={"type": "number", "hidden": True, "validation": {"max": 5000}},
        notes={"type": "text", "hidden": True}, badge={"type": "text", "hidden": True,
        "validation": {"unique": True}},
        pin="password", meta={"type": "json", "hidden": True},
        kinds={"type": "select", "hidden": True, "select": {"values": ["a", "b"], "max_select": 2}},
        place=relation("places"), refuge=relation("places", hidden=True), safe=relation("vault"),
        safes=relation("vault", relation={"type": "many-to-many"}),
        options={"search": ["name", "notes"]}, **PUBLIC,
    )  # fmt: skip
    make_collection("reviews", text="text", person=relation("people"), judge=relation("people", hidden=True), **PUBLIC)
    make_collection("vendors", type="auth", nick="text", list_rule=None, view_rule=None)
    safe = records("vault").create(title="gold")["id"]
    place = records("places").create(name="Oslo", code="secret-code")["id"]
    person = records("people").create(
        name="Ann", salary=4000, notes="hidden words", badge="B-1", pin="pin-12345", meta={"k": "v"}, kinds=["a"],
        place=place, refuge=place, safe=safe, safes=[safe],
    )["id"]  # fmt: skip
    review = records("reviews").create(text="fine", person=person, judge=person)["id"]
    vendor = records("vendors").create(email="v@example.com", password="long-enough-1", nick="v")["id"]
    return {"person": person, "review": review, "vendor": vendor, "place": place, "safe": safe}


def told(response: Any) -> str:
    """All that an answer tells, but for what is new in each: ids and moments."""
    text = f"{response.status_code} {response.content.decode()} {response.headers.get('Content-Length')}"
    return re.sub(r'"(request_id|timestamp)":"[^"]*"', "", text)


def alike(one: str, two: str, hidden: str, unknown: str) -> bool:
    """Whether the two differ in nothing but the letters in which the names do."""
    letters = {pair for pair in zip(hidden, unknown, strict=True) if pair[0] != pair[1]}
    return len(one) == len(two) and {pair for pair in zip(one, two, strict=True) if pair[0] != pair[1]} <= letters


# (collection, query, what is hidden, a name of the same length that does not exist)
QUESTIONS = [
    (collection, query, hidden, unknown)
    for collection, hidden, unknown, queries in [
        ("people", "salary", "zalary", [
            "filter={}>1", "filter={}='x'", "filter={}='", "filter=name={}", "filter={}={}", "filter=@record.{}=1",
            "filter={}:length=1", "filter={}:lower='x'", "filter={}:each=1", "filter={}?=1", "filter=!({}=1)",
            "filter=name='x'%26%26{}=1", "filter=name={}:lower", "filter=@collection.people.{}=1", "filter={}=null",
            "filter={}>@now", "filter={}.x=1", "filter={}~'1'", "sort={}", "sort=-{}", "sort=name,{}", "sort={}.x",
            "fields={}", "fields=name,{}", "fields={}:excerpt(3)", "expand={}", "expand={}.x",
            "sort={}&filter={}=1", "fields={}&sort={}", "filter={}=1&cursor=", "sort={}&cursor=abc",
            "filter=({}=1", "filter={}='a'&per_page=1", "expand=place&fields=expand.{}.name",
        ]),
        ("people", "notes", "nodes", ["filter={}~'hidden'", "sort={}", "fields=id,{}", "filter={}=name"]),
        ("people", "meta", "neta", ["filter={}.k='v'", "filter={}=null", "filter={}:length=0", "sort={}"]),
        ("people", "kinds", "minds", ["filter={}?='a'", "filter={}:length=1", "filter={}:each='a'", "fields={}"]),
        ("people", "refuge", "defuge", [
            "expand={}", "filter={}.name='Oslo'", "sort={}.name", "filter={}='x'", "fields=expand.{}.name&expand={}",
        ]),
        ("people", "code", "kode", ["filter=place.{}~'s'", "sort=place.{}", "filter=place.{}:length>1"]),
        ("people", "pin", "pim", ["filter={}!=''", "sort={}", "fields={}", "filter={}~'$'", "filter={}:length>1"]),
        ("reviews", "salary", "zalary", [
            "filter=person.{}>1", "sort=person.{}", "expand=person.{}", "filter=@collection.people.{}>1",
            "filter=@record.person.{}>1",
        ]),
        ("reviews", "judge", "pudge", ["expand={}", "filter={}.name='Ann'", "sort={}.name", "filter={}!=''"]),
        ("people", "reviews_via_judge", "reviews_via_pudge", [
            "expand={}", "filter={}.text='fine'", "filter={}.id!=''", "filter={}.text:length>0",
        ]),
        ("places", "people_via_refuge", "people_via_defuge", ["expand={}", "filter={}.name='Ann'"]),
        ("places", "salary", "zalary", ["filter=people_via_place.{}>1", "expand=people_via_place.{}"]),
        ("people", "safe.title", "cafe.title", ["filter={}='gold'", "sort={}", "filter={}:length>1"]),
        ("people", "safes.title", "cafes.title", ["filter={}?='gold'", "expand={}"]),
        ("vendors", "token_key", "taken_key", ["filter={}!=''", "sort={}", "fields={}", "filter={}:length=32"]),
        ("vendors", "password", "passworm", ["filter={}!=''", "sort={}", "fields={}", "filter={}~'md5'"]),
    ]
    for query in queries
]  # fmt: skip


def test_a_hidden_name_and_an_unknown_one_get_the_same_answer(house: dict[str, str], callers: Callers) -> None:
    different = []
    for name in ("anonymous", "stranger"):
        for collection, query, hidden, unknown in QUESTIONS:
            one, two = (
                told(get(callers[name], f"{path(collection)}?{query.replace('{}', word)}"))
                for word in (hidden, unknown)
            )
            refused = one.startswith("400") or query.startswith("filter=name={}")
            if not (refused and alike(one, two, hidden, unknown)):
                different.append((name, collection, query, one, two))
    assert not different, "\n".join(map(str, different))


@pytest.mark.parametrize("query", ["filter=@collection.{}.title='gold'", "filter=@collection.{}.nothing=1"])
def test_a_collection_that_may_not_be_listed_is_an_unknown_one_in_filters(
    house: dict[str, str], callers: Callers, query: str
) -> None:
    one, two = (
        told(get(callers["stranger"], f"{path('people')}?{query.replace('{}', n)}")) for n in ("vault", "fault")
    )
    assert one.startswith("400") and alike(one, two, "vault", "fault")


def test_single_records_answer_hidden_and_unknown_names_alike(house: dict[str, str], callers: Callers) -> None:
    url = path("people", house["person"])
    for query in ("fields={}", "expand={}", "fields=expand.{}.id&expand={}", "expand=place.{}"):
        for hidden, unknown in (("salary", "zalary"), ("refuge", "defuge"), ("pin", "pim"), ("code", "kode")):
            one, two = (told(get(callers["stranger"], f"{url}?{query.replace('{}', n)}")) for n in (hidden, unknown))
            assert one.startswith("400") and alike(one, two, hidden, unknown)


def test_secrets_do_not_exist_even_for_admins(house: dict[str, str], callers: Callers) -> None:
    for collection, secret, unknown in (
        ("people", "pin", "pim"), ("vendors", "password", "passworm"), ("vendors", "token_key", "taken_key"),
    ):  # fmt: skip
        for query in ("filter={}!=''", "sort={}", "fields={}", f"filter=@collection.{collection}.{{}}!=''"):
            one, two = (
                told(get(callers["admin"], f"{path(collection)}?{query.replace('{}', n)}")) for n in (secret, unknown)
            )
            assert one.startswith("400") and alike(one, two, secret, unknown)
    schema = callers["admin"].get(f"{COLLECTIONS}/people").json()["schema"]
    with nothing_changes():
        body = {"list_rule": "pin != ''", "schema": schema}
        assert callers["admin"].patch(f"{COLLECTIONS}/people", body).status_code == 422


def keys_of(value: Any) -> set[str]:
    """Every key anywhere in an answer."""
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys_of(item)}
    return {key for item in value for key in keys_of(item)} if isinstance(value, list) else set()


HIDDEN = {
    "salary",
    "notes",
    "badge",
    "pin",
    "meta",
    "kinds",
    "refuge",
    "code",
    "judge",
    "password",
    "token_key",
}


def test_no_answer_shows_a_hidden_field(house: dict[str, str], callers: Callers) -> None:
    for name in ("anonymous", "stranger"):
        client = callers[name]
        answers = [
            client.get(path("people")),
            client.get(f"{path('people')}?expand=place,reviews_via_person"),
            client.get(f"{path('people')}?fields=*,expand.place.*&expand=place"),
            client.get(f"{path('people')}?cursor="),
            client.get(path("people", house["person"])),
            client.get(f"{path('people', house['person'])}?expand=place,reviews_via_person.person.place"),
            client.get(f"{path('reviews')}?expand=person.place"),
            client.get(f"{path('places')}?expand=people_via_place"),
            client.get(path("vendors")),
            client.post(path("people"), {"name": "Bob"}),
            client.patch(path("people", house["person"]), {"name": "Anna"}),
            client.post(BATCH, {"requests": [{"method": "POST", "collection": "people", "data": {"name": "Cid"}}]}),
            client.post(path("people"), {"name": "Dan", "pin": "a-good-pin"}),
            client.get(COLLECTIONS),
            client.get(f"{COLLECTIONS}/people"),
        ]
        for answer in answers:
            assert answer.status_code in (200, 201), answer.json()
            assert not keys_of(answer.json()) & HIDDEN
        outline = {field["name"] for field in answers[-1].json()["schema"]}
        assert not outline & HIDDEN


def test_an_admin_sees_hidden_fields_but_no_secrets(house: dict[str, str], callers: Callers) -> None:
    found = get(callers["admin"], f"{path('people')}?filter=salary=4000&sort=salary&expand=refuge").json()["items"]
    assert [item["expand"]["refuge"]["code"] for item in found] == ["secret-code"]
    assert not keys_of(found) & {"pin", "password", "token_key"}


def test_search_looks_only_where_the_caller_may(house: dict[str, str], callers: Callers) -> None:
    for word in ("hidden words", "hid", "B-1", "secret", "$", "md5", "pin-12345"):
        assert get(callers["stranger"], f"{path('people')}?search={word}").json()["total"] == 0, word
    assert callers["stranger"].get(f"{path('people')}?search=ann").json()["total"] == 1
    assert callers["admin"].get(f"{path('people')}?search=hidden").json()["total"] == 1
    assert callers["admin"].get(f"{path('vendors')}?search=md5").json()["total"] == 0


def test_a_relation_into_a_collection_that_is_not_listed_shows_ids_only(
    house: dict[str, str], callers: Callers
) -> None:
    record = callers["stranger"].get(path("people", house["person"])).json()
    assert (record["safe"], record["safes"]) == (house["safe"], [house["safe"]])
    for ours, theirs in (("safe", "cafe"), ("safes", "cafes")):
        one, two = (told(get(callers["stranger"], f"{path('people')}?expand={name}")) for name in (ours, theirs))
        assert one.startswith("400") and alike(one, two, ours, theirs)


# -- writing --------------------------------------------------------------------------------
def write_all_ways(client: APIClient, house: dict[str, str], name: str, value: Any) -> list[str]:
    batch = {"requests": [{"method": "POST", "collection": "people", "data": {name: value}}]}
    made = (client.post(path("people"), {"name": "x", name: value}), client.post(BATCH, batch))
    return [*(told(response) for response in made), *update_all_ways(client, house, name, value)]


def update_all_ways(client: APIClient, house: dict[str, str], name: str, value: Any) -> list[str]:
    url = path("people", house["person"])
    ids = {"record_ids": [house["person"]], "data": {name: value}}
    batch = {"requests": [{"method": "PATCH", "collection": "people", "id": house["person"], "data": {name: value}}]}
    return [
        told(response)
        for response in (
            client.patch(url, {name: value}),
            client.put(url, {"data": {name: value}}),
            client.post(path("people", "bulk-update"), ids),
            client.post(BATCH, batch),
        )
    ]


def test_who_creates_a_record_may_fill_its_hidden_fields_and_does_not_see_them(
    house: dict[str, str], callers: Callers
) -> None:
    made = callers["stranger"].post(path("people"), {"name": "Eve", "notes": "call me", "salary": 10})
    assert made.status_code == 201
    assert not {"notes", "salary", "badge"} & made.json().keys()
    seen = callers["admin"].get(path("people", made.json()["id"])).json()
    assert (seen["notes"], seen["salary"]) == ("call me", 10)


def test_writing_a_hidden_field_is_like_writing_one_that_is_not_there(house: dict[str, str], callers: Callers) -> None:
    """Else its limits, its uniqueness and ``field+`` would tell what it holds."""
    values = {"salary": 1, "salary+": 2000, "badge": "B-1", "kinds-": "b", "refuge": "nope", "meta": {}}
    for name, value in values.items():
        unknown = name.replace(name[0], "z", 1)
        ways = write_all_ways if name in ("salary+", "badge", "kinds-") else update_all_ways
        with nothing_changes():
            ours = ways(callers["stranger"], house, name, value)
            theirs = ways(callers["stranger"], house, unknown, value)
        assert all(alike(one, two, name, unknown) for one, two in zip(ours, theirs, strict=True)), name
    assert callers["admin"].patch(path("people", house["person"]), {"salary+": 1}).json()["salary"] == 4001


def test_conflicts_do_not_name_hidden_fields(make_collection: Any, records: Any, callers: Callers) -> None:
    make_collection(
        "codes", name="text", batch={"type": "text", "hidden": True, "validation": {"default": "first"}},
        indexes=[{"fields": ["name", "batch"], "unique": True}], **PUBLIC,
    )  # fmt: skip
    records("codes").create(name="a")
    with nothing_changes():
        refusal = callers["stranger"].post(path("codes"), {"name": "a"})
    assert refusal.status_code == 409
    assert "batch" not in refusal.content.decode()
    assert refusal.json()["fields"] == {"name": ["This value is already in use."]}
    assert "batch" in callers["admin"].post(path("codes"), {"name": "a"}).content.decode()


def test_a_required_hidden_field_is_not_named_to_those_who_cannot_set_it(
    make_collection: Any, callers: Callers
) -> None:
    make_collection(
        "forms",
        name="text",
        grade={"type": "text", "hidden": True, "validation": {"required": True}},
        **PUBLIC,
    )
    with nothing_changes():
        refusal = callers["stranger"].post(path("forms"), {"name": "a"})
    assert refusal.status_code == 422
    assert "grade" not in refusal.content.decode()
    assert callers["admin"].post(path("forms"), {"name": "a"}).json()["fields"] == {
        "grade": ["This field is required."]
    }


def test_a_refused_delete_does_not_tell_who_still_needs_the_record(
    make_collection: Any, records: Any, callers: Callers
) -> None:
    make_collection("houses", name="text", **PUBLIC)
    make_collection("tenants", name="text", home=relation("houses", validation={"required": True}))
    home = records("houses").create(name="h")["id"]
    tenant = records("tenants").create(name="t", home=home)["id"]
    with nothing_changes():
        refusal = callers["stranger"].delete(path("houses", home))
    assert refusal.status_code == 409
    assert not [word for word in ("tenants", tenant, "references") if word in refusal.content.decode()]
    assert callers["admin"].delete(path("houses", home)).json()["references"] == [
        {"collection": "tenants", "id": tenant, "field": "home"}
    ]


def test_the_log_keeps_hidden_fields_and_no_secrets(house: dict[str, str], callers: Callers) -> None:
    callers["admin"].patch(path("people", house["person"]), {"pin": "another-pin", "salary": 4100})
    callers["admin"].patch(path("vendors", house["vendor"]), {"password": "another-long-1"})
    callers["admin"].delete(path("vendors", house["vendor"]))
    for event in Event.objects.filter(type__startswith="record."):
        for side in (event.data, event.previous):
            assert not keys_of(side) & {"pin", "password", "token_key"}
    event = Event.objects.filter(collection="people").latest("id")
    assert (event.previous["salary"], event.data["salary"]) == (4000, 4100)
