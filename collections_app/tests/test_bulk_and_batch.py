"""Many changes in one request: each for itself in bulk, all or nothing in a batch."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from collections_app.models import Event
from collections_app.tests.web import BATCH, Callers, nothing_changes, path

pytestmark = pytest.mark.engine

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
UPDATE, DELETE = path("posts", "bulk-update"), path("posts", "bulk-delete")


@pytest.fixture
def client(make_collection: Any, callers: Callers) -> APIClient:
    make_collection("teams", name="text", **OPEN)
    make_collection(
        "posts", title={"type": "text", "validation": {"required": True, "max_length": 9}}, votes="integer",
        slug={"type": "slug", "validation": {"unique": True}},
        team={"type": "relation", "relation": {"collection_id": "teams"}, "validation": {}}, **OPEN,
    )  # fmt: skip
    return callers["stranger"]


def make(client: APIClient, count: int, **data: Any) -> list[str]:
    return [client.post(path("posts"), {"title": f"t{n}", **data}).json()["id"] for n in range(count)]


def request(method: str, record_id: str | None = None, **data: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"method": method, "collection": "posts"}
    if record_id is not None:
        found["id"] = record_id
    return {**found, "data": data} if data else found


# -- bulk ---------------------------------------------------------------------------------------
def test_a_bulk_of_a_hundred_is_taken_and_of_more_is_not(client: APIClient) -> None:
    ids = make(client, 100)
    done = client.post(UPDATE, {"record_ids": ids, "data": {"votes": 1}})
    assert (done.status_code, done.json()) == (200, {"success": 100, "failed": 0, "errors": None})
    assert client.get(f"{path('posts')}?filter=votes=1").json()["total"] == 100
    with nothing_changes():
        for url, more in ((UPDATE, {"data": {"votes": 2}}), (DELETE, {})):
            refusal = client.post(url, {"record_ids": [*ids, "x"], **more})
            assert refusal.json()["fields"] == {"record_ids": ["Expected 1 to 100 ids."]}
    assert client.post(DELETE, {"record_ids": ids}).json() == {"success": 100, "failed": 0, "errors": None}
    assert client.get(path("posts")).json()["total"] == 0


def test_one_that_fails_does_not_stop_the_others(client: APIClient) -> None:
    one, two, three = make(client, 3)
    client.patch(path("posts", two), {"slug": "taken"})
    told = client.post(UPDATE, {"record_ids": [one, "none", two, three], "data": {"slug": "s"}}).json()
    assert told == {
        "success": 1,
        "failed": 3,
        "errors": [
            {"record_id": "none", "error": "Record not found"},
            {"record_id": two, "error": "slug: This value is already in use."},
            {"record_id": three, "error": "slug: This value is already in use."},
        ],
    }
    told = client.post(DELETE, {"record_ids": ["none", one, one, two]}).json()
    assert told == {
        "success": 2,
        "failed": 2,
        "errors": [{"record_id": "none", "error": "Record not found"}, {"record_id": one, "error": "Record not found"}],
    }


def test_what_is_invalid_fails_for_each_record_in_words(client: APIClient) -> None:
    ids = make(client, 2)
    for data, error in (
        ({"title": ""}, "title: This field is required."),
        ({"title": "x" * 10}, "title: Ensure this field has no more than 9 characters."),
        ({"nothing": 1}, "nothing: Unknown field."),
        ({"votes": "x", "nothing": 1}, "votes: A valid integer is required.; nothing: Unknown field."),
        ({"team": "none"}, None),
    ):
        with nothing_changes():
            told = client.post(UPDATE, {"record_ids": ids, "data": data}).json()
        assert (told["success"], told["failed"]) == (0, 2)
        if error:
            assert told["errors"] == [{"record_id": record_id, "error": error} for record_id in ids]


def test_bulk_needs_a_token_even_where_everybody_may_write(client: APIClient, callers: Callers) -> None:
    (record_id,) = make(client, 1)
    with nothing_changes():
        for url, more in ((UPDATE, {"data": {"votes": 2}}), (DELETE, {})):
            refusal = callers["anonymous"].post(url, {"record_ids": [record_id], **more})
            assert (refusal.status_code, refusal.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_bulk_on_a_collection_that_is_not_there_is_404(client: APIClient) -> None:
    with nothing_changes():
        assert client.post(path("nothing", "bulk-delete"), {"record_ids": ["x"]}).status_code == 404


def test_a_bulk_counts_the_same_record_twice_as_the_client_does(client: APIClient) -> None:
    (record_id,) = make(client, 1, votes=0)
    told = client.post(UPDATE, {"record_ids": [record_id, record_id], "data": {"votes+": 1}}).json()
    assert told["success"] == 2
    assert client.get(path("posts", record_id)).json()["votes"] == 2


# -- batch --------------------------------------------------------------------------------------
def test_a_batch_does_all_in_order_and_answers_each(client: APIClient) -> None:
    old, gone = make(client, 2)
    answer = client.post(BATCH, {"requests": [
        request("POST", title="new", id="mine"), request("PATCH", "mine", votes=3), request("PATCH", old,
        **{"votes+": 1}),
        request("PUT", "put", title="up"), request("PUT", "put", title="up2"), request("DELETE", gone),
        {"method": "POST", "collection": "teams", "data": {"data": {"name": "n"}}}, request("POST", "by-id",
        title="x"),
    ]})  # fmt: skip
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [201, 200, 200, 201, 200, 204, 201, 201]
    assert results[5] == {"status": 204, "record": None}
    assert [r["record"] and r["record"].get("title") for r in results[:5]] == ["new", "new", "t0", "up", "up2"]
    assert results[1]["record"] == client.get(path("posts", "mine")).json()
    assert results[6]["record"]["name"] == "n" and results[7]["record"]["id"] == "by-id"
    assert client.get(path("posts", gone)).status_code == 404


def test_a_batch_may_relate_what_it_has_just_made(client: APIClient) -> None:
    answer = client.post(BATCH, {"requests": [
        {"method": "POST", "collection": "teams", "data": {"id": "t1", "name": "n"}}, request("POST", title="x",
        team="t1"),
    ]})  # fmt: skip
    assert answer.json()["results"][1]["record"]["team"] == "t1"


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (request("POST", title=""), 422),
        (request("POST", title="x", nothing=1), 422),
        (request("POST", title="x", slug="taken"), 409),
        (request("POST", title="x", team="none"), 422),
        (request("PATCH", "none", votes=1), 404),
        (request("DELETE", "none"), 404),
        (request("PUT", "p", votes=1), 422),
        (request("PUT", "a b", title="x"), 422),
        ({"method": "POST", "collection": "nothing", "data": {}}, 404),
        ({"method": "POST", "collection": "records", "data": {"title": "x"}}, 403),
        ({"method": "GET", "collection": "posts"}, 422),
        ("x", 422),
    ],
    ids=str,
)
def test_one_bad_request_undoes_the_whole_batch(client: APIClient, bad: Any, status: int) -> None:
    client.post(path("posts"), {"title": "x", "slug": "taken"})
    (record_id,) = make(client, 1)
    good = [request("POST", title="a"), request("PATCH", record_id, votes=9), request("DELETE", record_id)]
    for position in range(4):
        requests = [*good[:position], bad, *good[position:]]
        with nothing_changes():
            refusal = client.post(BATCH, {"requests": requests})
        assert (refusal.status_code, refusal.json()["index"]) == (status, position)
        assert refusal.json()["message"].startswith(f"Request {position}: ")


def test_an_update_of_what_the_batch_has_deleted_is_404(client: APIClient) -> None:
    (record_id,) = make(client, 1)
    with nothing_changes():
        refusal = client.post(BATCH, {"requests": [request("DELETE", record_id), request("PATCH", record_id, votes=1)]})
    assert (refusal.status_code, refusal.json()["index"]) == (404, 1)


def test_put_keeps_what_it_does_not_name_and_its_id_is_that_of_the_request(client: APIClient) -> None:
    client.post(BATCH, {"requests": [request("PUT", "a", title="x", votes=5)]})
    answer = client.post(BATCH, {"requests": [request("PUT", "a", title="y")]}).json()["results"][0]["record"]
    assert (answer["id"], answer["title"], answer["votes"]) == ("a", "y", 5)
    with nothing_changes():
        other = client.post(BATCH, {"requests": [request("PUT", "a", id="b", title="z")]})
        assert (other.status_code, set(other.json()["fields"])) == (422, {"id"})


def test_a_thousand_requests_are_one_transaction(client: APIClient) -> None:
    requests = [request("POST", title=f"t{n}") for n in range(1000)]
    with nothing_changes():
        refusal = client.post(BATCH, {"requests": [*requests[:-1], request("POST", title="")]})
        assert (refusal.status_code, refusal.json()["index"]) == (422, 999)
    assert client.post(BATCH, {"requests": requests}).status_code == 200
    assert client.get(f"{path('posts')}?per_page=1").json()["total"] == 1000
    moments = {event.timestamp for event in Event.objects.filter(type="record.created")}
    assert len(moments) == 1


def test_a_batch_needs_no_token_where_the_rules_need_none(client: APIClient, callers: Callers) -> None:
    assert callers["anonymous"].post(BATCH, {"requests": [request("POST", title="x")]}).status_code == 200


def test_a_rule_about_the_method_sees_that_of_each_request(make_collection: Any, callers: Callers) -> None:
    make_collection("logs", text="text", **{**OPEN, "create_rule": "@request.method = 'POST'"})
    batch = {"requests": [{"method": "POST", "collection": "logs", "data": {"text": "x"}}]}
    assert callers["stranger"].post(BATCH, batch).status_code == 200
    with nothing_changes():
        upsert = {"requests": [{"method": "PUT", "collection": "logs", "id": "x", "data": {"text": "x"}}]}
        assert callers["stranger"].post(BATCH, upsert).status_code == 403
