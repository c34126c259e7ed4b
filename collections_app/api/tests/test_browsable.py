"""The pages that a browser gets: same status, usable forms, nothing from other hosts."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from collections_app.schema.definition import CollectionDef

RECORDS = "/api/v1/collections/things/records"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
As = Callable[[User], APIClient]


class Inputs(HTMLParser):
    """What a browser would send for the first form with a ``data-method`` or ``method`` of its own."""

    def __init__(self, page: str, method: str) -> None:
        super().__init__()
        self.method, self.inside, self.done = method, False, False
        self.values: dict[str, list[str]] = {}
        self.open: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            own = given.get("data-method") or ("POST" if "enctype" in given else "")
            self.inside = not self.done and own == self.method and "data-json" not in given
            return
        name = given.get("name")
        if not self.inside or (name is None and tag != "option"):
            return
        if tag == "textarea":
            self.open = name
            self.values.setdefault(str(name), []).append("")
        elif tag == "select":
            self.values.setdefault(str(name), [""])
            self.open = name
        elif tag == "option" and "selected" in given and self.open:
            self.values[self.open] = [given["value"] or ""]
        elif tag == "input" and given.get("type") == "file":
            pass  # empty: the page's script leaves it out
        elif tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.values.setdefault(str(name), []).append(given.get("value") or "")

    def handle_data(self, data: str) -> None:
        if self.inside and self.open and self.get_starttag_text().startswith("<textarea"):  # type: ignore[union-attr]
            self.values[self.open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("textarea", "select"):
            if tag == "textarea" and self.open:
                self.values[self.open][-1] = self.values[self.open][-1].removeprefix("\n")
            self.open = None
        if tag == "form" and self.inside:
            self.inside, self.done = False, True


def sign_in(user: User) -> Client:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    return browser


@pytest.fixture
def record(things: CollectionDef, anonymous: APIClient) -> dict[str, Any]:
    values = {
        "title": "Desk <b>",
        "price": 9.5,
        "stock": 9007199254740993,
        "cost": "19.90",
        "active": True,
        "state": "new",
        "tags": ["a", "c, d"],
        "day": "2025-01-15",
        "moment": "2025-01-15T10:00:00.123456Z",
        "at": "10:30:15",
        "meta": {"a": [1, None, "x"]},
        "place": {"lon": 1.5, "lat": 2},
        "body": "\n<p>Hi</p>",
        "notes": "a\nb",
        "mail": "a@example.com",
        "site": "https://example.com/?a=1&b=2",
        "slug": "a-b",
        "phone": "+49 30 1234",
        "colour": "#ff0000",
        "ip": "::1",
        "pin": "long-enough",
    }
    other = anonymous.post(RECORDS, {"title": "other"}).json()
    made = anonymous.post(RECORDS, {**values, "related": [other["id"]]})
    assert made.status_code == 201, made.content
    return made.json()  # type: ignore[no-any-return]


def paths(record: dict[str, Any]) -> list[str]:
    return [
        "/api/v1",
        "/api/v1/collections",
        "/api/v1/collections?page=0",
        "/api/v1/collections/things",
        "/api/v1/collections/missing",
        RECORDS,
        f"{RECORDS}?per_page=1&sort=-title",
        f"{RECORDS}?cursor=",
        f"{RECORDS}?nope=1",
        f"{RECORDS}?per_page=1000",
        f"{RECORDS}/{record['id']}",
        f"{RECORDS}/{record['id']}?fields=title",
        f"{RECORDS}/missing",
        f"{RECORDS}/bulk-update",
        f"{RECORDS}/bulk-delete",
        "/api/v1/batch",
        "/api/v1/collections/missing/records",
        "/api/v1/auth/login",
        "/api/v1/auth/me",
    ]


def test_every_page_has_the_status_of_the_json(
    record: dict[str, Any], anonymous: APIClient, admin: User, member: User, as_user: As
) -> None:
    for client in (anonymous, as_user(member), as_user(admin)):
        for path in paths(record):
            plain, page = client.get(path), client.get(path, headers=HTML)
            assert page.status_code == plain.status_code, path
            assert page["Content-Type"] == "text/html; charset=utf-8", path
            assert plain["Content-Type"] == "application/json", path


def test_no_page_asks_another_host(record: dict[str, Any], admin: User, as_user: As) -> None:
    for path in paths(record):
        page = as_user(admin).get(path, headers=HTML).content.decode()
        assert not re.search(r"""(?:src|action)=["']?(?:https?:)?//""", page), path
        assert not re.search(r"""<link[^>]+href=["']?(?:https?:)?//""", page), path


def test_json_stays_compact_and_the_page_is_indented(record: dict[str, Any], anonymous: APIClient) -> None:
    url = f"{RECORDS}/{record['id']}"
    assert b'"collection":"things"' in anonymous.get(url).content
    page = anonymous.get(url, headers=HTML).content.decode()
    assert "\n  <b>&quot;collection&quot;</b>: <i>&quot;things&quot;</i>" in page


def test_stored_markup_is_text_on_the_page(record: dict[str, Any], anonymous: APIClient) -> None:
    anonymous.patch(f"{RECORDS}/{record['id']}", {"title": "<img src=x onerror=alert(1)>", "meta": {"<script>": 1}})
    for path in (RECORDS, f"{RECORDS}/{record['id']}"):
        page = anonymous.get(path, headers=HTML).content.decode()
        assert "<img src=x" not in page and "<script>" not in page.replace('<script src="/static', "")


def test_no_inline_script_would_run(record: dict[str, Any], anonymous: APIClient) -> None:
    page = anonymous.get(f"{RECORDS}/{record['id']}", headers=HTML)
    assert "default-src 'self'" in page["Content-Security-Policy"] and "unsafe" not in page["Content-Security-Policy"]
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", page.content.decode())


def test_odd_values_do_not_break_a_page(make_collection: Any, admin: User, as_user: As) -> None:
    odd = [
        {"schema": 1},
        {"id": None, "collection": {}},
        {"items": 1, "page": "x"},
        "http://[",
        "https://a b",
        {"": ""},
    ]
    make_collection("odd", value={"type": "json", "validation": {"default": odd}})
    client = as_user(admin)
    assert client.get("/api/v1/collections/odd", headers=HTML).status_code == 200
    for value in odd:
        made = client.post("/api/v1/collections/odd/records", {"value": value}, format="json", headers=HTML)
        assert made.status_code == 201
    assert client.get("/api/v1/collections/odd/records", headers=HTML).status_code == 200


def test_the_page_is_not_cached_under_the_records_etag(record: dict[str, Any], anonymous: APIClient) -> None:
    page = anonymous.get(f"{RECORDS}/{record['id']}", headers=HTML)
    assert "ETag" not in page and page["Cache-Control"] == "no-store" and "Accept" in page["Vary"]


def test_saving_the_edit_form_unchanged_changes_nothing(
    record: dict[str, Any], anonymous: APIClient, admin: User
) -> None:
    browser, url = sign_in(admin), f"{RECORDS}/{record['id']}"
    before = anonymous.get(url).json()
    sent = Inputs(browser.get(url, headers=HTML).content.decode(), "PUT").values
    token = sent.pop("csrfmiddlewaretoken")[0]
    assert set(sent) == {field for field in before if field not in _NOT_IN_THE_FORM} | {"pin", "cost_price"}
    client = APIClient(enforce_csrf_checks=True)
    client.cookies = browser.cookies
    answer = client.put(url, sent, format="multipart", headers={**HTML, "X-CSRFToken": token})
    assert answer.status_code == 200, answer.content.decode()
    after = anonymous.get(url).json()
    assert {**after, "updated": 0, "stamp": 0} == {**before, "updated": 0, "stamp": 0}


_NOT_IN_THE_FORM = {"id", "collection", "created", "updated", "stamp", "photo", "photos"}


def test_the_create_form_creates(things: CollectionDef, admin: User) -> None:
    browser = sign_in(admin)
    sent = Inputs(browser.get(RECORDS, headers=HTML).content.decode(), "POST").values
    answer = browser.post(RECORDS, {**sent, "title": "New", "tags": ["", "a"]}, headers=HTML)
    assert answer.status_code == 201, answer.content.decode()
    (made,) = browser.get(RECORDS).json()["items"]
    assert made["title"] == "New" and made["tags"] == ["a"] and made["price"] is None and made["active"] is False


def test_a_form_without_its_csrf_token_is_403_and_changes_nothing(things: CollectionDef, admin: User) -> None:
    browser = sign_in(admin)
    assert browser.post(RECORDS, {"title": "New"}, headers=HTML).status_code == 403
    assert browser.get(RECORDS).json()["total"] == 0


def test_an_anonymous_form_needs_no_token(things: CollectionDef) -> None:
    browser = Client(enforce_csrf_checks=True)
    assert browser.post(RECORDS, {"title": "New"}, headers=HTML).status_code == 201


def test_errors_stand_at_their_boxes_with_what_was_sent(things: CollectionDef, anonymous: APIClient) -> None:
    answer = anonymous.post(
        RECORDS, {"title": "", "price": "cheap", "notes": "keep me", "nope": "1"}, format="multipart", headers=HTML
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "A valid number is required." in page and "This field is required." in page
    assert 'value="cheap"' in page and "keep me" in page and "nope: Unknown field." in page


def test_forms_are_offered_to_who_may_use_them(make_collection: Any, admin: User, member: User, as_user: As) -> None:
    make_collection("posts", title="text", list_rule=None, view_rule=None)
    url = "/api/v1/collections/posts/records"
    made = as_user(admin).post(url, {"title": "x"}).json()
    for path in (url, f"{url}/{made['id']}"):
        assert 'name="title"' in as_user(admin).get(path, headers=HTML).content.decode()
        for client in (APIClient(), as_user(member)):
            page = client.get(path, headers=HTML).content.decode()
            assert 'name="title"' not in page and 'data-method="DELETE"' not in page


def test_options_tell_no_fields(make_collection: Any, anonymous: APIClient) -> None:
    make_collection("posts", private_matter="text")
    for path in ("/api/v1/collections/posts/records", "/api/v1/collections/posts/records/x"):
        for headers in ({}, HTML):
            answer = anonymous.options(path, headers=headers)
            assert answer.status_code == 200 and b"private" not in answer.content.lower()


def test_hidden_fields_are_in_the_forms_of_admins_only(
    things: CollectionDef, admin: User, member: User, as_user: As
) -> None:
    assert 'name="cost_price"' in as_user(admin).get(RECORDS, headers=HTML).content.decode()
    assert "cost_price" not in as_user(member).get(RECORDS, headers=HTML).content.decode()


def test_relations_are_raw_ids_not_selects(record: dict[str, Any], anonymous: APIClient) -> None:
    page = anonymous.get(f"{RECORDS}/{record['id']}", headers=HTML).content.decode()
    assert re.search(r'<input id="PUT-category" type="text"', page)
    assert re.search(rf'<textarea id="PUT-related"[^>]*>\s*{record["related"][0]}</textarea>', page)


def test_pages_lead_to_their_neighbours_and_keep_the_query(record: dict[str, Any], anonymous: APIClient) -> None:
    page = anonymous.get(f"{RECORDS}?per_page=1&sort=title", headers=HTML).content.decode()
    assert 'href="?per_page=1&amp;sort=title&amp;page=2"' in page and "2 in all" in page
    page = anonymous.get(f"{RECORDS}?per_page=1&cursor=", headers=HTML).content.decode()
    assert re.search(r'href="\?per_page=1&amp;cursor=[\w-]+"', page)


def test_a_list_leads_to_its_bulk_pages(record: dict[str, Any], anonymous: APIClient) -> None:
    page = anonymous.get(RECORDS, headers=HTML).content.decode()
    assert f'href="http://testserver{RECORDS}/bulk-update"' in page and "Bulk delete" in page


def test_breadcrumbs_lead_back(record: dict[str, Any], anonymous: APIClient) -> None:
    page = anonymous.get(f"{RECORDS}/{record['id']}", headers=HTML).content.decode()
    crumbs = re.search(r'<nav class="crumbs".*?</nav>', page, re.DOTALL)
    assert crumbs is not None
    assert re.findall(r'href="([^"]+)"', crumbs[0]) == [
        "/api/v1", "/api/v1/collections", "/api/v1/collections/things", RECORDS, f"{RECORDS}/{record['id']}",
    ]  # fmt: skip


def test_deleting_is_204_for_browsers_too(record: dict[str, Any], anonymous: APIClient) -> None:
    answer = anonymous.delete(f"{RECORDS}/{record['id']}", headers=HTML)
    assert answer.status_code == 204 and not answer.content


def test_a_signed_in_admin_sees_who_they_are(things: CollectionDef, admin: User) -> None:
    page = sign_in(admin).get(RECORDS, headers=HTML).content.decode()
    assert "admin@example.com" in page and "Log out" in page
    assert "Log in" in Client().get(RECORDS, headers=HTML).content.decode()


def test_the_start_says_where_everything_is(schema_db: None, anonymous: APIClient) -> None:
    for path in ("/api/v1", "/api/v1/"):
        answer = anonymous.get(path)
        assert answer.status_code == 200
        for address in answer.json().values():
            assert anonymous.get(address).status_code in (200, 401, 405)
