"""Who gets a stream of events and who does not, as it is told on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.sse_client import Refused
from tests.wire_house import House, house

EVIL, FRIEND = "https://evil.example", "https://app.example.org"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    more = {"CORS_ORIGINS": FRIEND, "REALTIME_HEARTBEAT_SECONDS": "1", "REALTIME_MAX_CONNECTIONS": "6"}
    with house(tmp_path_factory.mktemp("sse"), LOG_LEVEL="INFO", **more) as running:
        running.collection("posts")
        running.collection("private", "@request.auth.id != ''")
        running.collection("admins", "@request.auth.role = 'admin'")
        yield running
        assert "Traceback" not in running.log and "ERROR" not in running.log


def refusal(home: House, *given: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        home.stream(*given, **options)
    error = refused.value.json()
    assert (
        error["success"] is False and error["detail"] and error["request_id"] == refused.value.headers["x-request-id"]
    )
    return refused.value.status, error["error_code"]


def test_a_stream_says_who_the_client_is_and_when_to_come_back(home: House) -> None:
    with home.stream("/posts") as stream:
        hello = stream.next()
        assert (hello.type, stream.retry) == ("connected", 2000)
        assert hello.data.keys() == {"type", "collection", "record_id", "data", "timestamp", "client_id"}
        assert hello.data["data"] == {"client_id": hello.data["client_id"]} and hello.data["collection"] == "posts"
        assert stream.headers["cache-control"] == "no-cache, no-transform"
        assert stream.headers["referrer-policy"] == "no-referrer"
        made = home.create("posts", "one")
        frame = stream.until("record.created")
        assert frame.data["record_id"] == made["id"] and int(frame.id) > int(hello.id)


def test_a_heartbeat_moves_the_place_to_come_back_to(home: House) -> None:
    with home.stream("/posts?query=title='nothing'") as stream:
        began = int(stream.next().id)
        home.create("posts", "unseen")
        assert stream.quiet(2.5)
        assert stream.comments >= 1 and int(stream.last_event_id) > began


@pytest.mark.parametrize("path", ["", "/", "/posts", "/posts/"])
def test_a_slash_at_the_end_makes_no_difference(home: House, path: str) -> None:
    with home.stream(path) as stream:
        assert stream.next().type == "connected"


@pytest.mark.parametrize("token", ["", "good"])
def test_pages_of_strangers_get_nothing_even_with_a_good_token(home: House, token: str) -> None:
    for headers in ({"Origin": EVIL}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        given = f"?token={home.token}" if token else ""
        assert refusal(home, given, headers=headers) == (403, "FORBIDDEN")
        assert refusal(home, "/nothing", token and home.token, headers=headers) == (403, "FORBIDDEN")


def test_our_own_pages_and_those_of_friends_get_theirs(home: House) -> None:
    with home.stream(headers={"Origin": home.url}) as stream:
        assert "access-control-allow-origin" not in stream.headers
    with home.stream(headers={"Origin": FRIEND}) as stream:
        assert stream.headers["access-control-allow-origin"] == FRIEND and "origin" in stream.headers["vary"]
    assert refusal(home, "/nothing", headers={"Origin": FRIEND}) == (404, "NOT_FOUND")


def test_a_browser_s_session_says_nothing_here(home: House) -> None:
    with httpx.Client(base_url=home.url, follow_redirects=True) as browser:
        page = browser.get("/admin/login/")
        form = {
            "username": "first@example.com",
            "password": "correct-horse-7",
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        assert browser.post("/admin/login/", data=form, headers={"Referer": str(page.url)}).status_code == 200
        cookie = f"sessionid={browser.cookies['sessionid']}"
    assert refusal(home, "/admins", headers={"Cookie": cookie}) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/nothing", (404, "NOT_FOUND")),
        ("/private", (401, "UNAUTHORIZED")),
        ("?token=nonsense", (401, "UNAUTHORIZED")),
        ("?token=a.b.c", (401, "UNAUTHORIZED")),
        ("?token=session:abc", (401, "UNAUTHORIZED")),
        ("?nothing=1", (400, "BAD_REQUEST")),
        ("?query=a&query=b", (400, "BAD_REQUEST")),
        ("/posts?query=nothing%3D1", (400, "BAD_REQUEST")),
        ("/posts?query=title%3D", (400, "BAD_REQUEST")),
        ("?query=nothing%3D1", (400, "BAD_REQUEST")),
        ("?last_event_id=x", (422, "VALIDATION_ERROR")),
        ("?last_event_id=-1", (422, "VALIDATION_ERROR")),
    ],
)
def test_what_is_refused_is_told_in_the_one_error_body(home: House, path: str, answer: tuple[int, str]) -> None:
    assert refusal(home, path) == answer


def test_who_may_list_nothing_there_is_told_so(home: House) -> None:
    member = home.register("member")["access_token"]
    assert refusal(home, "/admins", member) == (403, "FORBIDDEN")
    assert refusal(home, "/admins", member + "x") == (401, "UNAUTHORIZED")
    assert refusal(home, headers={"Authorization": "Basic abc"}) == (401, "UNAUTHORIZED")
    assert refusal(home, headers={"X-API-Key": "abc"}) == (401, "UNAUTHORIZED")
    with home.stream("/private", member) as stream:
        assert stream.next().type == "connected"


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/v1/realtime", "/api/v1/realtime/posts"])
def test_other_methods_are_not_allowed(home: House, method: str, path: str) -> None:
    answer = httpx.request(method, f"{home.url}{path}")
    assert answer.status_code == 405 and "GET" in answer.headers["allow"]


def test_a_ticket_opens_one_stream(home: House) -> None:
    member = home.register("ticketed")["access_token"]
    ticket = home.ticket(member)
    with home.stream(f"/private?token={ticket}") as stream:
        assert stream.next().type == "connected"
        assert refusal(home, f"/private?token={ticket}") == (401, "UNAUTHORIZED")
        home.create("private", "seen")
        assert stream.next().type == "record.created"


def test_an_access_token_may_stand_in_the_address_and_is_in_no_log(home: House) -> None:
    with home.stream(f"/admins?token={home.token}") as stream:
        assert stream.next().type == "connected"
    httpx.head(f"{home.url}/api/v1/realtime?token={home.token}")
    refusal(home, f"/nothing?token={home.token}")
    refusal(home, f"/admins?token={home.token}x")
    with home.socket(f"?token={home.token}") as socket:
        assert socket.next()["type"] == "connected"
    assert httpx.get(f"{home.url}/health/live").status_code == 200
    assert home.token not in home.log and home.token.split(".")[2] not in home.log


def test_more_than_there_is_room_for_are_asked_to_come_later(home: House) -> None:
    streams = [home.stream("/posts") for _ in range(5)]
    try:
        with home.socket():
            with pytest.raises(Refused) as refused:
                home.stream("/posts")
            assert refused.value.status == 503 and int(refused.value.headers["retry-after"]) >= 1
            assert refused.value.json()["error_code"] == "SERVICE_UNAVAILABLE"
        for stream in streams:
            assert stream.next().type == "connected"
    finally:
        for stream in streams:
            stream.close()


def test_a_body_that_nobody_asked_for_does_no_harm(home: House) -> None:
    with home.stream("/posts", headers={"Content-Length": "0"}) as stream:
        assert stream.next().type == "connected"
