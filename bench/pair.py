"""The systems under comparison, filled with the same rows, running, and signed in to."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

from bench import common, ours, pocketbase, postgres, servers, stock
from bench.stock import Stock
from bench.systems import System

ROWS = common.scaled(100_000)


def options(description: str | None) -> argparse.ArgumentParser:
    """The command line that all these benches share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="records in each collection")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the filled SQLite databases there")
    parser.add_argument("--database", default="", metavar="URL", help="a PostgreSQL server: FastCMS alone, on it")
    return parser


@contextmanager
def prepared(chosen: argparse.Namespace, *, peer: bool = True, workers: Sequence[int] = (1,)) -> Iterator[list[System]]:
    """PocketBase, unless ``peer`` is false or FastCMS runs on PostgreSQL, and a FastCMS for each number of workers."""
    rows = Stock(chosen.rows)
    os.sched_setaffinity(0, servers.LOAD_CORES)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and stop the servers too
    if len(servers.CORES) == 1:
        common.say("one core for servers and load generator: only CPU per request means something")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastcms-bench-")))
        kept: Path = chosen.keep or home / "filled"
        found = []
        if chosen.database:
            database = stack.enter_context(postgres.scratch(chosen.database))
            folder = home / ours.NAME
            folder.mkdir()
            common.say(f"filling PostgreSQL with 3 × {chosen.rows:,} records …")
            ours.prepare(folder, chosen.rows, database)
        else:
            database, folder = "", _copy(kept, home, ours, chosen.rows)
            if peer:
                found.append(pocketbase.system(_copy(kept, home, pocketbase, chosen.rows), rows))
        yield found + [ours.system(folder, rows, database=database, workers=count) for count in workers]


@contextmanager
def running(chosen: argparse.Namespace, *, peer: bool = True, workers: Sequence[int] = (1,)) -> Iterator[list[System]]:
    """The same, started and signed in to; stopped at the end."""
    with prepared(chosen, peer=peer, workers=workers) as systems, started(systems):
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


def _copy(kept: Path, home: Path, peer: ModuleType, rows: int) -> Path:
    """A folder to work in: a copy of the one that was filled, now or by the same code in an earlier run."""
    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in (peer, stock))
    filled = kept / f"{peer.NAME}-{rows}-{hashlib.blake2b(sources, digest_size=4).hexdigest()}"
    if not (filled / "bench.json").exists():
        common.say(f"filling {peer.NAME} with 3 × {rows:,} records …")
        shutil.rmtree(filled, ignore_errors=True)
        filled.mkdir(parents=True)
        peer.prepare(filled, rows)
    return Path(shutil.copytree(filled, home / peer.NAME))
