"""Related records inside their parents: shapes, depth, and whose rules they come under."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from collections_app.tests.web import Callers, get, path

pytestmark = pytest.mark.engine

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


def relation(collection: str, **options: Any) -> Any:
    return {"type": "relation", "relation": {"collection_id": collection, **options}}


@pytest.fixture
def ids(make_collection: Any, records: Any, callers: Callers) -> dict[str, str]:
    make_collection("users_", name="text", boss=relation("users_"), **OPEN)
    make_collection("tags", name="text", secret={"type": "text", "hidden": True}, **OPEN)
    make_collection(
        "posts", title="text", author=relation("users_"), tags=relation("tags", type="many-to-many"),
        cover=relation("tags", type="one-to-one"), **OPEN,
    )  # fmt: skip
    make_collection("comments", text="text", public="bool", post=relation("posts"), by=relation("users_"),
                    **{**OPEN, "list_rule": "public = true", "view_rule": "public = true"})  # fmt: skip
    make_collection("mentions", post=relation("posts", type="many-to-many"), **OPEN)
    made: dict[str, str] = {}

    def new(key: str, collection: str, **data: Any) -> None:
        made[key] = records(collection).create(**data)["id"]

    new("boss", "users_", name="boss")
    new("ann", "users_", name="ann", boss=made["boss"])
    new("red", "tags", name="red", secret="s")
    new("blue", "tags", name="blue")
    new("post", "posts", title="p", author=made["ann"], tags=[made["red"], made["blue"]], cover=made["red"])
    new("bare", "posts", title="bare")
    new("open", "comments", text="open", public=True, post=made["post"], by=made["boss"])
    new("closed", "comments", text="closed", public=False, post=made["post"])
    new("mention", "mentions", post=[made["bare"], made["post"]])
    return made


@pytest.fixture
def client(callers: Callers) -> APIClient:
    return callers["stranger"]


def expanded(client: APIClient, url: str, expand: str) -> Any:
    response = client.get(f"{url}?expand={expand}")
    assert response.status_code == 200, response.json()
    return response.json().get("expand")


def test_a_to_one_relation_is_an_object_and_a_to_many_a_list_in_order(ids: dict[str, str], client: APIClient) -> None:
    found = expanded(client, path("posts", ids["post"]), "author,tags,cover")
    assert found["author"] == client.get(path("users_", ids["ann"])).json()
    assert [tag["name"] for tag in found["tags"]] == ["red", "blue"]
    assert found["cover"]["name"] == "red" and "secret" not in found["cover"]
    client.patch(path("posts", ids["post"]), {"tags": [ids["blue"], ids["red"]]})
    assert [tag["name"] for tag in expanded(client, path("posts", ids["post"]), "tags")["tags"]] == ["blue", "red"]


def test_nothing_to_expand_leaves_no_expand(ids: dict[str, str], client: APIClient) -> None:
    assert "expand" not in client.get(path("posts", ids["bare"]) + "?expand=author,tags,cover,comments_via_post").json()


def test_it_goes_as_deep_as_asked(ids: dict[str, str], client: APIClient) -> None:
    found = expanded(client, path("comments", ids["open"]), "post.author.boss,post.tags,by")
    assert found["post"]["expand"]["author"]["expand"]["boss"]["name"] == "boss"
    assert [tag["name"] for tag in found["post"]["expand"]["tags"]] == ["red", "blue"]
    assert found["by"]["name"] == "boss"
    assert "expand" not in found["by"]


def test_back_relations_are_lists_under_the_rule_of_where_they_live(
    ids: dict[str, str], client: APIClient, callers: Callers
) -> None:
    url = path("posts", ids["post"])
    assert [c["text"] for c in expanded(client, url, "comments_via_post")["comments_via_post"]] == ["open"]
    assert {c["text"] for c in expanded(callers["admin"], url, "comments_via_post")["comments_via_post"]} == {
        "open",
        "closed",
    }
    assert [m["id"] for m in expanded(client, url, "mentions_via_post")["mentions_via_post"]] == [ids["mention"]]
    found = expanded(client, path("users_", ids["boss"]), "users__via_boss.posts_via_author.comments_via_post.by")
    (ann,) = found["users__via_boss"]
    (post,) = ann["expand"]["posts_via_author"]
    assert [c["expand"]["by"]["name"] for c in post["expand"]["comments_via_post"]] == ["boss"]


def test_a_list_expands_every_record(ids: dict[str, str], client: APIClient) -> None:
    items = client.get(f"{path('posts')}?expand=author,comments_via_post.by&sort=title").json()["items"]
    assert [item["title"] for item in items] == ["bare", "p"]
    assert "expand" not in items[0] and set(items[1]["expand"]) == {"author", "comments_via_post"}


def test_a_cursor_page_expands_too(ids: dict[str, str], client: APIClient) -> None:
    items = client.get(f"{path('posts')}?expand=author&cursor=").json()["items"]
    assert [item["expand"]["author"]["name"] for item in items if "expand" in item] == ["ann"]


def test_fields_choose_inside_of_expanded_records(ids: dict[str, str], client: APIClient) -> None:
    url = f"{path('posts', ids['post'])}?expand=author.boss,tags"
    for fields, shown in {
        "title,expand.author.name": {"title": "p", "expand": {"author": {"name": "ann"}}},
        "expand.tags.name": {"expand": {"tags": [{"name": "red"}, {"name": "blue"}]}},
        "id,expand.author.expand.boss.name": {
            "id": ids["post"], "expand": {"author": {"expand": {"boss": {"name": "boss"}}}},
        },
    }.items():  # fmt: skip
        assert get(client, f"{url}&fields={fields}").json() == shown, fields
    whole = get(client, f"{url}&fields=*,expand.tags.name").json()
    assert whole["title"] == "p" and whole["expand"] == {"tags": [{"name": "red"}, {"name": "blue"}]}
    everything = get(client, f"{url}&fields=title,expand").json()
    assert set(everything) == {"title", "expand"} and set(everything["expand"]) == {"author", "tags"}
    assert everything["expand"] == client.get(url).json()["expand"]
    assert get(client, f"{url}&fields=title").json() == {"title": "p"}


def test_fields_and_expand_work_without_the_relation_among_the_fields(ids: dict[str, str], client: APIClient) -> None:
    items = get(client, f"{path('posts')}?expand=author,tags&fields=title,expand.author.name&sort=-title").json()[
        "items"
    ]
    assert items[0] == {"title": "p", "expand": {"author": {"name": "ann"}}}


def test_a_relation_to_itself_ends_where_it_is_told(ids: dict[str, str], client: APIClient) -> None:
    client.patch(path("users_", ids["boss"]), {"boss": ids["boss"]})
    found = expanded(client, path("users_", ids["boss"]), "boss.boss.boss")
    assert "expand" not in found["boss"]["expand"]["boss"]["expand"]["boss"]


def test_the_same_record_under_two_parents_is_whole_in_both(
    ids: dict[str, str], client: APIClient, records: Any
) -> None:
    records("posts").create(title="other", author=ids["ann"])
    items = client.get(f"{path('posts')}?expand=author.boss&filter=author!=''").json()["items"]
    assert [item["expand"]["author"]["expand"]["boss"]["name"] for item in items] == ["boss", "boss"]


def test_each_of_many_parents_gets_what_is_its_own(ids: dict[str, str], client: APIClient, records: Any) -> None:
    for number in range(30):
        post = records("posts").create(title=f"t{number}", author=ids["ann"])["id"]
        records("comments").create(text="c", public=True, post=post, by=ids["boss"])
    items = client.get(f"{path('posts')}?expand=author.boss,comments_via_post.by&filter=title~t").json()["items"]
    assert len(items) == 30
    assert all(len(item["expand"]["comments_via_post"]) == 1 for item in items)


def test_an_answer_that_would_multiply_without_end_is_refused(
    ids: dict[str, str], client: APIClient, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few records can show each other very often: what counts is what would be written out."""
    for _ in range(20):
        records("posts").create(author=ids["boss"])
    url = path("users_", ids["boss"])
    once = "posts_via_author.author"
    assert len(expanded(client, url, once)["posts_via_author"]) == 20
    deep = ".".join([once] * 3)
    assert client.get(f"{url}?expand={deep}").status_code == 200  # 20 + 20² + 20³, and as many authors
    monkeypatch.setattr("collections_app.records.expand.MAX_SHOWN", 10_000)
    refusal = client.get(f"{url}?expand={deep}")
    assert (refusal.status_code, refusal.json()["message"].partition(":")[0]) == (400, "expand")
