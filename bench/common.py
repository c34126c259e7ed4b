"""Shared by all benches: a project of its own to measure, clocks, and the table.

Import this before anything of Django: :func:`start` decides where the data lives.
"""

from __future__ import annotations

import gc
import os
import platform
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BATCHES = 15
# A hundredth of everything is enough to see that the benches still run; the figures then mean nothing.
SCALE = float(os.environ.get("BENCH_SCALE", "1"))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. ``target`` is None where a figure is only for information."""

    what: str
    measured: float
    unit: str
    target: float | None = None
    more_is_better: bool = False

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.measured >= self.target if self.more_is_better else self.measured <= self.target


def scaled(count: int) -> int:
    """How many of something, at the scale of this run."""
    return max(1, round(count * SCALE))


@contextmanager
def start(**settings: str) -> Iterator[Path]:
    """Django on an empty SQLite database in a folder that goes away; answers the folder.

    ``settings`` are environment variables that differ from a fresh installation's.
    """
    with tempfile.TemporaryDirectory(prefix="fastcms-bench-") as name:
        folder = Path(name)
        os.environ.update(environment(folder) | settings)
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0, interactive=False)
        try:
            yield folder
        finally:
            connections.close_all()


def environment(folder: Path) -> dict[str, str]:
    """The settings of a fresh installation, whatever the developer's own are."""
    return {
        "DJANGO_SETTINGS_MODULE": "cms_project.settings",
        "ENV": "development",
        "ENV_FILE": "",
        "DATA_DIR": str(folder),
        "DATABASE_URL": "",
        "DB_DRIVER": "sqlite",
        "DEBUG": "false",
    }


def cpu_ms(action: Callable[[], Any], times: int = 100) -> float:
    """CPU milliseconds of this process per call: the best of fifteen batches, after a warm-up."""
    times = scaled(times)
    for _ in range(max(3, times // 10)):
        action()
    gc.collect()
    best = float("inf")
    for _ in range(BATCHES):
        before = time.process_time()
        for _ in range(times):
            action()
        best = min(best, time.process_time() - before)
    return best / times * 1000


def cpu_us(action: Callable[[], Any], times: int = 1000) -> float:
    """The same in microseconds, for small things."""
    return cpu_ms(action, times) * 1000


def rss_mb(pid: int | str = "self") -> float:
    """Resident memory of a process, in MB."""
    return memory_mb(pid, "status", "VmRSS")


def memory_mb(pid: int | str, file: str, key: str) -> float:
    """A figure of ``/proc/<pid>/<file>``, in MB."""
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} is gone")


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, aligned to be read as it is."""
    cells = [("", "measured", "target", "")]
    for row in rows:
        target = "" if row.target is None else f"{'≥' if row.more_is_better else '≤'} {_figure(row.target)} {row.unit}"
        verdict = {None: "", True: "yes", False: "**no**"}[row.reached]
        cells.append((row.what, f"{_figure(row.measured)} {row.unit}", target, verdict))
    return grid(cells[0], cells[1:])


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table, aligned to be read as it is: words left, figures right."""
    cells = [head, *lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    figures = [column > 0 and any(re.search(r"\d", line[column]) for line in cells[1:]) for column in range(len(head))]
    shown = [
        "| " + " | ".join(f"{cell:{'>' if right else '<'}{width}}" for cell, width, right in rows) + " |"
        for rows in (zip(line, widths, figures, strict=True) for line in cells)
    ]
    ruler = "".join(
        f"|{'-' * (width + 1)}{':' if right else '-'}" for width, right in zip(widths, figures, strict=True)
    )
    return "\n".join([shown[0], f"{ruler}|", *shown[1:]])


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """Where and on what this ran, in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    import django

    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()};"
        f" Python {platform.python_version()}, Django {django.__version__}, SQLite {sqlite3.sqlite_version};"
        f" {datetime.now(UTC):%Y-%m-%d}"
    )


def run(main: Callable[[], list[Row]]) -> None:
    """What a bench does as a command: its table to standard output."""
    sys.stdout.write(f"{machine()}\n\n{table(main())}\n")


def report(*parts: str) -> None:
    """The same for benches with words or tables of their own."""
    sys.stdout.write("\n\n".join([machine(), *parts]) + "\n")


def say(line: str) -> None:
    """To whoever waits."""
    sys.stderr.write(f"  {line}\n")
