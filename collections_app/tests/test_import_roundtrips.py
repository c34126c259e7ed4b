"""What goes out comes back: every field type with nasty values, and real files that nobody here made."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts.models import User
from accounts.principals import SYSTEM
from collections_app.dialects import quote
from collections_app.io import cells, exports, imports, reading
from collections_app.io.options import Options
from collections_app.records.operations import Call
from collections_app.schema import fields as field_types
from collections_app.schema import registry
from collections_app.schema.fields import InvalidValue
from collections_app.tests.test_exports import NASTY
from collections_app.tests.test_imports import send
from core.errors import BadRequest, DomainError, ValidationFailed

pytestmark = pytest.mark.engine

TEXT = st.sampled_from([text for text in NASTY if text]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
CHOICES = ["a,b", "=c", "ü;|", '"q"']
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXT,
    "editor": st.sampled_from(["<p>=1</p>", "<p>a &amp; b</p>\n<ul><li>ü</li></ul>"]),
    "markdown": TEXT,
    "number": NUMBER,
    "integer": st.integers(-(2**53), 2**53),
    "decimal": st.decimals(-(10**9), 10**9, places=4).map(str),
    "bool": st.booleans(),
    "email": st.sampled_from(["a@example.com", "a+b@example.org"]),
    "url": st.sampled_from(["https://example.com/?a=1&b='2'", "http://example.org/ü"]),
    "date": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    "datetime": st.datetimes().map(lambda moment: moment.isoformat() + "+05:30").filter(lambda text: text[:4] > "0001"),
    "time": st.times().map(lambda moment: moment.isoformat()),
    "uuid": st.uuids().map(str),
    "slug": st.sampled_from(["a-b", "x_1"]),
    "phone": st.sampled_from(["+49 30 123456", "+15551234567"]),
    "color": st.sampled_from(["#ff0000", "#0F0"]),
    "ip": st.ip_addresses().map(str),
    "json": JSON,
    "geo_point": st.fixed_dictionaries({"lon": st.floats(-180, 180), "lat": st.floats(-90, 90)}),
    "select": st.sampled_from(CHOICES),
    "selects": st.lists(st.sampled_from(CHOICES), unique=True),
}
NOT_TEXT = {"relation", "file", "password", "autodate"}  # asked for elsewhere, or made by the server


@pytest.fixture
def everything(make_collection: Callable[..., Any]) -> Any:
    select = {"type": "select", "select": {"values": CHOICES}}
    schema: dict[str, Any] = {f"a_{name}": name for name in VALUES if name not in ("select", "selects")}
    schema["a_select"] = select
    schema["a_selects"] = {"type": "select", "select": {"values": CHOICES, "max_select": 4}}
    return make_collection("all_types", **schema)


def test_every_type_is_among_those_that_are_tried() -> None:
    assert set(field_types.names()) - NOT_TEXT == set(VALUES) - {"selects"}


@pytest.mark.parametrize("kind", ["csv", "json", "xlsx"])
def test_every_value_of_every_type_comes_back_as_it_was(kind: str, everything: Any, records: Any) -> None:
    row = st.fixed_dictionaries({}, optional={f"a_{name}": values for name, values in VALUES.items()})
    table = quote(everything.table)

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(row, min_size=1, max_size=4))
    def round_trip(rows: list[dict[str, Any]]) -> None:
        connection.cursor().execute(f"DELETE FROM {table}")
        for row in rows:
            with suppress(DomainError):  # beyond what the type takes
                records("all_types").create(**row)
        # As they are read: of a number like 2.9e16, PostgreSQL's jsonb makes a whole one.
        before = {record["id"]: record for record in records("all_types").items()}
        made_file = exports.export(Call(principal=SYSTEM), "all_types", kind)
        raw = b"".join(made_file.chunks)
        made_file.chunks.close()
        connection.cursor().execute(f"DELETE FROM {table}")
        options = Options(match="id")
        report = imports.run(Call(principal=SYSTEM, method="POST"), "all_types", kind, io.BytesIO(raw), options)
        assert report.errors == [] and report.imported == len(before)
        for record in records("all_types").items():
            known = before[record["id"]]
            for name in VALUES:
                assert record[f"a_{name}"] == known[f"a_{name}"], (name, raw)

    round_trip()


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_a_guarded_cell_is_no_formula_and_can_be_read(text: str) -> None:
    cell = cells.guarded(text)
    assert cells.unguarded(cell) == text
    assert not cell or cell[0] not in "=+-@\t\r＝＋－＠"


@settings(max_examples=300, deadline=None)
@given(st.text() | st.sampled_from(["_x0041_", "_x005F_x0041_", "\x1f\ufffe", "_xD800_", "_x_x0041_"]))
def test_a_workbook_holds_any_text(text: str) -> None:
    written = cells.escaped(text)
    assert cells.unescaped(written) == text
    assert not set(written) & {*map(chr, [*range(9), 11, 12, *range(14, 32)]), "\ufffe", "\uffff"}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"]),
    st.sampled_from(["\r\n", "\n"]),
)
def test_a_table_of_any_make_is_read_cell_by_cell(
    rows: list[list[str]], delimiter: str, encoding: str, end: str
) -> None:
    text = io.StringIO(newline="")
    # Python's own writer leaves a lone carriage return unquoted where lines end otherwise.
    quoting = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(["one", "two"])
    writer.writerows([[cells.guarded(cell) for cell in row] for row in rows])
    raw = b"\xff\xfe" + text.getvalue().encode("utf-16-le") if "bom" in encoding else text.getvalue().encode(encoding)
    found = [dict(row) for _, row in reading.rows(io.BytesIO(raw), "csv")]
    assert found == [dict(zip(("one", "two"), row, strict=True)) for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(reading.KINDS))
def test_no_bytes_whatever_are_worse_than_refused(raw: bytes, kind: str) -> None:
    for given_bytes in (raw, b"a,b\n" + raw, b'[{"a": ' + raw):
        with suppress(BadRequest, ValidationFailed):
            list(reading.rows(io.BytesIO(given_bytes), kind))


def real_files() -> Iterator[Path]:
    yield from sorted(Path(str(files("vega_datasets") / "_data")).glob("*.csv"))


def guessed(values: set[str]) -> str:
    """A type that takes all of these."""
    for kind in ("integer", "number", "date"):
        field = registry.latest().get("probes").by_name[f"a_{kind}"]
        with suppress(InvalidValue):
            for value in values - {""}:
                field.kind.clean(field, value)
            return kind
    return "text"


@pytest.mark.parametrize("file", list(real_files()), ids=lambda path: path.stem)
def test_a_real_file_comes_in_whole_and_goes_out_the_same(
    file: Path, make_collection: Any, as_user: Callable[[User], APIClient], admin: User
) -> None:
    make_collection("probes", a_integer="integer", a_number="number", a_date="date")
    raw = file.read_bytes()
    with file.open(newline="", encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))
    columns = {name: guessed({row[name] for row in table}) for name in table[0]}
    names = {name: f"c{number}" for number, name in enumerate(columns)}
    make_collection("things", **{names[name]: kind for name, kind in columns.items()})
    mapped = ",".join(f"{name}:{own}" for name, own in names.items())
    answer = send(as_user(admin), raw, query=f"?background=false&map={mapped}")
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert told["errors"] == [] and told["imported"] == len(table)
    made = exports.export(Call(principal=SYSTEM, query_string="sort=created,id"), "things", "csv")
    out = list(csv.DictReader(io.StringIO(b"".join(made.chunks).decode(), newline="")))
    made.chunks.close()
    for name, kind in columns.items():
        ours = [cells.unguarded(row[names[name]]) for row in out]
        theirs = [row[name] for row in table]
        if kind == "date":
            assert all(bool(a) == bool(b) for a, b in zip(ours, theirs, strict=True))
        elif kind == "text":
            assert ours == theirs
        else:
            assert [float(a or "nan") for a in ours if a] == [float(b) for b in theirs if b]
