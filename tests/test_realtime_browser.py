"""Live events in a real browser: the documented examples as they stand, and our own client.

The examples are the code blocks of ``docs/realtime.md``, and those of FastCMS's manual, letter by letter. Each
page stands at the server's own address, so that their relative URLs lead to it.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import chromium
from tests.server import Server, free_port, server

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium.BINARY is None, reason="needs a browser")]

OURS = (Path(__file__).parent.parent / "docs" / "realtime.md").read_text()
THEIRS = (Path(__file__).parent / "examples" / "realtime.md").read_text()
VENDOR = Path(__file__).parent / "vendor"
CLIENT = "/static/realtime/fastcms-realtime.js"
API = "/api/v1/realtime"
PASSWORD = "correct-horse-battery"


class House:
    """A running server with the collection ``posts`` that everybody may read, ``drafts`` that only who is signed in may."""

    def __init__(self, running: Server) -> None:
        self.server, self.url = running, running.url
        self.http = httpx.Client(base_url=running.url, timeout=30)
        self.token = self.register("first")
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        fields = [{"name": name, "type": "text"} for name in ("title", "status", "author", "priority")]
        for name, rule in (
            ("posts", None),
            ("drafts", "@request.auth.id != ''"),
            ("locked", "@request.auth.id = 'none'"),
        ):
            definition = {"name": name, "schema": fields, "list_rule": rule, "view_rule": rule}
            self.http.post("/api/v1/collections", json=definition).raise_for_status()

    def register(self, name: str) -> str:
        body = {"email": f"{name}@example.com", "password": PASSWORD}
        answer = self.http.post("/api/v1/auth/register", json=body).raise_for_status()
        return str(answer.json()["access_token"])

    def create(self, title: str, collection: str = "posts", **data: Any) -> str:
        body = {"title": title, **({} if collection == "products" else {"status": "published"}), **data}
        answer = self.http.post(f"/api/v1/collections/{collection}/records", json=body).raise_for_status()
        return str(answer.json()["id"])

    def change(self, record_id: str, collection: str = "posts", **data: str) -> None:
        self.http.patch(f"/api/v1/collections/{collection}/records/{record_id}", json=data).raise_for_status()

    def delete(self, record_id: str, collection: str = "posts") -> None:
        self.http.delete(f"/api/v1/collections/{collection}/records/{record_id}").raise_for_status()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("realtime-browser")
    with own_server(folder) as running:
        yield House(running)


def own_server(folder: Path, **environ: str) -> AbstractContextManager[Server]:
    """With a database of its own, so that it may outlive a test."""
    return server(folder, DATABASE_URL=f"sqlite:///{folder / 'app.db'}", REALTIME_HEARTBEAT_SECONDS="1", **environ)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(browser: chromium.Page, house: House) -> chromium.Page:
    """An empty page at the server's address; what the one before it did has ended."""
    return at(browser, f"{house.url}/static/realtime/fastcms-realtime.js")


# Keeps what is written to the console in `told`, as [text, value], and every stream that is opened in `opened`.
WATCH = """
    window.isNew = true
    window.told = []
    window.opened = []
    console.log = (...said) => told.push(said)
    window.EventSource = class extends EventSource {
        constructor(...given) { super(...given); opened.push(this) }
    }
    document.body.innerHTML = '<div id="app"></div>'
"""


def at(page: chromium.Page, url: str) -> chromium.Page:
    """The page there, empty and watched."""
    page.run("window.isNew = false")
    page.open(url)
    page.wait(f"window.isNew !== false && location.href === {json.dumps(url)} && document.readyState === 'complete'")
    page.run(WATCH)
    return page


def example(text: str, heading: str) -> str:
    """The code block under that heading."""
    section = re.split(r"^## ", text.partition(f"## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"```(?:js|jsx|vue|python)\n(.*?)```", section, re.DOTALL)[0]


def module(page: chromium.Page, code: str) -> None:
    """Run it as a module of the page; it is through when this returns."""
    text = json.dumps(f"{code}\nwindow.isThrough = true")
    page.run(
        "isThrough = false; const script = document.createElement('script'); script.type = 'module';"
        f"script.textContent = {text}; document.head.append(script)"
    )
    page.wait("isThrough")


def script(page: chromium.Page, name: str) -> None:
    page.run((VENDOR / name).read_text() + ";0")


def are_open(page: chromium.Page, count: int = 1) -> None:
    page.wait(f"opened.length === {count} && opened.every(source => source.readyState === EventSource.OPEN)")


def told(page: chromium.Page, count: int) -> list[Any]:
    """What the page was told, once it is that much; it must be no more, and is forgotten."""
    page.wait(f"told.length >= {count}")
    found = page.run("told.splice(0)")
    assert len(found) == count, found
    return found


# --- the examples of the manual ------------------------------------------------------------------


def test_the_quick_start_tells_what_is_created_updated_and_deleted(page, house):
    module(page, example(THEIRS, "Quick start"))
    are_open(page)
    one = house.create("One")
    house.change(one, title="Two")
    house.delete(one)
    (said, made), (_, changed), (_, gone) = told(page, 3)
    assert (said, made["type"], made["collection"], made["record_id"]) == (
        "New record:",
        "record.created",
        "posts",
        one,
    )
    assert made["data"]["title"] == "One" and set(made) >= {"type", "collection", "record_id", "data", "timestamp"}
    assert changed["type"] == "record.updated" and changed["data"]["title"] == "Two"
    assert gone["type"] == "record.deleted" and gone["data"] == {"id": one}


@pytest.mark.parametrize("text", [THEIRS, OURS], ids=["theirs", "ours"])
def test_the_example_for_react_shows_what_happens(page, house, text):
    script(page, "react.production.min.js")
    script(page, "react-dom.production.min.js")
    page.run(
        "const map = document.createElement('script'); map.type = 'importmap'; map.textContent = JSON.stringify({imports:"
        "{react: 'data:text/javascript,export const {useEffect, useState} = window.React'}}); document.head.append(map)"
    )
    # As it stands, but for JSX, which no browser reads: what a compiler makes of it is put in its place.
    code, jsx = example(text, "React"), "(\n    <div>\n"
    before, _, rest = code.partition(jsx)
    shown, _, after = rest.partition("    </div>\n  )")
    assert (
        "<div>Status: {connected ? 'Connected' : 'Disconnected'}</div>" in shown
        and "<li key={i}>{event.type}: {event.data.title}</li>" in shown
    )
    compiled = """React.createElement('div', null,
        React.createElement('div', null, 'Status: ', connected ? 'Connected' : 'Disconnected'),
        React.createElement('ul', null,
            events.map((event, i) => React.createElement('li', {key: i}, event.type, ': ', event.data.title))))"""
    shown_there = "window.root = ReactDOM.createRoot(document.getElementById('app'));"
    module(page, f"{before}{compiled}{after}\n{shown_there} root.render(React.createElement(PostsList))")
    shows_what_happens(page, house)
    page.run("root.unmount()")
    assert page.run("opened.every(source => source.readyState === EventSource.CLOSED)")


@pytest.mark.parametrize("text", [THEIRS, OURS], ids=["theirs", "ours"])
def test_the_example_for_vue_shows_what_happens(page, house, text):
    script(page, "vue.global.prod.js")
    # A single-file component, as its compiler reads it: a template, and a module that exports the rest.
    code = example(text, "Vue")
    template = re.findall(r"<template>(.*?)</template>", code, re.DOTALL)[0]
    component = re.findall(r"<script>(.*?)</script>", code, re.DOTALL)[0].replace("export default", "const component =")
    mount = f"window.app = Vue.createApp({{...component, template: {json.dumps(template)}}}); app.mount('#app')"
    module(page, f"{component}\n{mount}")
    shows_what_happens(page, house)
    page.run("app.unmount()")
    assert page.run("opened.every(source => source.readyState === EventSource.CLOSED)")


def shows_what_happens(page: chromium.Page, house: House) -> None:
    """Both examples follow published posts, and show the same."""
    page.wait("document.body.innerText.includes('Status: Connected')")
    house.create("A draft", status="draft")
    one = house.create("One")
    house.change(one, title="One and a half")
    page.wait("document.querySelectorAll('li').length === 2")
    items = page.run("[...document.querySelectorAll('li')].map(item => item.innerText)")
    assert items == ["record.created: One", "record.updated: One and a half"]


def test_a_query_of_the_manual_tells_what_enters_it_and_what_leaves(page, house):
    published = example(THEIRS, "Live queries").partition("\n\n")[0]
    module(page, f"{published}\n{LISTEN}")
    are_open(page)
    one = house.create("One", status="draft")
    house.change(one, status="published")
    house.change(one, status="draft")
    assert told(page, 2) == [["record.created", one], ["record.deleted", one]]


LISTEN = """
for (const type of ['record.created', 'record.updated', 'record.deleted'])
    eventSource.addEventListener(type, e => told.push([type, JSON.parse(e.data).record_id]))
"""


def test_collections_can_be_queried_by_number(page, house):
    fields = [{"name": "title", "type": "text"}, {"name": "price", "type": "number"}]
    house.http.post("/api/v1/collections", json={"name": "products", "schema": fields, "list_rule": None})
    expensive = example(THEIRS, "Live queries").split("\n\n")[1]
    module(page, f"{expensive}\n{LISTEN}")
    are_open(page)
    house.create("Cheap", "products", price=100)
    one = house.create("Dear", "products", price=101)
    assert told(page, 1) == [["record.created", one]]


def test_a_token_in_the_address_shows_what_its_owner_may_see(page, house):
    code = example(THEIRS, "A token").replace("your-auth-token", house.token)
    module(page, f"{code}\n{LISTEN}")
    are_open(page)
    one = house.create("One", "drafts")
    assert told(page, 1) == [["record.created", one]]


def test_updates_can_be_gathered(page, house):
    one = house.create("One")
    page.run("window.eventSource = new EventSource('/api/v1/realtime'); processUpdates = those => told.push(those); 0")
    module(page, example(THEIRS, "Debounced updates"))
    are_open(page)
    for number in range(5):
        house.change(one, title=f"{number}")
    (updates,) = told(page, 1)
    assert [update["data"]["title"] for update in updates] == ["0", "1", "2", "3", "4"]


def test_the_connection_manager_of_the_manual_comes_back(page, house):
    module(page, example(THEIRS, "Connection management"))
    assert told(page, 1) == [["Connected"]]
    house.server.leave()
    page.wait("told.some(([said]) => said === 'Connection lost, reconnecting...')")
    page.run("told.splice(0)")
    house.server.start()
    page.wait("told.some(([said]) => said === 'Connected')")


# --- the client ------------------------------------------------------------------------------------


def follow(page: chromium.Page, options: str, host: str = "") -> None:
    """Have the page follow by the client; its events are in ``told``, what it said of itself in ``states``."""
    page.run(
        f"import('{host}{CLIENT}').then(client => {{ window.states = []; window.feed = client.subscribe({{"
        "onEvent: event => told.push([event.type, event.record_id, event.data.title ?? null]),"
        "onStatus: status => states.push(status), onReset: event => told.push(['reset', event.data.reason]),"
        f"...{options}}}) }})"
    )


def is_open(page: chromium.Page) -> None:
    page.wait("states.length && states.at(-1).state === 'open'")


def test_the_client_tells_what_happens(page, house):
    follow(page, "{collection: 'posts', query: \"status = 'published'\"}")
    is_open(page)
    page.run("window.heard = []; window.stop = feed.on('record.deleted', event => heard.push(event.record_id)); 0")
    one, two = house.create("One"), house.create("Two", status="draft")
    house.change(one, title="Changed")
    house.change(two, status="published")
    house.delete(one)
    assert told(page, 4) == [
        ["record.created", one, "One"],
        ["record.updated", one, "Changed"],
        ["record.created", two, "Two"],
        ["record.deleted", one, None],
    ]
    assert page.run("heard") == [one]
    page.run("stop(); 0")
    house.delete(two)
    assert told(page, 1) == [["record.deleted", two, None]] and page.run("heard") == [one]
    page.run("feed.close()")
    assert page.run("states.at(-1)") == {"state": "closed"}
    assert page.run("states.map(status => status.state)") == ["connecting", "open", "closed"]
    assert page.run("opened[0].readyState === EventSource.CLOSED")
    with pytest.raises(AssertionError, match="There are no events of type nothing"):
        page.run("feed.on('nothing', () => {})")


def test_the_client_comes_back_to_a_server_that_was_killed_and_misses_nothing(page, house):
    follow(page, "{collection: 'posts'}")
    is_open(page)
    before = house.create("Before")
    told(page, 1)
    house.server.kill()
    page.wait("states.at(-1).state === 'waiting' && states.at(-1).retryIn >= 500")
    house.server.start()
    meanwhile = [house.create(f"Meanwhile {number}") for number in range(3)]
    house.change(before, title="After")
    found = told(page, 4)
    is_open(page)
    after = house.create("Last")
    assert [one for _, one, _ in [*found, *told(page, 1)]] == [*meanwhile, before, after]
    page.run("feed.close()")


def test_the_client_goes_on_where_another_one_was(page, house):
    follow(page, "{collection: 'posts'}")
    is_open(page)
    house.create("One")
    told(page, 1)
    known = page.run("feed.close(); feed.lastEventId")
    two = house.create("Two")
    follow(page, f"{{collection: 'posts', lastEventId: '{known}'}}")
    assert told(page, 1) == [["record.created", two, "Two"]]
    page.run("feed.close()")


def test_the_client_says_where_there_is_a_gap_and_goes_on_from_there(page, house):
    follow(page, "{collection: 'posts', lastEventId: '999999999'}")
    ((kind, reason),) = told(page, 1)
    assert kind == "reset" and reason
    one = house.create("One")
    assert told(page, 1) == [["record.created", one, "One"]]
    page.run("feed.close()")


def test_the_client_tells_no_event_twice(page, house):
    follow(page, "{collection: 'posts'}")
    is_open(page)
    page.run("opened[0].addEventListener('record.created', frame => { window.frame = frame }); 0")
    house.create("One")
    told(page, 1)
    page.run("opened[0].dispatchEvent(new MessageEvent('record.created', frame)); 0")
    two = house.create("Two")
    assert told(page, 1) == [["record.created", two, "Two"]]
    page.run("feed.close()")


def test_the_client_ends_with_the_sign_in(page, house):
    token = house.register("leaving")
    follow(page, f"{{collection: 'drafts', token: {json.dumps(token)}}}")
    is_open(page)
    httpx.post(f"{house.url}/api/v1/auth/logout", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
    page.wait("states.at(-1).state === 'closed'")
    assert page.run("states.at(-1).code") == 401
    house.create("Not for them", "drafts")
    assert page.run("told") == []


def test_the_client_never_puts_a_token_into_an_address(page, house):
    follow(page, f"{{collection: 'drafts', token: {json.dumps(house.token)}}}")
    is_open(page)
    one = house.create("One", "drafts")
    assert told(page, 1) == [["record.created", one, "One"]]
    addresses = page.run(
        "performance.getEntriesByType('resource').map(one => one.name).concat(opened.map(one => one.url))"
    )
    assert len(addresses) >= 3 and not any(house.token in address for address in addresses)
    ticket = httpx.URL(page.run("opened[0].url")).params["token"]
    assert ticket.count(".") == 0
    with httpx.Client() as mallory:
        assert mallory.get(f"{house.url}{API}/drafts?token={ticket}").status_code == 401
    page.run("feed.close()")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("{collection: 'nowhere'}", 404),
        ("{collection: 'drafts'}", 401),
        ("{collection: 'posts', token: 'fcms_wrong'}", 401),
        ("{collection: 'posts', query: 'status ='}", 400),
    ],
)
def test_the_client_stops_where_it_is_refused(page, house, options, code):
    follow(page, options)
    page.wait("states.at(-1)?.state === 'closed'")
    status = page.run("states.at(-1)")
    assert status["code"] == code and status["message"]
    assert page.run("states.map(status => status.state)") == ["connecting", "closed"]


def test_the_client_is_told_that_one_may_not_list(page, house):
    follow(page, f"{{collection: 'locked', token: {json.dumps(house.register('somebody'))}}}")
    page.wait("states.at(-1)?.state === 'closed'")
    assert page.run("states.at(-1).code") == 403


def test_the_client_asks_for_a_new_token_when_one_is_refused(page, house):
    page.run(
        f"window.asked = []; window.fresh = refused => (asked.push(refused), refused ? {json.dumps(house.token)} : 'old')"
    )
    follow(page, "{collection: 'drafts', getToken: window.fresh}")
    is_open(page)
    assert page.run("asked") == [False, True]
    page.run("feed.close()")


# --- WebSocket and live lists of our own page ------------------------------------------------------


def test_the_example_for_a_socket_tells_what_happens(page, house):
    module(
        page,
        example(OURS, "WebSocket") + "window.socket = socket; window.answers = 0; socket.addEventListener('message',"
        " ({data}) => { if (JSON.parse(data).type === 'subscribed') answers++ })",
    )
    page.wait("answers === 2")
    house.create("Draft", status="draft")
    house.create("Published")
    assert sorted(told(page, 3)) == [["all", "Draft"], ["all", "Published"], ["news", "Published"]]
    page.run("socket.close()")


def test_a_list_that_was_read_once_stays_right(page, house):
    follow(page, "{collection: 'posts', query: 'author=kim'}")
    is_open(page)
    module(page, example(OURS, "Live queries") + "window.records = records")
    one, two, three = (house.create(title, author="kim") for title in ("One", "Two", "Three"))
    house.change(one, title="Changed")
    house.change(two, author="lee")
    house.delete(three)
    page.wait("told.length === 6")
    assert page.run("[...records.values()].map(record => [record.id, record.title])") == [[one, "Changed"]]
    page.run("feed.close()")


def test_our_quick_start_tells_what_is_created(page, house):
    module(page, example(OURS, "Quick start"))
    are_open(page)
    one = house.create("One")
    ((said, record),) = told(page, 1)
    assert (said, record["id"], record["title"]) == ("New record:", one, "One")


def test_our_example_for_the_client_runs(page, house):
    page.run(f"window.session = {{accessToken: async () => {json.dumps(house.token)}}}; 0")
    module(page, example(OURS, "The JavaScript client").replace("feed.close()", "window.feed = feed"))
    page.wait("told.some(([said]) => said === 'open')")
    page.run("told.splice(0)")
    house.create("One")
    found = told(page, 2)
    assert [found[0][0], found[1]] == ["record.created", ["One"]]
    page.run("feed.close()")


# --- who is here -----------------------------------------------------------------------------------


@pytest.fixture
def second(house: House, tmp_path: Path) -> Iterator[chromium.Page]:
    """A page in another browser."""
    with chromium.page(tmp_path / "browser") as page:
        yield at(page, f"{house.url}/static/realtime/fastcms-realtime.js")


def test_two_pages_see_each_other_come_and_go(page, second, house):
    module(page, example(THEIRS, "Presence"))
    are_open(page)
    page.wait("told.some(([said, who]) => who.user_id === 'user-123')")
    page.run("told.splice(0)")
    module(second, example(THEIRS, "Presence").replace("user-123", "user-456"))
    (said, who), *_ = told(page, 1)
    assert said == "User joined:" and set(who) >= {"user_id", "user_name", "connections", "last_seen"}
    assert who["user_id"] == "user-456" and who["connections"] == 1
    present = httpx.get(f"{house.url}/api/v1/presence").json()
    assert present["count"] == 2 and {one["user_id"] for one in present["users"]} == {"user-123", "user-456"}
    second.run("opened[0].close()")
    (said, who), *_ = told(page, 1)
    assert (said, who["user_id"]) == ("User left:", "user-456")
    assert httpx.get(f"{house.url}/api/v1/presence/user-456").json()["online"] is False


def test_presence_and_a_query_go_together(page, second, house):
    page.run(
        "const keep = name => e => told.push([name, JSON.parse(e.data)]);"
        "handleRecord = keep('record'); handleUserJoined = keep('joined'); handleUserLeft = keep('left'); 0"
    )
    module(page, example(THEIRS, "Presence and a query"))
    are_open(page)
    page.wait("told.length === 1")
    page.run("told.splice(0)")
    house.create("Whatever", priority="low")
    one = house.create("Urgent", priority="high")
    ((name, record),) = told(page, 1)
    assert (name, record["record_id"]) == ("record", one)
    follow(second, "{userId: 'visitor'}")
    is_open(second)
    ((name, frame),) = told(page, 1)
    assert (name, frame["data"]["user_id"]) == ("joined", "visitor")
    second.run("feed.close()")
    ((name, frame),) = told(page, 1)
    assert (name, frame["data"]["user_id"]) == ("left", "visitor")


# --- pages of other origins ------------------------------------------------------------------------


class Foreign(BaseHTTPRequestHandler):
    """A page of somebody else."""

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        content = b"<!doctype html><title>Foreign</title><body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def foreign_origin() -> Iterator[str]:
    serving = ThreadingHTTPServer(("127.0.0.1", free_port()), Foreign)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}"
    finally:
        serving.shutdown()
        serving.server_close()


def test_a_page_of_another_origin_hears_nothing_whoever_its_visitor_is(browser, house):
    sign_in_to_the_admin(browser, house)
    # To our own pages, too, the cookie opens nothing.
    assert browser.run(f"fetch('{API}/drafts').then(answer => answer.status)") == 401
    with foreign_origin() as theirs:
        page = at(browser, f"{theirs}/")
        for number, (path, options) in enumerate(
            [("/posts", "{}"), ("/posts", "{withCredentials: true}"), ("/drafts", "{withCredentials: true}")], 1
        ):
            page.run(
                f"var source = new EventSource('{house.url}{API}{path}', {options});"
                "source.onopen = source.onmessage = () => told.push('heard');"
                "source.addEventListener('connected', () => told.push('heard')); 0"
            )
            page.wait(f"opened.length === {number} && opened.at(-1).readyState === EventSource.CLOSED")
        house.create("Not for them")
        assert page.run("told") == []
        # With a header a page may send anywhere, the answer is kept from it too.
        assert (
            page.run(f"fetch('{house.url}{API}/posts', {{credentials: 'include'}}).then(() => 'read', () => 'kept')")
            == "kept"
        )


def sign_in_to_the_admin(page: chromium.Page, house: House) -> None:
    """So that there is a session's cookie, which browsers send to every port of the host."""
    page.open(f"{house.url}/admin/login/")
    page.wait("!!document.querySelector('[name=password]')")
    page.run(
        "document.querySelector('[name=username]').value = 'first@example.com';"
        f"document.querySelector('[name=password]').value = '{PASSWORD}'; document.querySelector('form').submit()"
    )
    page.wait("location.pathname === '/admin/' && document.readyState === 'complete'")
    cookies = page.call("Network.getCookies", urls=[house.url])["cookies"]
    assert any(cookie["name"] == "sessionid" for cookie in cookies), cookies


def test_a_page_of_an_origin_that_is_named_hears_all_by_the_client(browser, tmp_path):
    with foreign_origin() as theirs, own_server(tmp_path, CORS_ORIGINS=theirs) as running:
        house = House(running)
        page = at(browser, f"{theirs}/")
        follow(page, f"{{url: '{house.url}', collection: 'drafts', token: {json.dumps(house.token)}}}", house.url)
        is_open(page)
        one = house.create("One", "drafts")
        assert told(page, 1) == [["record.created", one, "One"]]
        page.run("feed.close()")


# --- Python ----------------------------------------------------------------------------------------


def test_the_example_for_python_of_the_manual_prints_what_happens(house, capsys):
    """Its read timeout is httpx's own, 5 seconds: it holds where heartbeats come sooner, as on this server."""
    known = example(THEIRS, "Python").replace("http://localhost:8000", house.url)
    names: dict[str, Any] = {}
    exec(known, names)  # noqa: S102 - the documented code

    async def listen() -> str:
        listening = asyncio.create_task(names["subscribe_to_realtime"]())
        printed = ""
        while "Event: connected" not in printed:
            await asyncio.sleep(0.05)
            printed += capsys.readouterr().out
        one = await asyncio.to_thread(house.create, "One")
        while one not in printed:
            await asyncio.sleep(0.05)
            printed += capsys.readouterr().out
        listening.cancel()
        return printed

    printed = asyncio.run(asyncio.wait_for(listen(), 20))
    assert "Event: record.created\nCollection: posts\nData: {" in printed


def test_our_example_for_python_tells_what_happens(house):
    names: dict[str, Any] = {}
    exec(example(OURS, "Python"), names)  # noqa: S102 - the documented code

    async def listen() -> Any:
        async for event in names["subscribe_to_realtime"](f"{house.url}{API}/drafts", house.token):
            if event["type"] == "connected":
                made = await asyncio.to_thread(house.create, "One", "drafts")
            else:
                return made, event
        return None

    made, event = asyncio.run(asyncio.wait_for(listen(), 20))
    assert (event["type"], event["record_id"], event["data"]["title"]) == ("record.created", made, "One")
