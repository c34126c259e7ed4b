"""Imports: files of any make through the write path; wrong rows are told, right ones land."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts.models import User
from collections_app.models import Event
from collections_app.tests.test_exports import NASTY, exported

pytestmark = pytest.mark.engine


def send(client: APIClient, raw: bytes | str, kind: str = "csv", query: str = "", name: str = "things") -> Any:
    file = SimpleUploadedFile(f"file.{kind}", raw.encode() if isinstance(raw, str) else raw)
    return client.post(f"/api/v1/collections/{name}/records/import/{kind}{query}", {"file": file}, format="multipart")


@pytest.fixture
def things(make_collection: Callable[..., Any]) -> Any:
    return make_collection(
        "things",
        title={"type": "text", "validation": {"required": True, "max_length": 200}},
        price={"type": "number", "validation": {"min": 0}},
        email="email",
        active="bool",
        published="date",
        tags={"type": "select", "select": {"values": ["electronics", "sale"], "max_select": 2}},
        sku={"type": "text", "validation": {"unique": True}},
        more="json",
        cost="decimal",
        list_rule=None,
        create_rule="@request.auth.id != ''",
    )


@pytest.fixture
def boss(as_user: Callable[[User], APIClient], admin: User) -> APIClient:
    return as_user(admin)


def test_rows_become_records_of_the_right_types(things: Any, records: Any, boss: APIClient) -> None:
    answer = send(
        boss,
        "title,price,active,published,tags,more,cost\r\n"
        '"First, one",100,yes,2025-01-15T10:00:00,"[""electronics"", ""sale""]","{""a"": [1, null]}",1.50\r\n'
        "Second,,N,,,,\r\n",
    )
    assert answer.status_code == 201, answer.content
    assert answer.json() == {"imported": 2, "total": 2, "errors": [], "updated": 0, "failed": 0}
    first, second = records("things").items("sort=title")
    assert (first["title"], first["price"], first["active"], first["cost"]) == ("First, one", 100, True, "1.50")
    assert first["tags"] == ["electronics", "sale"] and first["more"] == {"a": [1, None]}
    assert (second["price"], second["active"], second["tags"], second["more"]) == (None, False, [], None)
    assert Event.objects.filter(type="record.created").count() == 2


def test_wrong_rows_are_told_by_their_number_and_right_ones_land(things: Any, records: Any, boss: APIClient) -> None:
    answer = send(boss, "title,price,email\nA,1,\nB,invalid,\nC,2,nobody\nD,-1,\n,3,\nE,4,e@example.com\n")
    assert answer.status_code == 201
    told = answer.json()
    assert (told["imported"], told["total"], told["failed"]) == (2, 6, 4)
    assert told["errors"] == [
        {"row": 3, "error": "Row 3, field 'price': Cannot convert 'invalid' to number"},
        {"row": 4, "error": "Row 4, field 'email': Invalid email format"},
        {"row": 5, "error": "Row 5, field 'price': Ensure this value is greater than or equal to 0."},
        {"row": 6, "error": "Row 6, field 'title': This field is required."},
    ]
    assert sorted(records("things").values("title")) == ["A", "E"]


def test_a_value_that_is_taken_is_told_for_its_row_alone(things: Any, records: Any, boss: APIClient) -> None:
    records("things").create(title="Old", sku="1")
    told = send(boss, "title,sku\nA,2\nB,1\nC,3\nD,3\n").json()
    assert (told["imported"], [error["row"] for error in told["errors"]]) == (2, [3, 5])
    assert "sku" in told["errors"][0]["error"]
    assert sorted(records("things").values("sku")) == ["1", "2", "3"]


def test_atomic_is_all_or_nothing(things: Any, records: Any, boss: APIClient) -> None:
    answer = send(boss, "title,price\nA,1\nB,x\n", query="?atomic=true")
    assert answer.status_code == 422
    assert (answer.json()["imported"], answer.json()["total"]) == (0, 2)
    assert records("things").items() == [] and Event.objects.filter(type="record.created").count() == 0
    assert send(boss, "title,price\nA,1\nB,2\n", query="?atomic=true").json()["imported"] == 2


def test_a_dry_run_says_what_would_be_and_leaves_nothing(things: Any, records: Any, boss: APIClient) -> None:
    answer = send(boss, "title,price\nA,1\nB,x\n", query="?dry_run=true")
    assert (answer.status_code, answer.json()["imported"], answer.json()["failed"]) == (200, 1, 1)
    assert records("things").items() == [] and Event.objects.filter(type="record.created").count() == 0


def test_without_validation_only_what_a_column_cant_hold_is_refused(
    things: Any, records: Any, boss: APIClient, as_user: Callable[[User], APIClient], member: User
) -> None:
    raw = "title,price,email,tags\n,5,nobody,\nB,x,,\nC,-1,,\n"
    told = send(boss, raw, query="?skip_validation=true").json()
    assert (told["imported"], [error["row"] for error in told["errors"]]) == (2, [3])
    assert {(r["title"], r["price"], r["email"]) for r in records("things").items()} == {
        (None, 5, "nobody"),
        ("C", -1, None),
    }
    assert send(as_user(member), raw, query="?skip_validation=true").status_code == 403
    assert len(records("things").items()) == 2


def test_match_changes_the_records_that_are_there(things: Any, records: Any, boss: APIClient) -> None:
    made = records("things").create(title="Old", sku="1", price=5)
    told = send(boss, "sku,title,price\n1,New,\n2,Other,7\n", query="?match=sku").json()
    assert (told["imported"], told["updated"], told["errors"]) == (2, 1, [])
    assert [(r["id"] == made["id"], r["title"], r["price"]) for r in records("things").items("sort=sku")] == [
        (True, "New", 5),
        (False, "Other", 7),
    ]
    told = send(boss, f"id,title\n{made['id']},Newer\nmine,Third\n", query="?match=id").json()
    assert (told["imported"], told["updated"]) == (2, 1)
    assert records("things").get("mine")["title"] == "Third"
    assert send(boss, "title\nA\n", query="?match=title").status_code == 422


def test_system_fields_are_ignored_and_columns_can_have_other_names(things: Any, records: Any, boss: APIClient) -> None:
    raw = "id,Name,Preis,created,updated\nx,A,1,2000-01-01,2000-01-01\n"
    assert send(boss, raw).status_code == 422
    assert records("things").items() == []
    told = send(boss, raw, query="?map=Name:title,Preis:price").json()
    assert told["imported"] == 1
    (made,) = records("things").items()
    assert (made["title"], made["price"]) == ("A", 1) and made["id"] != "x" and made["created"] > "2020"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encoding_and_delimiter_are_found_out(
    encoding: str, delimiter: str, things: Any, records: Any, boss: APIClient
) -> None:
    raw = delimiter.join(["title", "price"]) + "\r\n" + delimiter.join(["Käse für Zoë", "1.5"]) + "\r\n"
    assert send(boss, raw.encode(encoding)).json()["imported"] == 1
    assert records("things").values("title") == ["Käse für Zoë"]


@pytest.mark.parametrize("kind", ["csv", "json", "xlsx"])
def test_what_was_exported_comes_back_as_it_was(
    kind: str, things: Any, make_collection: Any, records: Any, boss: APIClient
) -> None:
    for number, text in enumerate(NASTY):
        records("things").create(
            title=text or "x", sku=f"-{number}", price=number / 3, active=bool(number % 2), cost="-0.10", tags=["sale"],
            published="2025-01-15T10:00:00.123456Z", more={"t": text, "n": None} if number else "=1",
        )  # fmt: skip
    raw = exported(boss, kind, "?sort=created,id")
    before = records("things").items("sort=created,id")
    for record in before:
        records("things").delete(record["id"])
    told = send(boss, raw, kind).json()
    assert told["errors"] == [] and told["imported"] == len(NASTY)
    after = records("things").items("sort=created,id&per_page=100")
    kept = ("title", "sku", "price", "active", "cost", "tags", "published", "more")
    assert sorted([[r[k] for k in kept] for r in after], key=str) == sorted(
        [[r[k] for k in kept] for r in before], key=str
    )


def test_the_create_rule_decides_who_may_import(
    things: Any,
    records: Any,
    anonymous: APIClient,
    as_user: Callable[[User], APIClient],
    member: User,
    make_collection: Any,
) -> None:
    assert send(anonymous, "title\nA\n").status_code == 401
    make_collection(
        "own", title="text", owner="text", create_rule="@request.body.owner = @request.auth.id", list_rule=None
    )
    told = send(as_user(member), f"title,owner\nmine,{member.pk}\ntheirs,somebody\n", name="own").json()
    assert (told["imported"], [error["row"] for error in told["errors"]]) == (1, [3])
    assert records("own").values("title") == ["mine"]
    make_collection("closed", title="text")
    assert send(as_user(member), "title\nA\n", name="closed").status_code == 403
    assert records("things").items() == [] and records("closed").items() == []


def test_related_records_must_exist(make_collection: Any, records: Any, boss: APIClient, things: Any) -> None:
    make_collection("parts", name="text", thing={"type": "relation", "relation": {"collection_id": "things"}})
    thing = records("things").create(title="A")
    told = send(boss, f"name,thing\na,{thing['id']}\nb,none\nc,\n", name="parts").json()
    assert (told["imported"], told["errors"]) == (
        2,
        [{"row": 3, "error": "Row 3, field 'thing': The record 'none' does not exist."}],
    )


@pytest.mark.parametrize(
    ("raw", "kind", "status"),
    [
        (b"", "csv", 400),
        (b'title\n"open', "csv", 400),
        (b"title,title\na,b\n", "csv", 422),
        (b"title,\na,\n", "csv", 201),
        (b"nothing\na\n", "csv", 422),
        (b"title\na,b,c\n", "csv", 400),
        (b"title\na\x00b\n", "csv", 201),
        (b"not json", "json", 400),
        (b"{}", "json", 400),
        (b"[1]", "json", 400),
        (b'[{"title": "\\ud800"}]', "json", 400),
        (b"no zip", "xlsx", 400),
        (b"PK\x05\x06" + bytes(18), "xlsx", 400),
    ],
)
def test_a_file_that_is_none_is_refused(
    raw: bytes, kind: str, status: int, things: Any, records: Any, boss: APIClient
) -> None:
    answer = send(boss, raw, kind)
    assert answer.status_code == status, answer.content
    if status != 201:
        assert records("things").items() == []


def test_a_file_must_be_sent_and_may_not_be_too_large(things: Any, boss: APIClient, records: Any) -> None:
    assert boss.post("/api/v1/collections/things/records/import/csv", {}, format="multipart").status_code in (400, 422)
    assert send(boss, "title\nA\n", query="?nonsense=1").status_code == 400
    assert send(boss, "title\nA\n", "yaml").status_code == 404
    boss.post("/api/v1/settings", {"key": "import_max_bytes", "value": 5}, format="json")
    assert send(boss, "title\nA\n").status_code == 413
    assert records("things").items() == []


def test_numbers_of_a_workbook_are_numbers(things: Any, records: Any, boss: APIClient) -> None:
    book = openpyxl.Workbook()
    book.active.append(["title", "price", "active", "published"])
    book.active.append(["A", 2.5, True, datetime(2025, 1, 15, 10)])
    file = io.BytesIO()
    book.save(file)
    assert send(boss, file.getvalue(), "xlsx").json()["errors"] == []
    (made,) = records("things").items()
    assert (made["price"], made["active"], made["published"][:10]) == (2.5, True, "2025-01-15")


def test_json_may_be_a_list_an_answer_or_lines(things: Any, records: Any, boss: APIClient) -> None:
    rows = [{"title": "A", "more": "text"}, {"title": "B", "price": None}]
    for raw in (json.dumps(rows), json.dumps({"items": rows}), "\n".join(map(json.dumps, rows))):
        assert send(boss, raw, "json").json()["imported"] == 2
    assert len(records("things").items()) == 6


def test_all_columns_that_are_no_fields_are_told_before_the_first_row(
    things: Any,
    records: Any,
    boss: APIClient,
    make_collection: Any,
    as_user: Callable[[User], APIClient],
    member: User,
) -> None:
    answer = send(boss, "title,one,two\nA,,\nB,x,y\n")
    assert answer.status_code == 422 and set(answer.json()["fields"]) == {"one", "two"}
    hidden = {"type": "number", "hidden": True, "validation": {"unique": True}}
    make_collection("own", title="text", code=hidden, create_rule=None, list_rule=None)
    told = [send(as_user(member), f"title,{name}\nA,x\n", name="own") for name in ("code", "none")]
    assert [answer.status_code for answer in told] == [422, 422]
    assert told[0].json()["errors"][0] == told[1].json()["errors"][0].replace("none", "code")
    assert records("things").items() == [] and records("own").items() == []


def test_rows_of_one_key_follow_each_other(things: Any, records: Any, boss: APIClient) -> None:
    told = send(boss, "sku,title,price\n1,A,1\n2,B,\n1,A2,\n1,,3\n", query="?match=sku").json()
    assert (told["imported"], told["updated"], told["errors"]) == (4, 2, [])
    assert [(r["sku"], r["title"], r["price"]) for r in records("things").items("sort=sku")] == [
        ("1", "A2", 3),
        ("2", "B", None),
    ]


KEYS = [
    ("decimal", ["5", "5.0", "5.00", "05"], ["7.5", "7.50"]),
    ("integer", ["7", "+7", "07"], ["-1", "-01"]),
    ("number", ["0.5", ".5", "5e-1"], ["100", "1e2"]),
    ("date", ["2025-01-15", "2025-01-15T00:00:00Z", "2025-01-15T01:00:00+01:00"], ["2025-01-16"]),
    ("datetime", ["2025-01-15T10:00:00Z", "2025-01-15 11:00:00+01:00"], ["2025-01-16T10:00:00.5Z"]),
    ("time", ["10:00", "10:00:00"], ["11:00"]),
    ("uuid", ["0f0e0d0c-0b0a-0908-0706-050403020100", "0F0E0D0C0B0A09080706050403020100"], []),
    ("ip", ["::1", "0:0:0:0:0:0:0:1"], ["10.0.0.1"]),
    ("text", ["a"], ["A", "a "]),
]


@pytest.mark.parametrize(("kind", "same", "others"), KEYS, ids=[one[0] for one in KEYS])
def test_keys_are_compared_by_their_value(
    kind: str, same: list[str], others: list[str], make_collection: Any, records: Any, boss: APIClient
) -> None:
    """However they are written, and whether the record was there, is of this piece of the file, or of an earlier one."""
    key = {"type": kind, "validation": {"unique": True}}
    make_collection("own", key=key, note="text", list_rule=None)
    made = records("own").create(key=same[0], note="first")
    for text in same:
        told = send(boss, f"key,note\n{text},{text}!\n", query="?match=key", name="own").json()
        assert (told["imported"], told["updated"], told["errors"]) == (1, 1, []), text
        assert records("own").get(made["id"])["note"] == f"{text}!"
    records("own").delete(made["id"])
    rows = "".join(f"{text},{text}\n" for text in (*same, *others, *same))
    told = send(boss, f"key,note\n{rows}", query="?match=key", name="own").json()
    assert (told["errors"], told["imported"]) == ([], 2 * len(same) + len(others))
    assert len(records("own").items()) == told["imported"] - told["updated"]


def test_a_record_may_refer_to_itself_and_to_one_above_it(make_collection: Any, records: Any, boss: APIClient) -> None:
    tree = make_collection("tree", name={"type": "text", "validation": {"unique": True}}, list_rule=None)
    relation = {"name": "parent", "type": "relation", "relation": {"collection_id": tree.id}}
    schema = [*(field.as_json() for field in tree.own_fields), relation]
    assert boss.patch("/api/v1/collections/tree", {"schema": schema}, format="json").status_code == 200
    told = send(
        boss, "id,name,parent\na,A,\nb,B,a\nc,C,c\nd,D,e\ne,E,a\nf,F,d\n", query="?match=id", name="tree"
    ).json()
    assert [error["row"] for error in told["errors"]] == [5, 7]
    assert {one["id"]: one["parent"] for one in records("tree").items()} == {"a": None, "b": "a", "c": "c", "e": "a"}
    # One is taken, so each is tried by itself, and what refers to it goes too.
    told = send(boss, "id,name,parent\ng,G,b\nh,A,g\ni,I,h\nj,J,g\n", query="?match=id", name="tree").json()
    assert [error["row"] for error in told["errors"]] == [3, 4]
    assert {one["id"] for one in records("tree").items()} == {*"abce", "g", "j"}


def test_each_column_means_a_field_of_its_own_and_those_that_are_named_are_there(
    things: Any, records: Any, boss: APIClient
) -> None:
    for raw, kind, query, field in (
        ("title,other\nA,B\n", "csv", "?map=other:title", "other"),
        ("one,two\nA,B\n", "csv", "?map=one:title,two:title", "two"),
        ('[{"title": "A", "other": "B"}]', "json", "?map=other:title", "other"),
        ('[{"title": "A"}, {"other": "B"}]', "json", "?map=other:title", "other"),
        ("title\nA\n", "csv", "?match=sku", "match"),
        ("title\nA\n", "csv", "?match=id", "match"),
        ('[{"title": "A"}]', "json", "?match=sku", "match"),
        ("title\nA\n", "csv", "?map=zz:price", "map"),
    ):
        answer = send(boss, raw, kind, query)
        assert (answer.status_code, list(answer.json()["fields"])) == (422, [field]), (raw, query, answer.content)
    assert records("things").items() == []
    told = send(boss, '[{"title": "A"}, {"title": "B", "sku": "b"}]', "json", "?match=sku").json()
    assert told["imported"] == 2


def test_only_one_file_is_taken_at_a_time(things: Any, records: Any, boss: APIClient) -> None:
    two = [SimpleUploadedFile(name, b"title\nA\n") for name in ("a.csv", "b.csv")]
    answer = boss.post("/api/v1/collections/things/records/import/csv", {"file": two}, format="multipart")
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["file"])
    assert records("things").items() == []


def test_a_json_cell_that_was_to_be_json_is_told(things: Any, records: Any, boss: APIClient) -> None:
    cells = {
        '{"a": 1': None, "[1,": None, '"x': None, "[" * 99 + "]" * 99: None, '"\\u0000"': None, "[1e999]": None,
        '{"a": 1}': {"a": 1}, "NaN": "NaN", "some text": "some text", "5": 5, '"x"': "x",
    }  # fmt: skip
    lines = [f'{n},"' + cell.replace('"', '""') + '"' for n, cell in enumerate(cells, 2)]
    told = send(boss, "title,more\n" + "\n".join(lines) + "\n").json()
    wrong = [n for n, value in enumerate(cells.values(), 2) if value is None]
    assert [error["row"] for error in told["errors"]] == wrong and told["total"] == len(cells)
    assert told["errors"][0]["error"] == "Row 2, field 'more': Value must be valid JSON."
    found = {one["title"]: one["more"] for one in records("things").items()}
    assert found == {str(n): value for n, value in enumerate(cells.values(), 2) if value is not None}


def test_what_the_server_sets_is_ignored_so_that_an_export_comes_back(
    make_collection: Any, records: Any, boss: APIClient
) -> None:
    make_collection("things", title="text", seen={"type": "autodate", "autodate": {"on_update": True}}, list_rule=None)
    made = records("things").create(title="A")
    for kind in ("csv", "json", "xlsx"):
        told = send(boss, exported(boss, kind), kind, "?match=id").json()
        assert (told["updated"], told["errors"]) == (1, [])
    now = records("things").get(made["id"])
    assert now["title"] == "A" and now["seen"] > made["seen"]


def test_a_text_that_is_too_long_for_its_index_is_told_as_that(things: Any, records: Any, boss: APIClient) -> None:
    for query in ("", "?skip_validation=true"):
        told = send(boss, f"title,sku\nA,{'x' * 20_000}\nB,b{query}\n", query=query).json()
        assert told["imported"] == 1
        assert "at most 2000 bytes" in told["errors"][0]["error"], told
    told = send(boss, "title\nA\x00B\n").json()
    assert told["errors"][0]["error"] == "Row 2, field 'title': Null characters are not allowed."
