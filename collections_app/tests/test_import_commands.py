"""``import_records`` and ``export_records``: the same as over the API, from a terminal."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

pytestmark = pytest.mark.engine


@pytest.fixture
def things(make_collection: Any) -> Any:
    return make_collection(
        "things",
        title={"type": "text", "validation": {"required": True}},
        price="number",
        sku={"type": "text", "validation": {"unique": True}},
        secret={"type": "text", "hidden": True},
    )


def test_a_file_is_imported_and_what_is_wrong_is_told(
    things: Any, records: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "things.csv"
    file.write_text("Name,price,sku\nA,1,a\nB,2,b\n")
    call_command("import_records", "things", str(file), map="Name:title", dry_run=True)
    assert records("things").items() == [] and "2 of 2 rows would be imported" in capsys.readouterr().out
    call_command("import_records", "things", str(file), "--map", "Name:title")
    assert sorted(records("things").values("title")) == ["A", "B"]
    file.write_text("title,price,sku\nA2,x,a\nB2,3,b\n")
    for atomic in (True, False):
        with pytest.raises((SystemExit, CommandError)) as left:
            call_command("import_records", "things", str(file), match="sku", atomic=atomic)
        told = capsys.readouterr()
        assert "Row 2, field 'price': Cannot convert 'x' to number" in told.err
        assert sorted(records("things").values("title")) == (["A", "B"] if atomic else ["A", "B2"])
    assert isinstance(left.value, SystemExit) and left.value.code == 1
    lines = tmp_path / "lines"
    lines.write_text('{"title": "C"}\n{"title": "D"}\n')
    call_command("import_records", "things", str(lines), format="json")
    assert len(records("things").items()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["things", "{}/none.csv"], "No such file"),
        (["none", "{}/a.csv"], "no collection 'none'"),
        (["things", "{}/a.txt"], "--format"),
        (["things", "{}/a.csv", "--match", "title"], "must be id, or a unique field"),
        (["things", "{}/b.csv"], "There is no such field"),
    ],
)
def test_what_cant_be_imported_is_refused_in_words(
    arguments: list[str], message: str, things: Any, records: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("title\nA\n")
    (tmp_path / "b.csv").write_text("nothing\nA\n")
    with pytest.raises(CommandError, match=message):
        call_command("import_records", *(one.format(tmp_path) for one in arguments))
    assert records("things").items() == []


def test_records_are_exported_to_a_file_or_the_terminal(
    things: Any, records: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        records("things").create(title=f"t{number}", price=number, secret="s")
    monkeypatch.chdir(tmp_path)
    call_command("export_records", "things", sort="-price", filter="price >= 1", fields="title,secret")
    with (tmp_path / "things_export.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["title"], row["secret"]) for row in rows] == [("t2", "s"), ("t1", "s")]
    assert "bytes are in things_export.csv" in capsys.readouterr().out
    call_command("export_records", "things", "all.json")
    assert len(json.loads((tmp_path / "all.json").read_bytes())) == 3
    capsys.readouterr()
    call_command("export_records", "things", "-")
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 3
    with pytest.raises(CommandError, match="price"):
        call_command("export_records", "things", "bad.csv", filter="price >>> 1")
    with pytest.raises(CommandError, match="--format"):
        call_command("export_records", "things", "bad.pdf")
    assert {one.name for one in tmp_path.iterdir()} == {"things_export.csv", "all.json"}
