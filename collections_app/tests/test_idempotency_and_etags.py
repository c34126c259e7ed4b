"""Requests that may be repeated, and changes that must not overwrite others'."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from collections_app.models import Event, IdempotencyKey
from collections_app.records import idempotency
from collections_app.tests.web import BATCH, Callers, get, nothing_changes, path
from core import clock

pytestmark = pytest.mark.engine

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


@pytest.fixture
def posts(make_collection: Any) -> str:
    make_collection("posts", title={"type": "text", "validation": {"max_length": 10}}, votes="integer",
                    slug={"type": "slug", "validation": {"unique": True}}, **OPEN)  # fmt: skip
    return path("posts")


@pytest.fixture
def client(callers: Callers) -> APIClient:
    return callers["stranger"]


def post(client: APIClient, url: str, body: Any, key: str = "k1", **headers: str) -> Any:
    return client.post(url, body, HTTP_IDEMPOTENCY_KEY=key, **headers)


# -- Idempotency-Key ----------------------------------------------------------------------------
def test_the_same_request_again_gets_the_same_answer_and_has_no_effect(posts: str, client: APIClient) -> None:
    first = post(client, posts, {"title": "x"})
    with nothing_changes():
        for body in ({"title": "x"}, {"data": {"title": "x"}}):
            again = post(client, posts, body)
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["Idempotency-Replayed"] == "true"
            assert again.headers["Content-Type"] == "application/json"
    assert "Idempotency-Replayed" not in first.headers
    assert client.get(posts).json()["total"] == 1


def test_the_same_key_with_another_request_is_refused(posts: str, client: APIClient, make_collection: Any) -> None:
    make_collection("other", title="text", **OPEN)
    post(client, posts, {"title": "x"})
    with nothing_changes():
        for url, body in (
            (posts, {"title": "y"}), (posts, {"title": "x", "votes": 1}), (path("other"), {"title": "x"}),
            (BATCH, {"requests": [{"method": "POST", "collection": "posts", "data": {"title": "x"}}]}),
            (f"{posts}/bulk-delete", {"record_ids": ["x"]}),
        ):  # fmt: skip
            refusal = post(client, url, body)
            assert (refusal.status_code, refusal.json()["error_code"]) == (422, "VALIDATION_ERROR"), url


def test_keys_belong_to_their_caller(posts: str, callers: Callers) -> None:
    answers = [post(callers[name], posts, {"title": "x"}).json()["id"] for name in ("stranger", "member", "anonymous")]
    elsewhere = post(callers["anonymous"], posts, {"title": "x"}, REMOTE_ADDR="10.1.2.3").json()["id"]
    assert len({*answers, elsewhere}) == 4
    assert post(callers["anonymous"], posts, {"title": "x"}, REMOTE_ADDR="10.1.2.3").json()["id"] == elsewhere
    assert len({row.caller for row in IdempotencyKey.objects.all()}) == 4


def test_a_failure_releases_the_key(posts: str, client: APIClient, callers: Callers) -> None:
    with nothing_changes():
        assert post(client, posts, {"title": "x" * 11}).status_code == 422
        assert post(client, posts, {"nothing": 1}).status_code == 422
        assert post(client, path("nothing"), {"title": "x"}).status_code == 404
        assert post(client, path("records"), {"title": "x"}).status_code == 403
        assert (
            post(client, BATCH, {"requests": [{"method": "DELETE", "collection": "posts", "id": "x"}]}).status_code
            == 404
        )
        assert post(client, f"{posts}?unknown=1", {"title": "x"}).status_code == 400
    client.post(posts, {"slug": "taken"})
    with nothing_changes():
        assert post(client, posts, {"slug": "taken"}).status_code == 409
    assert post(client, posts, {"title": "x"}).status_code == 201


def test_who_reads_the_table_cant_try_out_what_a_request_said(posts: str, client: APIClient, settings: Any) -> None:
    body = {"title": "x"}
    assert post(client, posts, body).status_code == 201
    kept = IdempotencyKey.objects.get().fingerprint
    assert kept == idempotency.fingerprint(posts, body)
    settings.SECRET_KEY = "another-" * 8
    assert kept != idempotency.fingerprint(posts, body)


def test_while_the_first_is_under_way_the_second_is_told_so(posts: str, client: APIClient, callers: Callers) -> None:
    stranger = f"users:{callers.id('stranger')}"
    request = idempotency.fingerprint(posts, {"title": "x"})
    claim = idempotency.claim(stranger, "k1", request)
    assert isinstance(claim, idempotency.Claim)
    with nothing_changes():
        assert post(client, posts, {"title": "x"}).status_code == 409
    claim.release()
    assert post(client, posts, {"title": "x"}).status_code == 201


def test_a_claim_whose_request_died_ends_by_itself(posts: str, client: APIClient, callers: Callers) -> None:
    stranger = f"users:{callers.id('stranger')}"
    idempotency.claim(stranger, "k1", idempotency.fingerprint(posts, {"title": "x"}))
    IdempotencyKey.objects.update(claimed_until=clock.now() - timedelta(seconds=1))
    first = post(client, posts, {"title": "x"})
    assert first.status_code == 201
    assert post(client, posts, {"title": "x"}).content == first.content


def test_a_key_is_kept_for_a_day(posts: str, client: APIClient) -> None:
    first = post(client, posts, {"title": "x"}).json()["id"]
    IdempotencyKey.objects.update(created=clock.now() - timedelta(hours=23, minutes=59))
    assert post(client, posts, {"title": "x"}).json()["id"] == first
    IdempotencyKey.objects.update(created=clock.now() - timedelta(hours=24, minutes=1))
    assert post(client, posts, {"title": "y"}).json()["id"] != first


def test_bulk_and_batch_can_be_repeated(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x", "votes": 0}).json()
    bulk = {"record_ids": [record["id"]], "data": {"votes+": 1}}
    batch = {"requests": [{"method": "PATCH", "collection": "posts", "id": record["id"], "data": {"votes+": 10}}]}
    for _ in range(3):
        assert post(client, f"{posts}/bulk-update", bulk, "a").json() == {"success": 1, "failed": 0, "errors": None}
        assert post(client, BATCH, batch, "b").json()["results"][0]["record"]["votes"] == 11
    assert client.get(f"{posts}/{record['id']}").json()["votes"] == 11
    delete = {"record_ids": [record["id"]]}
    for _ in range(2):
        assert post(client, f"{posts}/bulk-delete", delete, "c").json()["success"] == 1


def test_what_is_no_post_takes_no_key(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x", "votes": 0}).json()
    url = f"{posts}/{record['id']}"
    for votes in (1, 2):
        assert client.patch(url, {"votes+": 1}, HTTP_IDEMPOTENCY_KEY="k").json()["votes"] == votes
    assert not IdempotencyKey.objects.exists()


def test_parallel_repetitions_make_one_record(posts: str, callers: Callers) -> None:
    headers = callers["stranger"]._credentials
    answers: list[tuple[int, bytes]] = []
    start = threading.Barrier(6)

    def send() -> None:
        client = APIClient()
        client.credentials(**headers)
        start.wait()
        try:
            response = post(client, posts, {"title": "x"}, "same")
            answers.append((response.status_code, response.content))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert {status for status, _ in answers} <= {201, 409, 503}
    assert len({content for status, content in answers if status == 201}) == 1
    assert callers["admin"].get(posts).json()["total"] == 1
    assert Event.objects.filter(type="record.created").count() == 1


# -- ETag, If-None-Match, If-Match ----------------------------------------------------------------
def test_a_record_has_an_etag_that_changes_with_it(posts: str, client: APIClient) -> None:
    made = client.post(posts, {"title": "x"})
    url = f"{posts}/{made.json()['id']}"
    read = client.get(url)
    assert made.headers["ETag"] == read.headers["ETag"] == client.get(url).headers["ETag"]
    assert read.headers["ETag"].startswith('"') and read.headers["ETag"].endswith('"')
    seen = {read.headers["ETag"]}
    for _ in range(5):
        changed = client.patch(url, {"title": "x"})
        assert changed.headers["ETag"] == client.get(url).headers["ETag"]
        seen.add(changed.headers["ETag"])
    assert len(seen) == 6


def test_an_unchanged_record_is_304(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x"}).json()
    url = f"{posts}/{record['id']}"
    etag = client.get(url).headers["ETag"]
    for value in (etag, f"W/{etag}", f'"other", {etag}', f"{etag},"):
        answer = get(client, url, if_none_match=value)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag), value
    assert get(client, url, if_none_match="*").status_code == 304
    client.patch(url, {"title": "y"})
    assert get(client, url, if_none_match=etag).status_code == 200


def test_another_view_of_a_record_has_another_etag(posts: str, client: APIClient, callers: Callers) -> None:
    record = client.post(posts, {"title": "x"}).json()
    url = f"{posts}/{record['id']}"
    etags = {client.get(url + query).headers["ETag"] for query in ("", "?fields=title", "?fields=votes")}
    assert len(etags) == 3
    narrow = client.get(f"{url}?fields=title").headers["ETag"]
    assert get(client, f"{url}?fields=title", if_none_match=narrow).status_code == 304
    assert get(client, url, if_none_match=narrow).status_code == 200
    assert client.patch(url, {"title": "y"}, HTTP_IF_MATCH=narrow).status_code == 200


def test_an_etag_of_expanded_records_changes_with_them(make_collection: Any, records: Any, client: APIClient) -> None:
    make_collection("teams", name="text", **OPEN)
    make_collection("players", team={"type": "relation", "relation": {"collection_id": "teams"}}, **OPEN)
    team = records("teams").create(name="a")["id"]
    url = path("players", records("players").create(team=team)["id"]) + "?expand=team"
    etag = client.get(url).headers["ETag"]
    client.patch(path("teams", team), {"name": "b"})
    answer = get(client, url, if_none_match=etag)
    assert (answer.status_code, answer.json()["expand"]["team"]["name"]) == (200, "b")


def test_a_304_needs_the_right_to_view(posts: str, client: APIClient, callers: Callers) -> None:
    record = client.post(posts, {"title": "x"}).json()
    url = f"{posts}/{record['id']}"
    etag = client.get(url).headers["ETag"]
    callers["admin"].patch("/api/v1/collections/posts", {"view_rule": "title = 'y'"})
    assert get(client, url, if_none_match=etag).status_code == 404


def test_a_schema_change_makes_another_etag(posts: str, client: APIClient, callers: Callers) -> None:
    record = client.post(posts, {"title": "x"}).json()
    url = f"{posts}/{record['id']}"
    etag = client.get(url).headers["ETag"]
    schema = callers["admin"].get("/api/v1/collections/posts").json()["schema"]
    callers["admin"].patch("/api/v1/collections/posts", {"schema": [*schema, {"name": "more", "type": "text"}]})
    answer = get(client, url, if_none_match=etag)
    assert answer.status_code == 200 and "more" in answer.json()


def test_a_stale_change_is_412_and_a_fresh_one_goes_through(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x"}).json()
    url = f"{posts}/{record['id']}"
    stale = client.get(url).headers["ETag"]
    client.patch(url, {"title": "y"})
    fresh = client.get(url).headers["ETag"]
    with nothing_changes():
        for method in (client.patch, client.put, client.delete):
            refusal = method(url, {"title": "z"}, HTTP_IF_MATCH=stale)
            assert (refusal.status_code, refusal.json()["error_code"]) == (412, "PRECONDITION_FAILED")
    assert client.patch(url, {"title": "z"}, HTTP_IF_MATCH=f'"other", {fresh}').status_code == 200
    assert client.patch(url, {"title": "z"}, HTTP_IF_MATCH="*").status_code == 200
    assert client.delete(url, HTTP_IF_MATCH=client.get(url).headers["ETag"]).status_code == 204


def test_if_match_on_what_is_not_there_is_404(posts: str, client: APIClient) -> None:
    with nothing_changes():
        for method in (client.patch, client.delete):
            assert method(f"{posts}/nothing", {"title": "z"}, HTTP_IF_MATCH="*").status_code == 404


def test_if_match_tells_nothing_of_a_record_that_may_not_be_changed(
    posts: str, client: APIClient, callers: Callers
) -> None:
    record = client.post(posts, {"title": "x"}).json()
    url = f"{posts}/{record['id']}"
    etag = client.get(url).headers["ETag"]
    callers["admin"].patch("/api/v1/collections/posts", {"view_rule": "title = 'y'", "update_rule": "title = 'y'"})
    for value in (etag, '"stale"', "*"):
        assert client.patch(url, {"title": "z"}, HTTP_IF_MATCH=value).status_code == 404


def test_two_editors_never_overwrite_each_other(posts: str, callers: Callers) -> None:
    record = callers["admin"].post(posts, {"votes": 0}).json()
    url, rounds, lost = f"{posts}/{record['id']}", 12, []
    headers = callers["stranger"]._credentials

    def edit() -> None:
        client = APIClient()
        client.credentials(**headers)
        try:
            done = 0
            while done < rounds:
                read = client.get(url)
                body = {"votes": read.json()["votes"] + 1}
                answer = client.patch(url, body, HTTP_IF_MATCH=read.headers["ETag"])
                done += answer.status_code == 200
                if answer.status_code not in (200, 412, 503):
                    lost.append(answer.status_code)
                    return
        finally:
            connection.close()

    threads = [threading.Thread(target=edit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost
    assert callers["admin"].get(url).json()["votes"] == 2 * rounds
