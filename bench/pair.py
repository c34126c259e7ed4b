"""The systems under comparison, filled with the same rows, running, and signed in to."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import common, ours, pocketbase, postgres, servers
from bench.stock import Stock
from bench.systems import System

ROWS = common.scaled(100_000)


def options(description: str | None) -> argparse.ArgumentParser:
    """The command line that all these benches share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="records in each collection")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="fill the databases there once; work on copies")
    parser.add_argument("--database", default="", metavar="URL", help="a PostgreSQL server: FastCMS alone, on it")
    return parser


@contextmanager
def prepared(chosen: argparse.Namespace, *, workers: int = 1) -> Iterator[list[System]]:
    """PocketBase and FastCMS, or with a PostgreSQL server FastCMS alone; the load generator has a core by itself."""
    rows = Stock(chosen.rows)
    os.sched_setaffinity(0, servers.LOAD_CORES)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastcms-bench-")))
        kept: Path = chosen.keep or home / "filled"
        if chosen.database:
            database = stack.enter_context(postgres.scratch(chosen.database))
            folder = _copy(kept, home, ours.NAME, chosen.rows, lambda to: ours.prepare(to, chosen.rows, database))
            yield [ours.system(folder, rows, database=database, workers=workers)]
            return
        theirs = _copy(kept, home, pocketbase.NAME, chosen.rows, lambda to: pocketbase.prepare(to, chosen.rows))
        folder = _copy(kept, home, ours.NAME, chosen.rows, lambda to: ours.prepare(to, chosen.rows))
        yield [pocketbase.system(theirs, rows), ours.system(folder, rows, workers=workers)]


@contextmanager
def running(chosen: argparse.Namespace, *, workers: int = 1) -> Iterator[list[System]]:
    """The same, started and signed in to; stopped at the end."""
    with prepared(chosen, workers=workers) as systems, started(systems):
        yield systems


@contextmanager
def started(systems: Sequence[System]) -> Iterator[None]:
    """All of them running and signed in to."""
    with ExitStack() as stack:
        for system in systems:
            system.server.start()
            stack.callback(system.server.stop)
            system.sign_in()
        yield


def _copy(kept: Path, home: Path, name: str, rows: int, fill: Callable[[Path], None]) -> Path:
    """A folder to work in: a copy of the one that was filled, now or in an earlier run."""
    filled, complete = kept / f"{name}-{rows}", kept / f"{name}-{rows}" / "bench.json"
    if not complete.exists():
        sys.stderr.write(f"  filling {name} with 3 × {rows:,} records …\n")
        shutil.rmtree(filled, ignore_errors=True)
        filled.mkdir(parents=True)
        fill(filled)
    return Path(shutil.copytree(filled, home / name))
