"""Files that strangers made, out of ignorance or malice: read, or refused in words, within bounds."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from itertools import islice
from typing import Any

import openpyxl
import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import User
from collections_app.io import csv_files, json_files, reading, workbooks
from collections_app.tests.test_imports import send
from core.errors import BadRequest

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
HEAD = '<row r="1"><c r="A1" t="inlineStr"><is><t>title</t></is></c></row>'


def workbook(rows: str = "", *, sheet: str | None = None, texts: str = "", book: str | None = None) -> bytes:
    """A workbook of one sheet as a program might write it that knows nothing but the names of the parts."""
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = {
        "_rels/.rels": f'<Relationships><Relationship Id="r" Type="{kinds}/officeDocument" Target="xl/workbook.xml"/>'
        "</Relationships>",
        "xl/workbook.xml": f'<workbook {MAIN}><sheets><sheet name="S" sheetId="1" r:id="s"/></sheets></workbook>'
        if book is None
        else book,
        "xl/_rels/workbook.xml.rels": f'<Relationships><Relationship Id="s" Type="{kinds}/worksheet" '
        f'Target="worksheets/sheet1.xml"/><Relationship Id="t" Type="{kinds}/sharedStrings" Target="/xl/texts.xml"/>'
        "</Relationships>",
        "xl/worksheets/sheet1.xml": f"<worksheet {MAIN}><sheetData>{HEAD}{rows}</sheetData></worksheet>"
        if sheet is None
        else sheet,
        "xl/texts.xml": f"<sst {MAIN}>{texts}</sst>",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()


def read(raw: bytes, kind: str) -> list[tuple[int, Any]]:
    return [(number, dict(row)) for number, row in reading.rows(io.BytesIO(raw), kind)]


def refused(raw: bytes, kind: str) -> str:
    with pytest.raises(BadRequest) as told:
        list(islice(reading.rows(io.BytesIO(raw), kind), 10_000))
    return told.value.message


def test_a_workbook_says_what_its_cells_hold() -> None:
    texts = "<si><t>shared</t></si><si><r><t>ri</t></r><r><t>ch</t></r><rPh><t>said</t></rPh></si><si/>"
    rows = (
        '<row><c t="s"><v>0</v></c></row><row r="5"><c r="A5" t="s"><v>1</v></c></row>'
        '<row r="6"><c r="A6" t="s"><v>2</v></c><c r="AA6"><v>1</v></c></row>'
        '<row r="7"><c r="A7" t="str"><f>1+1</f><v>two</v></c></row><row r="9"><c r="A9" t="b"><v>1</v></c></row>'
        '<row r="10"><c r="A10"><v>1.5E1</v></c></row><row><c t="d"><v>2025-01-15</v></c></row>'
    )
    found = read(workbook(rows, texts=texts), "xlsx")
    values = ["shared", "rich", "two", True, 15.0, "2025-01-15"]
    assert found == list(zip((2, 5, 7, 9, 10, 11), ({"title": value} for value in values), strict=True))


@pytest.mark.parametrize("epoch", ["1900", "1904"])
def test_moments_of_a_workbook_are_told_by_their_style(epoch: str) -> None:
    from datetime import datetime, time, timedelta

    from openpyxl.utils.datetime import MAC_EPOCH

    book = openpyxl.Workbook()
    if epoch == "1904":
        book.epoch = MAC_EPOCH
    book.active.append(["day", "time", "long", "number"])
    book.active.append([datetime(2025, 1, 15, 10, 30), time(8, 5), timedelta(hours=30), 45000])
    file = io.BytesIO()
    book.save(file)
    (row,) = read(file.getvalue(), "xlsx")
    assert row == (2, {"day": "2025-01-15T10:30:00", "time": "08:05:00", "long": "1 day, 6:00:00", "number": 45000})


BOMBS = {
    "a row far away": ('<row r="1000000000000000"><c><v>1</v></c></row>', "rows"),
    "one row too many": (f'<row r="{workbooks.EXCEL_ROWS}"/><row/>', "rows"),
    "a column far away": ('<row><c r="ZZZZ2"><v>1</v></c></row>', "cell"),
    "cells without end": ("<row>" + "<c/>" * 20_000 + "</row>", "cells"),
    "depth": ("<a>" * 100_000, "nested"),
    "a tag without end": ("<row " + 'a="' + "x" * 3_000_000, "without an end"),
    "a long text": (
        '<row><c t="inlineStr"><is><t>' + "x" * 300_000 + "</t></is></c></row>", "characters",
    ),
    "blanks": (" " * (workbooks.MAX_BETWEEN + 100_000), "no row"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_workbook_that_would_never_end_is_refused_soon(name: str) -> None:
    rows, word = BOMBS[name]
    told = refused(workbook(rows), "xlsx")
    assert told.startswith("Invalid Excel format: ") and word in told


def test_a_workbook_with_too_many_texts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = '<row><c t="s"><v>0</v></c></row>'
    monkeypatch.setattr(workbooks, "MAX_TEXTS", 10)
    assert "texts" in refused(workbook(shared, texts="<si/>" * 11), "xlsx")
    monkeypatch.setattr(workbooks, "MAX_TEXTS_BYTES", 100)
    assert "too large" in refused(workbook(shared, texts="<si/>" * 30), "xlsx")
    monkeypatch.setattr(workbooks, "MAX_SHEET", 100)
    assert "too large" in refused(workbook(shared), "xlsx")


ODD = {
    "no number": '<row><c r="A2"><v>abc</v></c></row>',
    "no text of that number": '<row><c r="A2" t="s"><v>9</v></c></row>',
    "a negative one": '<row><c r="A2" t="s"><v>-1</v></c></row>',
    "no truth": '<row><c r="A2" t="b"><v>x</v></c></row>',
    "no row": '<row r="zz"/>',
    "no style": '<row><c s="x"><v>1</v></c></row>',
    "a very long number": "<row><c><v>" + "1" * 5000 + "</v></c></row>",
    "cut off": "<x",
}


@pytest.mark.parametrize("name", list(ODD))
def test_a_cell_that_is_none_is_told_in_words(name: str) -> None:
    assert refused(workbook(ODD[name]), "xlsx").startswith("Invalid Excel format: ")


@pytest.mark.parametrize(
    "raw",
    [
        workbook(sheet="garbage"),
        workbook(sheet=""),
        workbook(sheet='<!DOCTYPE w [<!ENTITY a "b">]><worksheet><sheetData><row><c><v>&a;</v></c></row></sheetData>'),
        workbook(book=""),
        workbook(book="<workbook/>"),
        workbook()[:300],
        workbook().replace(b"PK\x01\x02", b"PK\x01\x03"),
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_a_broken_workbook_is_refused_in_words(raw: bytes) -> None:
    assert refused(raw, "xlsx").startswith("Invalid Excel format: ")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-8", "cp1252"])
def test_the_encoding_of_a_table_is_found_out_with_or_without_a_mark(encoding: str) -> None:
    assert read("name,größe\nZoë,1\n".encode(encoding), "csv") == [(2, {"name": "Zoë", "größe": "1"})]


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbft\n\xff\n",
        "\ufeffname\nab".encode("utf-16-le") + b"x",
        b"\xff\xfea\x00\n\x00\x00\xd8b\x00",
        b"a\n" + b'"open',
    ],
)
def test_bytes_that_are_no_text_are_refused_in_words(raw: bytes) -> None:
    assert refused(raw, "csv").startswith("Invalid CSV format: ")


def test_a_row_of_a_table_is_bounded_over_all_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "MAX_ROW", 100)
    assert len(read(b"a,b\n" + b"1,2\n" * 100, "csv")) == 100
    assert "characters" in refused(b"a,b\n" + b"," * 200, "csv")
    assert "characters" in refused(b"a,b\n" + b'"x\n",' * 50, "csv")


RECORDS = [{"title": 'a"]}\\', "n": [1, {"b": {}}]}, {"title": "ü\u2028", "n": None}, {}]


@pytest.mark.parametrize("piece", [1, 7, 100_000])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS),
        " \n" + json.dumps(RECORDS, indent=2) + "\n ",
        json.dumps({"count": 3, "nested": {"items": [5]}, "items": RECORDS, "next": "["}, ensure_ascii=False),
        json.dumps({"records": RECORDS}, indent=1),
        "\n".join(map(json.dumps, RECORDS)),
        "\r\n".join(map(json.dumps, RECORDS)) + "\r\n",
        "\ufeff" + json.dumps(RECORDS),
    ],
)
def test_records_are_found_wherever_the_file_is_cut(text: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "_PIECE", piece)
    assert read(text.encode(), "json") == list(enumerate(RECORDS, 1))


def test_one_record_is_one_and_a_list_within_records_is_none_of_records() -> None:
    assert read(b'{"title": "A"}', "json") == [(1, {"title": "A"})]
    lines = [{"items": [{"a": 1}]}, {"items": []}]
    assert read("\n".join(map(json.dumps, lines)).encode(), "json") == list(enumerate(lines, 1))


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b'{"a": 1}\n{"a": 2}\n{"a": }\n', "row 3"),
        (b'[{"a": 1}, {"a": 2} {"a": 3}]', "','"),
        (b'[{"a": 1}] x', "follows"),
        (b'[{"a": 1}, 5]', "row 2 is no object"),
        (b'[{"a": 1}', "','"),
        (b'[{"a": "', "ends within"),
        (b'{"a": "x', "ends within"),
        (b'[{"a": "\\u0000"}]', "NUL"),
        (b'[{"a": NaN}]', "row 1"),
        (b'[{"a": ' + b"[" * 200 + b"]" * 200 + b"}]", "nested"),
        (b'"text"', "expected a list"),
        (b"", "expected a list"),
    ],
)
def test_json_that_is_none_is_refused_with_the_row(raw: bytes, word: str) -> None:
    told = refused(raw, "json")
    assert told.startswith("Invalid JSON format: ") and word in told and "line 1" not in told


def test_a_record_without_an_end_is_refused_before_all_of_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MAX_RECORD", 1000)
    monkeypatch.setattr(json_files, "_PIECE", 100)
    for inside in (b"1," * 100_000, b"[" * 100_000, b'"' + b"x" * 100_000):
        file = io.BytesIO(b'[{"a": [' + inside)
        with pytest.raises(BadRequest, match="more than"):
            list(reading.rows(file, "json"))
        assert file.tell() < 10_000


def test_what_no_parser_was_made_for_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        yield 2, {}
        raise RecursionError

    monkeypatch.setitem(reading._READERS, "csv", broken)
    assert refused(b"", "csv") == "Invalid CSV format: after row 2 it can't be read."


@pytest.fixture
def boss(as_user: Callable[[User], APIClient], admin: User) -> APIClient:
    return as_user(admin)


@pytest.mark.engine
def test_they_are_answered_and_leave_nothing(boss: APIClient, make_collection: Any, records: Any) -> None:
    make_collection("things", title="text")
    for raw, kind in (
        (workbook(BOMBS["a row far away"][0]), "xlsx"),
        (workbook('<row><c r="A2"><v>1</v></c></row>' + ODD["no number"]), "xlsx"),
        (b'[{"title": "A"}, {"title": ]', "json"),
        (b"\xef\xbb\xbftitle\nA\n\xff\n", "csv"),
    ):
        answer = send(boss, raw, kind)
        assert answer.status_code == 400, answer.content
    assert records("things").items() == []


@pytest.mark.engine
def test_no_lock_is_held_while_a_file_is_read(
    boss: APIClient, make_collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("things", title="text")
    held = []

    def slow(file: Any, check: Any) -> Any:
        check(["title"])
        for number in range(3):
            held.append(connection.in_atomic_block)
            yield number + 2, {"title": "A"}

    monkeypatch.setitem(reading._READERS, "csv", slow)
    for query in ("", "?background=false", "?atomic=true", "?dry_run=true"):
        assert send(boss, "title\n", query=query).json()["imported"] == 3
    assert len(held) == 12 and not any(held)
