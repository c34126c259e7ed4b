"""The benches run: at a hundredth of their size, where only the table matters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.common import Row, table

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("name", ["records", "rules", "schema", "bulk", "memory"])
def test_a_bench_prints_its_table(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", f"bench.{name}"],
        cwd=ROOT,
        env={**os.environ, "BENCH_SCALE": "0.01"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "| measured" in " ".join(ended.stdout.split()), ended.stdout


def test_a_table_says_which_targets_are_reached() -> None:
    shown = table(
        [
            Row("quick", 0.4, "ms", 1.0),
            Row("slow", 2.0, "ms", 1.0),
            Row("many", 20_000, "records/s", 10_000, more_is_better=True),
            Row("few", 9_000, "records/s", 10_000, more_is_better=True),
            Row("by the way", 3.14159, "µs"),
        ]
    )
    verdicts = [line.rsplit("|", 2)[1].strip() for line in shown.splitlines()[2:]]
    assert verdicts == ["yes", "**no**", "yes", "**no**", ""]
    assert "≥ 10,000 records/s" in shown and "3.14 µs" in shown
    assert len({len(line) for line in shown.splitlines()}) == 1
