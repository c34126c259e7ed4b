"""Record events over a WebSocket: what clients say, what they are told, and where it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from tests.wire_house import House, Socket, house

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("socket"), WEBSOCKET_MAX_BYTES="200000") as running:
        running.collection("posts")
        running.collection("notes")
        running.collection("private", "@request.auth.id != ''")
        yield running
        assert "Traceback" not in running.log and "ERROR" not in running.log


@pytest.fixture
def socket(home: House) -> Iterator[Socket]:
    """Of nobody, greeted."""
    with home.socket() as socket:
        assert socket.next()["type"] == "connected"
        yield socket


def subscribe(socket: Socket, **wanted: object) -> int:
    answer = socket.ask(type="subscribe", **wanted)
    assert answer["type"] == "subscribed", answer
    return int(answer["position"])


def test_the_first_message_says_who_the_client_is(home: House) -> None:
    with home.socket() as socket:
        hello = socket.next()
    assert hello["type"] == "connected" and hello["data"] == {"client_id": hello["client_id"]} and hello["id"] > 0


def test_one_socket_carries_several_collections_and_queries(home: House, socket: Socket) -> None:
    subscribe(socket, collection="posts", id="a")
    subscribe(socket, collection="posts", query="title = 'two'", id="b")
    subscribe(socket, collection="notes", id="c")
    one, two, note = home.create("posts", "one"), home.create("posts", "two"), home.create("notes", "note")
    frames = [socket.next() for _ in range(4)]
    assert [frame["record_id"] for frame in frames if frame["subscription"] == "a"] == [one["id"], two["id"]]
    assert [frame["record_id"] for frame in frames if frame["subscription"] == "b"] == [two["id"]]
    assert [frame["record_id"] for frame in frames if frame["subscription"] == "c"] == [note["id"]]
    assert frames[0].keys() == {"id", "subscription", "type", "collection", "record_id", "data", "timestamp"}
    assert frames[0]["data"]["title"] == "one" and frames[0]["type"] == "record.created"
    assert socket.quiet()


def test_each_subscription_goes_on_where_it_was_left(home: House, socket: Socket) -> None:
    began = subscribe(socket, collection="posts", id="live")
    titles = [f"resume {number}" for number in range(5)]
    for title in titles:
        home.create("posts", title)
    live = [socket.next() for _ in titles]
    for given in (began, str(began)):
        with home.socket() as again:
            again.next()
            assert subscribe(again, collection="posts", last_event_id=given) == began
            assert [again.next()["id"] for _ in titles] == [frame["id"] for frame in live]
            home.create("notes", "elsewhere")
            assert again.quiet()


def test_a_place_that_the_log_does_not_know_is_a_reset(home: House, socket: Socket) -> None:
    subscribe(socket, collection="posts", id="lost", last_event_id=10**12)
    reset = socket.next()
    assert (reset["type"], reset["subscription"]) == ("reset", "lost") and reset["id"] < 10**12
    home.create("posts", "after")
    assert socket.next()["data"]["title"] == "after"


def test_unsubscribed_means_nothing_more_comes(home: House, socket: Socket) -> None:
    subscribe(socket, collection="posts", id="a")
    assert socket.ask(type="unsubscribe", id="a") == {"type": "unsubscribed", "id": "a"}
    home.create("posts", "unheard")
    assert socket.quiet()
    error = socket.ask(type="unsubscribe", id="a")
    assert (error["type"], error["status"], error["id"]) == ("error", 404, "a")


def test_a_ping_is_answered_with_the_place_to_come_back_to(home: House, socket: Socket) -> None:
    began = subscribe(socket, collection="posts", id="a")
    home.create("posts", "counted")
    moved = socket.next()["id"]
    pong = socket.ask(type="ping", id="p")
    assert (pong["type"], pong["id"]) == ("pong", "p") and pong["position"] >= moved > began


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("nonsense", 400),
        ("[]", 400),
        ("{}", 422),
        ('{"type": ["subscribe"]}', 422),
        ('{"type": "dance"}', 422),
        ('{"type": "subscribe", "collection": "nothing"}', 404),
        ('{"type": "subscribe", "collection": 1}', 422),
        ('{"type": "subscribe", "collection": "private"}', 401),
        ('{"type": "subscribe", "collection": "posts", "query": "nothing = 1"}', 400),
        ('{"type": "subscribe", "collection": "posts", "filter": "title = 1"}', 422),
        ('{"type": "subscribe", "last_event_id": "x"}', 422),
        ('{"type": "subscribe", "last_event_id": true}', 422),
        ('{"type": "subscribe", "id": ""}', 422),
        ('{"type": "auth"}', 422),
        ('{"type": "auth", "token": "nonsense"}', 401),
        ('{"type": "ping", "id": "' + "x" * 70_000 + '"}', 413),
        (b"bytes", 400),
    ],
)
def test_what_cannot_be_done_is_an_error_and_the_socket_stays(
    home: House, socket: Socket, message: str | bytes, status: int
) -> None:
    socket.connection.send(message)
    error = socket.next()
    assert (error["type"], error["status"]) == ("error", status) and error["detail"] and error["error_code"]
    assert socket.ask(type="ping")["type"] == "pong"


def test_a_name_is_given_once(socket: Socket) -> None:
    subscribe(socket, collection="posts", id="a")
    assert socket.ask(type="subscribe", collection="notes", id="a")["status"] == 409


def test_a_token_comes_in_the_address_in_a_header_or_as_the_first_message(home: House) -> None:
    member = home.register("member")["access_token"]
    ways = [
        (f"?token={member}", {}, None),
        (f"?token={home.ticket(member)}", {}, None),
        ("", {"Authorization": f"Bearer {member}"}, None),
        ("", {}, member),
    ]
    for query, headers, told in ways:
        with home.socket(query, additional_headers=headers) as socket:
            socket.next()
            if told:
                assert socket.ask(type="auth", token=told) == {"type": "authenticated", "id": None}
                assert socket.ask(type="auth", token=told)["status"] == 409
            subscribe(socket, collection="private")
            home.create("private", "for members")
            assert socket.next()["data"]["title"] == "for members"


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?token=nonsense", {}, 401),
        ("", {"Authorization": "Bearer nonsense"}, 401),
        ("?collection=posts", {}, 400),
        ("", {"Origin": "https://evil.example"}, 403),
        ("", {"Host": "evil.example"}, 400),
    ],
)
def test_a_handshake_is_refused_with_the_one_error_body(
    home: House, query: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused, home.socket(query, additional_headers=headers):
        pass
    answer = refused.value.response
    assert answer.status_code == status and answer.headers["X-Request-ID"]
    error = json.loads(answer.body)
    assert error["success"] is False and error["request_id"] == answer.headers["X-Request-ID"]


def test_nothing_listens_elsewhere(home: House) -> None:
    for path in ("/api/v1/ws/nothing", "/api/v1/realtime", "/nowhere"):
        with pytest.raises(InvalidStatus) as refused, home.socket(path=path):
            pass
        assert refused.value.response.status_code == 404


def test_a_hundred_subscriptions_are_enough(socket: Socket) -> None:
    for _ in range(100):
        subscribe(socket, collection="posts")
    assert socket.ask(type="subscribe", collection="posts")["status"] == 409


def test_who_says_too_much_is_closed(socket: Socket) -> None:
    for _ in range(300):
        socket.say(type="ping")
    assert socket.close_code() == 4429


def test_a_message_beyond_all_measure_closes_the_socket(socket: Socket) -> None:
    socket.connection.send("x" * 300_000)
    assert socket.close_code() == 1009


def test_a_deleted_collection_ends_its_subscriptions_only(home: House, socket: Socket) -> None:
    home.collection("passing")
    subscribe(socket, collection="passing", id="a")
    subscribe(socket, collection="posts", id="b")
    assert home.http.delete("/api/v1/collections/passing").status_code in (200, 204)
    told = socket.next()
    assert (told["type"], told["id"]) == ("unsubscribed", "a")
    home.create("posts", "still")
    assert socket.next()["subscription"] == "b"
