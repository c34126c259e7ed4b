"""Commands that write do nothing while a backup is put in place, and keep it waiting while they work."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from collections_app.files import sweeping
from core import gate
from core.errors import ServiceUnavailable

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_path", lambda which: tmp_path / which)


@pytest.mark.parametrize(
    "command",
    [
        ("import_records", "things", "things.csv"), ("sweep_files",), ("trim_events",), ("demo",),
        ("schema", "apply", "schema.json"), ("checkdb", "--fix"),
    ],
)  # fmt: skip
def test_a_command_that_writes_is_refused_while_the_gate_is_closed(command: tuple[str, ...]) -> None:
    with gate.closed(), pytest.raises(CommandError, match="being restored"):
        call_command(*command)


def test_the_gate_stays_open_while_a_command_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "DRAIN_SECONDS", 0.05)
    tried = []

    def sweep(*, dry_run: bool) -> sweeping.Report:
        with pytest.raises(ServiceUnavailable), gate.closed():
            pass
        tried.append(dry_run)
        return sweeping.Report()

    monkeypatch.setattr(sweeping, "sweep", sweep)
    call_command("sweep_files", verbosity=0)
    assert tried == [False]
    with gate.closed():
        pass
