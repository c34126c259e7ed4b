"""Webhooks over the API: made, changed, ended; by admins, of collections that there are."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import api_keys
from accounts.principals import SYSTEM
from collections_app import events
from collections_app.models import Collection
from collections_app.schema import registry, service
from collections_app.tests.threads import at_once
from core import background, clock, routes, secret_box
from webhooks import planning, selectors, services
from webhooks.models import Delivery, Webhook
from webhooks.tests.receivers import Reply

WEBHOOKS = "/api/v1/webhooks"
KEYS = {"id", "url", "collection_name", "events", "active", "retry_count", "created", "updated", "has_secret", "ended"}
BODY = {
    "url": "https://myapp.example.com/api/webhook",
    "collection_name": "posts",
    "events": ["create", "update"],
    "secret": "myWebhookSecret123",
    "retry_count": 3,
}

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def posts(make_collection: Any) -> Any:
    return make_collection("posts", title="text")


@pytest.fixture
def client(admin: Any, as_user: Any) -> APIClient:
    found: APIClient = as_user(admin)
    return found


def made(client: APIClient, **fields: Any) -> dict[str, Any]:
    answer = client.post(WEBHOOKS, {**BODY, **fields})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def state() -> list[Any]:
    return [*Webhook.objects.order_by("pk").values(), *Delivery.objects.order_by("pk").values()]


def add_delivery(webhook: str, event_id: int, **fields: Any) -> Delivery:
    return Delivery.objects.create(
        webhook_id=webhook, event_id=event_id, **{"event": "create", "record_id": "r1", **fields}
    )


class TestMaking:
    def test_answers_what_was_asked_for_and_never_the_secret(self, client):
        answer = client.post(WEBHOOKS, BODY)
        assert answer.status_code == 201 and answer["Cache-Control"] == "no-store"
        body = answer.json()
        assert set(body) == KEYS and body["active"] is True and body["has_secret"] is True and body["ended"] is None
        assert {name: body[name] for name in BODY if name != "secret"} == {
            k: v for k, v in BODY.items() if k != "secret"
        }
        assert uuid.UUID(body["id"]) and body["created"].endswith("Z")
        for seen in (answer, client.get(f"{WEBHOOKS}/{body['id']}"), client.get(WEBHOOKS)):
            assert BODY["secret"] not in seen.content.decode()
        assert client.get(f"{WEBHOOKS}/{body['id']}").json() == body

    def test_keeps_the_secret_encrypted(self, client):
        made(client)
        kept = Webhook.objects.get().secret
        assert BODY["secret"] not in str(state()) and secret_box.unseal(kept) == BODY["secret"]

    def test_needs_an_address_a_collection_and_events_only(self, client):
        body = made(client, secret=None)
        assert body["has_secret"] is False
        least = {name: BODY[name] for name in ("url", "collection_name", "events")}
        body = client.post(WEBHOOKS, least).json()
        assert (body["retry_count"], body["active"], body["has_secret"]) == (3, True, False)

    def test_takes_each_event_once_and_the_collection_by_its_id(self, client, posts):
        body = made(client, events=["update", "create", "update"], collection_name=posts.id)
        assert body["events"] == ["update", "create"] and body["collection_name"] == "posts"

    def test_makes_a_secret_that_only_the_answer_shows(self, client):
        body = {name: value for name, value in BODY.items() if name != "secret"}
        answer = client.post(WEBHOOKS, {**body, "generate_secret": True}).json()
        assert set(answer) == KEYS | {"secret"} and answer["secret"].startswith("whsec_")
        assert secret_box.unseal(Webhook.objects.get().secret) == answer["secret"]
        assert answer["secret"] not in client.get(f"{WEBHOOKS}/{answer['id']}").content.decode()

    def test_is_told_of_nothing_that_was_before(self, client, records):
        records("posts").create(title="before")
        made(client)
        assert Webhook.objects.get().after_event == events.settled_id() > 0

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"url": None}, "url"),
            ({"url": ""}, "url"),
            ({"url": 5}, "url"),
            ({"url": "myapp.example.com/hook"}, "url"),
            ({"url": "ftp://myapp.example.com/"}, "url"),
            ({"url": "http://127.0.0.1/hook"}, "url"),
            ({"url": "https://example.com/" + "x" * 2000}, "url"),
            ({"collection_name": "nope"}, "collection_name"),
            ({"collection_name": ""}, "collection_name"),
            ({"collection_name": ["posts"]}, "collection_name"),
            ({"collection_name": "x" * 101}, "collection_name"),
            ({"events": []}, "events"),
            ({"events": "create"}, "events"),
            ({"events": ["create", "drop"]}, "events"),
            ({"events": [["create"]]}, "events"),
            ({"events": {"create": 1}}, "events"),
            ({"events": None}, "events"),
            ({"secret": ""}, "secret"),
            ({"secret": "x" * 201}, "secret"),
            ({"secret": "new\nline"}, "secret"),
            ({"secret": 12345678}, "secret"),
            ({"secret": "both", "generate_secret": True}, "generate_secret"),
            ({"retry_count": 6}, "retry_count"),
            ({"retry_count": -1}, "retry_count"),
            ({"retry_count": "many"}, "retry_count"),
            ({"retry_count": True}, "retry_count"),
            ({"id": "mine"}, "id"),
            ({"ended": "gone"}, "ended"),
            ({"after_event": 0}, "after_event"),
        ],
    )
    def test_refuses_bad_values(self, client, changed, field):
        answer = client.post(WEBHOOKS, {**BODY, **changed})
        assert answer.status_code == 422 and set(answer.json()["fields"]) == {field}, answer.content
        assert not Webhook.objects.exists()

    def test_tells_all_problems_at_once(self, client):
        answer = client.post(WEBHOOKS, {"retry_count": 9, "secret": "", "extra": 1})
        assert set(answer.json()["fields"]) == {"url", "collection_name", "events", "retry_count", "secret", "extra"}

    @pytest.mark.parametrize("raw", [b'{"url": "\\u0000"}', b'{"url": "\\ud800"}', b"{", b"\xff", b"[]", b'"x"'])
    def test_refuses_what_no_database_can_hold(self, client, raw):
        answer = client.post(WEBHOOKS, raw, content_type="application/json")
        assert answer.status_code in (400, 422) and not Webhook.objects.exists()

    def test_refuses_views(self, client, posts):
        Collection.objects.filter(pk=posts.id).update(type="view", view_query="SELECT 1 AS id")
        registry.forget()
        answer = client.post(WEBHOOKS, BODY)
        assert answer.status_code == 422 and set(answer.json()["fields"]) == {"collection_name"}
        assert not Webhook.objects.exists()

    def test_stops_at_a_thousand(self, client, posts, monkeypatch):
        monkeypatch.setattr(services, "MOST", 2)
        made(client)
        made(client)
        before = state()
        assert client.post(WEBHOOKS, BODY).status_code == 409 and state() == before

    def test_takes_a_form_too(self, client):
        form = "url=https%3A%2F%2Fexample.com%2F&collection_name=posts&events=create&events=delete&retry_count=1"
        answer = client.post(WEBHOOKS, form, content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 201 and answer.json()["events"] == ["create", "delete"]


class TestListing:
    def test_is_by_collection_and_by_whether_it_is_active(self, client, make_collection):
        make_collection("notes")
        first, second = made(client), made(client, collection_name="notes")
        client.patch(f"{WEBHOOKS}/{second['id']}", {"active": False})

        def ids(query: str) -> list[str]:
            body = client.get(f"{WEBHOOKS}?{query}").json()
            assert body["total"] == len(body["items"])
            return [item["id"] for item in body["items"]]

        assert ids("") == [first["id"], second["id"]]
        assert ids("collection_name=posts") == ids("active=true") == [first["id"]]
        assert ids("collection_name=notes") == ids("active=false") == [second["id"]]
        assert ids("collection_name=notes&active=true") == ids("collection_name=nope") == []

    def test_has_pages(self, client):
        ids = [made(client)["id"] for _ in range(3)]
        body = client.get(f"{WEBHOOKS}?page=2&per_page=2").json()
        assert [item["id"] for item in body.pop("items")] == ids[2:]
        assert body == {"total": 3, "page": 2, "per_page": 2, "total_pages": 2}

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("collection=posts", 400),
            ("page=1&page=2", 400),
            ("collection_name=%00", 400),
            ("collection_name=%ff", 400),
            ("per_page=0", 422),
            ("per_page=501", 422),
            ("page=x", 422),
            ("active=perhaps", 422),
            (f"collection_name={'x' * 101}", 422),
        ],
    )
    def test_refuses_bad_parameters(self, client, query, status):
        assert client.get(f"{WEBHOOKS}?{query}").status_code == status

    def test_follows_the_collection(self, client, posts):
        webhook = made(client)
        service.collection_update(actor=SYSTEM, name_or_id="posts", payload={"name": "articles"})
        assert client.get(f"{WEBHOOKS}/{webhook['id']}").json()["collection_name"] == "articles"
        assert client.get(f"{WEBHOOKS}?collection_name=articles").json()["total"] == 1
        assert client.get(f"{WEBHOOKS}?collection_name=posts").json()["total"] == 0
        service.collection_delete(actor=SYSTEM, name_or_id="articles")
        assert client.get(WEBHOOKS).json()["items"] == []
        for answer in (
            client.get(f"{WEBHOOKS}/{webhook['id']}"),
            client.patch(f"{WEBHOOKS}/{webhook['id']}", {"active": False}),
            client.post(f"{WEBHOOKS}/{webhook['id']}/test"),
            client.get(f"{WEBHOOKS}/{webhook['id']}/deliveries"),
            client.delete(f"{WEBHOOKS}/{webhook['id']}"),
        ):
            assert answer.status_code == 404


class TestChanging:
    def test_leaves_what_is_left_out(self, client):
        before = made(client)
        address = f"{WEBHOOKS}/{before['id']}"
        for change in (
            {"url": "https://new-url.example.com/webhook"},
            {"events": ["create"]},
            {"active": False},
            {"retry_count": 5},
            {},
        ):
            answer = client.patch(address, change)
            assert answer.status_code == 200, answer.content
            expected = {**before, **change, "updated": answer.json()["updated"]}
            assert answer.json() == expected == client.get(address).json()
            assert answer.json()["updated"] > before["updated"]
            before = expected

    @pytest.mark.parametrize(
        "change",
        [
            {"url": "http://10.0.0.1/"},
            {"url": None},
            {"events": []},
            {"events": ["created"]},
            {"active": "perhaps"},
            {"active": None},
            {"secret": ""},
            {"retry_count": 6},
            {"retry_count": None},
            {"collection_name": "posts"},
            {"generate_secret": True},
            {"ended": None},
            {"url": "https://example.com/", "retry_count": 6},
        ],
    )
    def test_refuses_bad_values(self, client, change):
        webhook = made(client)
        before = state()
        answer = client.patch(f"{WEBHOOKS}/{webhook['id']}", change)
        assert answer.status_code == 422 and state() == before

    def test_a_new_secret_keeps_the_one_before_for_a_day(self, client):
        address = f"{WEBHOOKS}/{made(client)['id']}"
        answer = client.patch(address, {"secret": "another"})
        assert answer.status_code == 200 and "another" not in answer.content.decode()
        webhook = Webhook.objects.get()
        assert secret_box.unseal(webhook.secret) == "another"
        assert secret_box.unseal(webhook.previous_secret) == BODY["secret"]
        left = webhook.previous_secret_until - clock.now()
        assert timedelta(hours=23) < left <= timedelta(hours=24)
        client.patch(address, {"secret": "another"})  # which it is already
        again = Webhook.objects.get()
        assert secret_box.unseal(again.previous_secret) == BODY["secret"]
        assert again.previous_secret_until == webhook.previous_secret_until
        client.patch(address, {"url": "https://example.com/elsewhere"})
        assert secret_box.unseal(Webhook.objects.get().secret) == "another"

    def test_null_takes_the_secret_away(self, client):
        address = f"{WEBHOOKS}/{made(client)['id']}"
        client.patch(address, {"secret": "another"})
        assert client.patch(address, {"secret": None}).json()["has_secret"] is False
        webhook = Webhook.objects.get()
        assert (webhook.secret, webhook.previous_secret, webhook.previous_secret_until) == ("", "", None)

    def test_rotating_makes_a_secret_that_is_shown_once(self, client):
        address = f"{WEBHOOKS}/{made(client)['id']}"
        answer = client.post(f"{address}/rotate_secret").json()
        assert set(answer) == {"secret", "previous_valid_until"} and answer["secret"].startswith("whsec_")
        webhook = Webhook.objects.get()
        assert secret_box.unseal(webhook.secret) == answer["secret"]
        assert secret_box.unseal(webhook.previous_secret) == BODY["secret"]
        assert answer["previous_valid_until"] == clock.isoformat(webhook.previous_secret_until)
        assert answer["secret"] not in client.get(address).content.decode()
        plain = f"{WEBHOOKS}/{made(client, secret=None)['id']}"
        assert client.post(f"{plain}/rotate_secret").json()["previous_valid_until"] is None

    def test_switched_on_again_it_is_told_at_once_of_what_waits(self, client):
        webhook = made(client)
        later = clock.now() + timedelta(minutes=50)
        waiting = add_delivery(webhook["id"], 1, next_attempt_at=later)
        given_up = add_delivery(webhook["id"], 2, status="failed", next_attempt_at=None)
        Webhook.objects.update(active=False, ended="failed")
        assert client.get(f"{WEBHOOKS}/{webhook['id']}").json()["ended"] == "failed"
        answer = client.patch(f"{WEBHOOKS}/{webhook['id']}", {"active": True}).json()
        assert answer["active"] is True and answer["ended"] is None
        waiting.refresh_from_db()
        given_up.refresh_from_db()
        assert waiting.next_attempt_at <= clock.now() and given_up.status == "failed"

    def test_ending_it_ends_its_deliveries(self, client):
        first, second = made(client), made(client)
        add_delivery(first["id"], 1)
        kept = add_delivery(second["id"], 1)
        answer = client.delete(f"{WEBHOOKS}/{first['id']}")
        assert answer.status_code == 204 and answer.content == b""
        assert client.get(f"{WEBHOOKS}/{first['id']}").status_code == 404
        assert client.delete(f"{WEBHOOKS}/{first['id']}").status_code == 404
        assert list(Delivery.objects.all()) == [kept]


class TestDeliveries:
    def test_are_listed_the_newest_first(self, client):
        webhook = made(client)
        ok = add_delivery(webhook["id"], 7, status="delivered", response_status=200, attempt=1, next_attempt_at=None)
        bad = add_delivery(webhook["id"], 8, event="delete", attempt=1, response_status=500, error="500 it said")
        add_delivery(made(client)["id"], 7)
        body = client.get(f"{WEBHOOKS}/{webhook['id']}/deliveries").json()
        assert body["total"] == 2 and body["items"] == [
            {
                "id": bad.pk,
                "event_id": 8,
                "event": "delete",
                "status": "pending",
                "attempt": 1,
                "response_status": 500,
                "error": "500 it said",
                "next_attempt_at": clock.isoformat(bad.next_attempt_at),
                "created": clock.isoformat(bad.created),
            },
            {
                "id": ok.pk,
                "event_id": 7,
                "event": "create",
                "status": "delivered",
                "attempt": 1,
                "response_status": 200,
                "error": None,
                "next_attempt_at": None,
                "created": clock.isoformat(ok.created),
            },
        ]

    def test_are_filtered_and_have_pages(self, client):
        webhook = made(client)
        old = add_delivery(webhook["id"], 1, created=clock.now() - timedelta(days=2), status="failed")
        new = add_delivery(webhook["id"], 2, event="update", status="sending")
        address = f"{WEBHOOKS}/{webhook['id']}/deliveries"

        def ids(query: str) -> list[int]:
            return [item["id"] for item in client.get(f"{address}?{query}").json()["items"]]

        yesterday = clock.isoformat(clock.now() - timedelta(days=1))
        assert ids("") == [new.pk, old.pk]
        assert ids("status=failed") == ids("event=create") == ids("per_page=1&page=2") == [old.pk]
        assert ids(f"since={yesterday}") == ids("status=sending&event=update") == [new.pk]
        assert ids("event=test") == ids("status=delivered") == []
        for query, status in (("state=x", 400), ("status=lost", 422), ("event=drop", 422), ("since=soon", 422)):
            assert client.get(f"{address}?{query}").status_code == status

    @pytest.mark.parametrize("delivery", ["0", "-1", "x", "1" * 30, "9" * 19, "٣", "1.0", "%00", "%ff"])
    def test_unknown_ones_are_404(self, client, delivery):
        webhook = made(client)
        foreign = add_delivery(made(client)["id"], 1)
        before = state()
        for one in (delivery, str(foreign.pk)):
            address = f"{WEBHOOKS}/{webhook['id']}/deliveries/{one}"
            assert client.get(address).status_code == 404
            assert client.post(f"{address}/replay").status_code == 404
        assert state() == before


class TestSendingAgain:
    @pytest.fixture
    def webhook(self, client, records) -> str:
        """One that has been told of two records."""
        webhook = made(client)["id"]
        records("posts").create(title="one")
        records("posts").create(title="two")
        planning.make_deliveries()
        Delivery.objects.update(status="delivered", attempt=1, response_status=200, next_attempt_at=None)
        return str(webhook)

    def test_is_a_delivery_of_its_own(self, client, webhook):
        first = Delivery.objects.order_by("pk")[0]
        answer = client.post(f"{WEBHOOKS}/{webhook}/deliveries/{first.pk}/replay")
        assert answer.status_code == 200
        again = answer.json()
        assert (again["event_id"], again["status"], again["attempt"]) == (first.event_id, "pending", 0)
        assert again["id"] != first.pk and Delivery.objects.count() == 3
        assert again["payload"]["data"]["title"] == "one" and again["payload"]["event"] == "create"
        assert client.get(f"{WEBHOOKS}/{webhook}/deliveries/{again['id']}").json() == again

    def test_is_for_all_that_happened_since_a_moment(self, client, webhook):
        address = f"{WEBHOOKS}/{webhook}/replay"
        later = clock.isoformat(clock.now() + timedelta(minutes=1))
        assert client.post(address, {"since": later}).json() == {"count": 0}
        assert client.post(address, {"since": "2020-01-01T00:00:00+02:00"}).json() == {"count": 2}
        assert Delivery.objects.filter(status="pending").count() == 2

    @pytest.mark.parametrize("body", [{}, {"since": None}, {"since": "soon"}, {"since": 5}, {"from": "2020-01-01"}])
    def test_needs_a_moment(self, client, webhook, body):
        before = state()
        assert client.post(f"{WEBHOOKS}/{webhook}/replay", body).status_code == 422 and state() == before

    @pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
    def test_takes_any_moment_that_there_is(self, client, webhook, moment):
        assert client.post(f"{WEBHOOKS}/{webhook}/replay", {"since": moment}).status_code in (200, 422)
        query = {"since": moment}
        assert client.get(f"{WEBHOOKS}/{webhook}/deliveries", query).status_code in (200, 422)

    def test_is_a_conflict_where_nothing_can_be_sent(self, client, webhook):
        test = add_delivery(webhook, 0, event="test", status="delivered", next_attempt_at=None)
        first = Delivery.objects.order_by("pk")[0]
        before = state()
        refused = [client.post(f"{WEBHOOKS}/{webhook}/deliveries/{test.pk}/replay")]
        assert state() == before
        client.patch(f"{WEBHOOKS}/{webhook}", {"active": False})
        before = state()
        refused += [
            client.post(f"{WEBHOOKS}/{webhook}/deliveries/{first.pk}/replay"),
            client.post(f"{WEBHOOKS}/{webhook}/replay", {"since": "2020-01-01T00:00:00Z"}),
        ]
        assert [answer.status_code for answer in refused] == [409] * 3 and state() == before

    def test_what_the_log_has_no_more_is_shown_without_what_was_sent(self, client, webhook):
        lost = add_delivery(webhook, 10**6, status="delivered", next_attempt_at=None)
        address = f"{WEBHOOKS}/{webhook}/deliveries/{lost.pk}"
        assert client.get(address).json()["payload"] is None
        assert client.post(f"{address}/replay").status_code == 409
        assert Delivery.objects.count() == 3

    def test_bodies_that_nobody_asked_for_are_refused(self, client, webhook):
        first = Delivery.objects.order_by("pk")[0]
        before = state()
        for action in ("test", "rotate_secret", f"deliveries/{first.pk}/replay"):
            assert client.post(f"{WEBHOOKS}/{webhook}/{action}", {"force": True}).status_code == 422
            assert client.post(f"{WEBHOOKS}/{webhook}/{action}?force=true").status_code == 400
        assert state() == before


class TestTheTest:
    def test_is_one_attempt_and_tells_what_came_of_it(self, client, receiver):
        webhook = made(client, url=receiver.url)["id"]
        receiver.answer = lambda taken: Reply(503, body="später".encode())
        told = client.post(f"{WEBHOOKS}/{webhook}/test").json()
        assert (told["event"], told["event_id"], told["record_id"]) == ("test", None, None)
        assert (told["status"], told["attempt"], told["response_status"]) == ("failed", 1, 503)
        assert told["response_body"] == "später" and told["next_attempt_at"] is None and told["finished"]
        assert told["payload"] == receiver.taken[0].json and len(receiver.taken) == 1
        assert client.get(f"{WEBHOOKS}/{webhook}").json()["active"] is True
        [listed] = client.get(f"{WEBHOOKS}/{webhook}/deliveries?event=test").json()["items"]
        assert listed["id"] == told["id"] and "response_body" not in listed

    def test_goes_to_one_that_is_switched_off_too(self, client, receiver):
        webhook = made(client, url=receiver.url)["id"]
        client.patch(f"{WEBHOOKS}/{webhook}", {"active": False})
        assert client.post(f"{WEBHOOKS}/{webhook}/test").json()["status"] == "delivered"
        assert client.get(f"{WEBHOOKS}/{webhook}").json()["active"] is False

    def test_of_one_that_is_deleted_meanwhile_is_404(self, client, receiver):
        webhook, other = made(client, url=receiver.url)["id"], made(client)["id"]
        receiver.answer = lambda taken: (at_once(partial(services.webhook_delete, webhook)), Reply())[1]
        assert client.post(f"{WEBHOOKS}/{webhook}/test").status_code == 404
        assert len(receiver.taken) == 1 and Webhook.objects.get().pk == uuid.UUID(other)
        assert not Delivery.objects.exists()

    def test_of_one_that_was_deleted_just_before_is_404(self, client, receiver, monkeypatch):
        webhook = made(client, url=receiver.url)["id"]
        find = selectors.webhook

        def find_and_delete(webhook_id):
            found = find(webhook_id)
            Webhook.objects.filter(pk=found.pk).delete()
            return found

        monkeypatch.setattr(selectors, "webhook", find_and_delete)
        answer = client.post(f"{WEBHOOKS}/{webhook}/test")
        assert answer.status_code == 404 and not receiver.taken and not Delivery.objects.exists()

    def test_is_cut_off_when_the_server_ends(self, client, receiver, monkeypatch):
        webhook = made(client, url=receiver.url)["id"]
        go = threading.Event()
        receiver.answer = lambda taken: (go.wait(60), Reply())[1]  # it would be a timeout before that
        monkeypatch.setattr(background.worker, "is_ending", True)
        told = client.post(f"{WEBHOOKS}/{webhook}/test").json()
        go.set()
        assert (told["status"], told["response_status"], told["error"]) == ("failed", None, "cut off")
        assert Delivery.objects.get().status == "failed"


@pytest.mark.parametrize("webhook_id", ["nonsense", str(uuid.uuid4()), "%00", "%ff", "x" * 200])
def test_unknown_webhooks_are_404(client, webhook_id):
    made(client)
    before = state()
    address = f"{WEBHOOKS}/{webhook_id}"
    for answer in (
        client.get(address),
        client.patch(address, {"active": False}),
        client.patch(address, {"url": "https://example.com/"}),
        client.delete(address),
        client.get(f"{address}/deliveries"),
        client.get(f"{address}/deliveries/1"),
        *(client.post(f"{address}/{action}") for action in ("rotate_secret", "test", "deliveries/1/replay")),
        client.post(f"{address}/replay", {"since": "2026-01-01T00:00:00Z"}),
    ):
        assert answer.status_code == 404, answer.content
    assert state() == before


def everything(client: APIClient, webhook: str, delivery: int) -> list[Any]:
    own = f"{WEBHOOKS}/{webhook}"
    return [
        client.get(WEBHOOKS),
        client.get(own),
        client.get(f"{own}/deliveries"),
        client.get(f"{own}/deliveries/{delivery}"),
        client.post(WEBHOOKS, BODY),
        client.patch(own, {"active": False}),
        client.post(f"{own}/rotate_secret"),
        client.post(f"{own}/test"),
        client.post(f"{own}/replay", {"since": "2020-01-01T00:00:00Z"}),
        client.post(f"{own}/deliveries/{delivery}/replay"),
        client.delete(own),
    ]


def test_all_of_it_is_for_admins_only(client, admin, member, as_user, anonymous):
    webhook = made(client)["id"]
    delivery = add_delivery(webhook, 1).pk
    _, limited = api_keys.make(admin, name="limited", access="write", collection_ids=["x"])
    _, reading = api_keys.make(admin, name="reading", access="read")
    before = state()
    for caller, status in ((as_user(member), 403), (anonymous, 401)):
        assert {answer.status_code for answer in everything(caller, webhook, delivery)} == {status}
        assert {answer.status_code for answer in everything(caller, "nonsense", 0)} == {status}
    by_key = APIClient()
    by_key.credentials(HTTP_X_API_KEY=limited)
    assert {answer.status_code for answer in everything(by_key, webhook, delivery)} == {403}
    by_key.credentials(HTTP_X_API_KEY=reading)
    assert [answer.status_code for answer in everything(by_key, webhook, delivery)] == [200] * 4 + [403] * 7
    assert state() == before


def test_a_method_that_there_is_not_is_405(client):
    own = f"{WEBHOOKS}/{made(client)['id']}"
    for path in (f"{own}/deliveries?status=failed", f"{own}/deliveries/1"):
        assert client.post(path).status_code == client.delete(path).status_code == 405
    assert client.put(own, BODY).status_code == client.get(f"{own}/test").status_code == 405
    assert client.post(f"{WEBHOOKS}?page=1", BODY).status_code == 400 and Webhook.objects.count() == 1


def test_a_slash_at_the_end_is_as_good_as_none(client):
    webhook = made(client)["id"]
    for path in (f"{WEBHOOKS}/", f"{WEBHOOKS}/{webhook}/", f"{WEBHOOKS}/{webhook}/deliveries/"):
        assert client.get(path).status_code == 200
    assert client.post(f"{WEBHOOKS}/", BODY).status_code == 201


def test_who_waits_for_a_receiver_holds_up_nobody_else():
    assert routes.declared(f"{WEBHOOKS}/{uuid.uuid4()}/test", "crew") == "outgoing"


def test_a_browser_gets_pages_without_secrets(client):
    webhook = made(client)["id"]
    for path in (WEBHOOKS, f"{WEBHOOKS}/{webhook}", f"{WEBHOOKS}/{webhook}/deliveries"):
        page = client.get(path, HTTP_ACCEPT="text/html")
        assert page.status_code == 200 and "myWebhookSecret123" not in page.content.decode()
    refused = client.post(WEBHOOKS, {**BODY, "retry_count": 9}, HTTP_ACCEPT="text/html")
    assert refused.status_code == 422 and "myWebhookSecret123" not in refused.content.decode()
    assert Webhook.objects.count() == 1
