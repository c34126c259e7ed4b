"""Exports: whole lists as files, under the list's rules, with cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts.models import User
from accounts.principals import SYSTEM
from collections_app.io import cells, exports
from collections_app.records import write
from collections_app.records.unit_of_work import unit_of_work
from collections_app.rules import RuleEnv
from collections_app.schema import registry

pytestmark = pytest.mark.engine

NASTY = [
    "plain",
    "",
    "=1+1",
    "'=1+1",
    "''-2",
    "'quoted",
    "-",
    "+49 30",
    "@x",
    "\ttab",
    'a,b\n"c"\r\nd',
    "ünï ✓ 日本 🎉",
    "＝1",
]


def send(client: APIClient, raw: bytes, kind: str, query: str) -> Any:
    file = SimpleUploadedFile(f"file.{kind}", raw)
    return client.post(f"/api/v1/collections/things/records/import/{kind}{query}", {"file": file}, format="multipart")


def exported(client: APIClient, kind: str, query: str = "", status: int = 200) -> Any:
    answer = client.get(f"/api/v1/collections/things/records/export/{kind}{query}")
    assert answer.status_code == status, answer.content
    return b"".join(answer.streaming_content) if status == 200 else answer.json()


def table(raw: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw.decode(), newline="")))


@pytest.fixture
def things(make_collection: Callable[..., Any]) -> Any:
    return make_collection(
        "things",
        title="text",
        price="number",
        cost="decimal",
        active="bool",
        tags={"type": "select", "select": {"values": ["a", "b"], "max_select": 2}},
        more="json",
        secret={"type": "text", "hidden": True},
        list_rule=None,
    )


def test_a_csv_file_has_the_list_that_the_caller_may_see(
    things: Any, records: Any, anonymous: APIClient, as_user: Callable[[User], APIClient], admin: User
) -> None:
    records("things").create(
        title="Lamp", price=9.5, cost="1.50", active=True, tags=["b", "a"], more={"k": [1]}, secret="s"
    )
    records("things").create(title="Mug", price=3, active=False)
    raw = exported(anonymous, "csv", "?sort=title")
    assert raw.splitlines()[0] == b"id,created,updated,title,price,cost,active,tags,more"
    lamp, mug = table(raw)
    assert (lamp["title"], lamp["price"], lamp["cost"], lamp["active"]) == ("Lamp", "9.5", "1.50", "true")
    assert json.loads(lamp["tags"]) == ["b", "a"] and json.loads(lamp["more"]) == {"k": [1]}
    assert (mug["price"], mug["cost"], mug["active"], mug["tags"], mug["more"]) == ("3", "", "false", "", "")
    assert table(exported(as_user(admin), "csv", "?sort=title"))[0]["secret"] == "s"
    assert [row["title"] for row in table(exported(anonymous, "csv", "?filter=price>=5"))] == ["Lamp"]
    assert exported(anonymous, "csv", "?fields=title&sort=-title").splitlines()[0] == b"id,title"
    assert len(table(exported(anonymous, "csv", "?limit=1"))) == 1


def test_the_file_has_a_name_and_a_type(things: Any, anonymous: APIClient) -> None:
    answer = anonymous.get("/api/v1/collections/things/records/export/csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="things_export.csv"'
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert b"".join(answer.streaming_content).startswith(b"id,created,updated,title")


def test_no_cell_is_a_formula_and_every_text_can_be_told_again(things: Any, records: Any, anonymous: APIClient) -> None:
    for text in NASTY:
        records("things").create(title=text)
    found = [row["title"] for row in table(exported(anonymous, "csv", "?sort=created,id"))]
    assert not [cell for cell in found if cell[:1] in "=+-@\t\r\n＝" and cell]
    assert [cells.unguarded(cell) for cell in found] == NASTY


def test_json_has_the_records_as_every_answer_has_them(things: Any, records: Any, anonymous: APIClient) -> None:
    assert exported(anonymous, "json") == b"[]\n"
    for text in NASTY:
        records("things").create(title=text, tags=["a"])
    listed = anonymous.get("/api/v1/collections/things/records?per_page=500").json()["items"]
    assert json.loads(exported(anonymous, "json")) == listed


def test_a_workbook_opens_and_has_texts_only_where_there_are_texts(
    things: Any, records: Any, anonymous: APIClient
) -> None:
    for text in NASTY:
        records("things").create(title=text, price=1.25)
    book = openpyxl.load_workbook(io.BytesIO(exported(anonymous, "xlsx", "?sort=created,id&fields=title,price")))
    head, *rows = book.active.iter_rows(values_only=True)
    assert head == ("id", "title", "price")
    assert {row[2] for row in rows} == {1.25} and len(rows) == len(NASTY)
    assert not [cell for row in book.active.iter_rows() for cell in row if cell.data_type == "f"]


def test_more_than_a_piece_comes_whole_and_in_order(things: Any, anonymous: APIClient, records: Any) -> None:
    with unit_of_work(registry.latest(), SYSTEM) as work:
        many = ({"title": f"t{number:05}", "tags": ["a"]} for number in range(2500))
        write.records_create(work, things, many, RuleEnv(principal=SYSTEM))
    found = [row["title"] for row in table(exported(anonymous, "csv", "?sort=title"))]
    assert found == [f"t{number:05}" for number in range(2500)]
    assert len(json.loads(exported(anonymous, "json"))) == 2500


def test_what_is_wrong_is_said_before_the_first_byte(
    things: Any, make_collection: Any, anonymous: APIClient, as_user: Callable[[User], APIClient], member: User
) -> None:
    make_collection("closed", title="text")
    assert anonymous.get("/api/v1/collections/closed/records/export/csv").status_code == 401
    assert as_user(member).get("/api/v1/collections/closed/records/export/csv").status_code == 403
    assert anonymous.get("/api/v1/collections/none/records/export/csv").status_code == 404
    exported(anonymous, "yaml", status=404)
    exported(anonymous, "csv", "?filter=secret='s'", status=400)
    exported(anonymous, "csv", "?sort=secret", status=400)
    exported(anonymous, "csv", "?fields=secret", status=400)
    exported(anonymous, "csv", "?fields=title:excerpt(3)", status=400)
    exported(anonymous, "csv", "?page=2", status=400)
    exported(anonymous, "csv", "?limit=0", status=422)


def test_a_whole_number_stays_what_it_is_in_a_workbook(
    make_collection: Any, records: Any, as_user: Callable[[User], APIClient], admin: User
) -> None:
    make_collection("things", count="integer", list_rule=None)
    numbers = [9223372036854775807, -9223372036854775808, 9007199254740993, 10**15, 10**15 - 1, 5]
    made = [records("things").create(count=number)["id"] for number in numbers]
    raw = exported(as_user(admin), "xlsx", "?sort=created,id")
    for record_id in made:
        records("things").delete(record_id)
    told = send(as_user(admin), raw, "xlsx", "?match=id").json()
    assert told["errors"] == [] and [records("things").get(one)["count"] for one in made] == numbers


def test_what_is_wrong_with_the_first_rows_of_a_view_is_said_before_the_first_byte(
    things: Any, records: Any, make_collection: Any, as_user: Callable[[User], APIClient], admin: User
) -> None:
    make_collection("whole", count="integer", list_rule=None)
    records("whole").create(count=-(2**63))
    make_collection("ratio", type="view", list_rule=None, view_query="SELECT abs(count) AS n FROM whole")
    for kind in ("csv", "json", "xlsx"):
        answer = as_user(admin).get(f"/api/v1/collections/ratio/records/export/{kind}")
        assert answer.status_code == 400, answer


def test_only_so_many_exports_are_under_way_at_once(
    things: Any, records: Any, anonymous: APIClient, as_user: Callable[[User], APIClient], member: User, admin: User
) -> None:
    records("things").create(title="A")
    url = "/api/v1/collections/things/records/export/"
    held = [as_user(member).get(f"{url}csv") for _ in range(exports.AT_ONCE_OF_ONE)]
    refused = as_user(member).get(f"{url}csv")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    held += [anonymous.get(f"{url}{kind}") for kind in ("xlsx", "xlsx", "json")]
    assert as_user(admin).get(f"{url}json").status_code == 503
    for answer in held:
        assert answer.status_code == 200
        answer.close()
        answer.close()
    xlsx = [as_user(one).get(f"{url}xlsx") for one in (member, admin)]
    assert anonymous.get(f"{url}xlsx").status_code == 503
    for answer in xlsx:
        answer.close()
    assert anonymous.head(f"{url}csv").status_code == 200
    for _ in range(exports.AT_ONCE + 1):
        exported(anonymous, "yaml", status=404)
        exported(anonymous, "csv", "?sort=nothing", status=400)
    assert not exports._Turn._under_way


@pytest.mark.parametrize("kind", ["csv", "json", "xlsx"])
def test_a_client_may_ask_for_the_kind_that_it_gets(kind: str, things: Any, anonymous: APIClient) -> None:
    url = f"/api/v1/collections/things/records/export/{kind}"
    answer = anonymous.get(url, HTTP_ACCEPT=exports.MEDIA_TYPES[kind])
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, exports.MEDIA_TYPES[kind])
    answer.close()
    answer = anonymous.head(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert anonymous.get(f"{url}?sort=nothing", HTTP_ACCEPT="text/csv").status_code == 400
