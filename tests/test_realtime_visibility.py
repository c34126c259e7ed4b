"""Streams of several callers side by side: each is shown what they may list, as lists show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.sse_client import Refused, Stream
from tests.wire_house import House, house

FIELDS = [
    {"name": "title", "type": "text"}, {"name": "owner", "type": "text"}, {"name": "status", "type": "text"},
    {"name": "price", "type": "number"}, {"name": "note", "type": "text", "hidden": True},
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("visibility")) as served:
        yield served


def records(home: House, token: str | None, name: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = httpx.get(f"{home.url}/api/v1/collections/{name}/records", headers=headers, timeout=30).raise_for_status()
    return {item["id"]: item for item in found.json()["items"]}


def test_each_is_told_of_what_they_may_list(home: House) -> None:
    home.collection("orders", "owner = @request.auth.id || status = 'open'", schema=FIELDS)
    owner, other = home.register("owner"), home.register("other")
    tokens = {"admin": home.token, "owner": owner["access_token"], "other": other["access_token"], "nobody": None}
    path = "/api/v1/collections/orders/records"
    with ExitStack() as open_streams:
        streams: dict[str, Stream] = {}
        for who, token in tokens.items():
            streams[who] = open_streams.enter_context(home.stream("/orders", token))
            assert streams[who].next().type == "connected"
        dear = open_streams.enter_context(home.stream("/orders?query=price>100", home.token))
        mine = open_streams.enter_context(home.stream(f"?query=owner={owner['user']['id']}", tokens["owner"]))
        dear.next(), mine.next()
        data = {"title": "a", "owner": owner["user"]["id"], "status": "draft", "price": 50, "note": "hush"}
        made = home.http.post(path, json=data).raise_for_status().json()
        for who in ("admin", "owner"):
            frame = streams[who].next()
            assert frame.type == "record.created"
            assert list(frame.data["data"].items()) == list(records(home, tokens[who], "orders")[made["id"]].items())
            assert ("note" in frame.data["data"]) is (who == "admin")
        assert mine.next().type == "record.created"
        home.http.patch(f"{path}/{made['id']}", json={"status": "open", "price": 150}).raise_for_status()
        kinds = {who: stream.next().type for who, stream in streams.items()}
        assert kinds == {
            "admin": "record.updated", "owner": "record.updated", "other": "record.created", "nobody": "record.created"
        }  # fmt: skip
        assert dear.next().type == "record.created" and mine.next().type == "record.updated"
        home.http.patch(f"{path}/{made['id']}", json={"status": "draft", "price": 1}).raise_for_status()
        for stream in (streams["other"], streams["nobody"], dear):
            frame = stream.next()
            assert frame.type == "record.deleted" and frame.data["data"] == {"id": made["id"]}
        home.http.delete(f"{path}/{made['id']}").raise_for_status()
        for who in ("admin", "owner"):
            assert [frame.type for frame in streams[who].take(2)] == ["record.updated", "record.deleted"]
        assert all(stream.quiet(0.1) for stream in (*streams.values(), dear))
        # The rule changes while they listen.
        home.http.patch("/api/v1/collections/orders", json={"list_rule": "status = 'open'"}).raise_for_status()
        home.http.post(path, json={**data, "status": "draft"}).raise_for_status()
        home.http.post(path, json={**data, "status": "open"}).raise_for_status()
        assert [frame.type for frame in streams["admin"].take(3)] == ["collection.updated", *["record.created"] * 2]
        for who in ("owner", "other", "nobody"):
            assert streams[who].next().data["data"]["status"] == "open"
            assert streams[who].quiet(0.1)


def test_queries_name_what_their_caller_may_read(home: House) -> None:
    home.collection("items", schema=FIELDS)
    for query in ("note=x", "unknown=1", "title=", "friend.title=x"):
        with pytest.raises(Refused) as refused:
            home.stream(f"/items?query={query}")
        assert refused.value.status == 400 and refused.value.json()["detail"]
    with home.stream("/items?query=note=x", home.token) as stream:
        assert stream.next().type == "connected"
    home.collection("closed", "@request.auth.role = 'admin'")
    for token, status in ((None, 401), (home.register("curious")["access_token"], 403)):
        with pytest.raises(Refused) as refused:
            home.stream("/closed", token)
        assert refused.value.status == status


def test_a_key_for_one_collection_hears_of_no_other(home: House) -> None:
    for name in ("ones", "twos"):
        home.collection(name)
    body = {"name": "reader", "collections": ["ones"]}
    key = home.http.post("/api/v1/auth/api-keys", json=body).raise_for_status().json()["key"]
    with home.stream("", None, None, {"X-API-Key": key}) as stream:
        stream.next()
        home.create("twos", "x")
        made = home.create("ones", "x")
        home.http.patch("/api/v1/collections/twos", json={"list_rule": "@request.auth.id != ''"}).raise_for_status()
        assert stream.next().data["record_id"] == made["id"]
        assert stream.quiet(0.1)
    with pytest.raises(Refused) as refused:
        home.stream("/twos", None, None, {"X-API-Key": key})
    assert refused.value.status == 403
