"""What Prometheus is told: counters, histograms and gauges of ``prometheus_client``, over all workers of a server.

Whoever counts declares it here, once, at import or in ``AppConfig.ready()``::

    SENT = metrics.counter("mails_sent", "Mails sent, by outcome.", ["outcome"])
    SENT.labels("given_up").inc()

    metrics.gauge("realtime_connections", "Streams and sockets that are open.", hub_size)
    metrics.facts("webhook_deliveries", "Deliveries, by status.", count_by_status, ["status"])

A **gauge** is of a process: it is read in each worker every second, and a scrape answers the sum (or
the highest, ``of_workers="max"``). **Facts** are what all processes share, in the database say: they are
read when somebody asks, by the worker that is asked, in a thread that may wait for the database.

With several workers (``serve --workers N``) prometheus_client keeps the values in files that all of them
map (its multiprocess mode, :func:`share`); else in memory. Names get the prefix ``fastcms_``.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "fastcms_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
EVERY_SECONDS = 1.0  # between two looks at this process
_SHARED = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name
_DIRECTORY = "fastcms-metrics-"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# What a gauge or a fact answers: a number, or numbers by the values of its labels.
Value = float | Mapping[tuple[str, ...], float]
Read = Callable[[], Value]

logger = logging.getLogger("fastcms.metrics")

registry = CollectorRegistry(auto_describe=False)
_gauges: dict[str, tuple[Gauge, Read]] = {}
_facts: dict[str, tuple[str, Read, Sequence[str]]] = {}


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """A number that only grows; ``_total`` is added to its name."""
    return Counter(PREFIX + name, documentation, labels, registry=registry)


def histogram(name: str, documentation: str, labels: Sequence[str] = ()) -> Histogram:
    """How long something takes, in seconds."""
    return Histogram(PREFIX + name, documentation, labels, registry=registry, buckets=_SECONDS)


def gauge(
    name: str,
    documentation: str,
    read: Read,
    labels: Sequence[str] = (),
    *,
    of_workers: Literal["sum", "max"] = "sum",
) -> None:
    """A number of this process that goes up and down; ``read`` is called on the event loop and must not wait.
    With labels it answers all of them each time, zeros too.

    Registered again under the same name, ``read`` takes the place of the former one.
    """
    known = _gauges.get(name)
    mode: Any = f"live{of_workers}"
    one = known[0] if known else Gauge(PREFIX + name, documentation, labels, registry=registry, multiprocess_mode=mode)
    _gauges[name] = one, read


def facts(name: str, documentation: str, read: Read, labels: Sequence[str] = ()) -> None:
    """A number that is the same whichever process is asked; ``read`` may ask the database."""
    _facts[name] = documentation, read, labels


class _Requests(Histogram):
    """A histogram that takes many observations at once: to observe one costs more than many an answer is worth."""

    def add(self, counts: Sequence[float], seconds: float) -> None:
        """``counts`` by bucket, not cumulative, and the sum of what was observed."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(seconds)


class Requests:
    """How many requests were answered, how, and how fast. For the event loop alone."""

    def __init__(self) -> None:
        self._histogram = _Requests(
            f"{PREFIX}http_request_duration_seconds",
            "Requests until their answer was sent, by kind of path, method and status.",
            ["kind", "method", "status"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._cells: dict[tuple[str, str, int], list[float]] = {}

    def add(self, kind: str, method: str, status: int, seconds: float) -> None:
        """``kind`` and ``method`` must be of a few: each combination is a series of its own."""
        cell = self._cells.get((kind, method, status))
        if cell is None:
            cell = self._cells[kind, method, status] = [0.0] * (len(_SECONDS) + 2)
        cell[bisect_left(_SECONDS, seconds)] += 1
        cell[-1] += seconds

    def flush(self) -> None:
        cells, self._cells = self._cells, {}
        for (kind, method, status), cell in cells.items():
            one: Any = self._histogram.labels(kind, method, str(status) if status else "none")
            one.add(cell[:-1], cell[-1])


requests = Requests()
refusals = counter("rate_limit_refusals", "Requests refused with 429, by bucket.", ["bucket"])


def look() -> None:
    """Note what this process has counted and how it is. On the event loop, every second."""
    requests.flush()
    for name, (one, read) in _gauges.items():
        try:
            value = read()
        except Exception:
            logger.exception("the gauge %s cannot be read", name)
            continue
        if isinstance(value, Mapping):
            for labels, number in value.items():
                one.labels(*labels).set(number)
        else:
            one.set(value)


async def watch() -> None:
    """Look again and again, for as long as the process serves."""
    while True:
        look()
        await asyncio.sleep(EVERY_SECONDS)


def text() -> bytes:
    """Everything, in Prometheus' text format. In a thread: it asks the database."""
    told = CollectorRegistry(auto_describe=False)
    shared = os.environ.get(_SHARED)
    if shared:
        _forget_the_dead(Path(shared))
        multiprocess.MultiProcessCollector(told, shared)
    told.register(_Facts())
    return (b"" if shared else generate_latest(registry)) + generate_latest(told)


class _Facts(Collector):
    def collect(self) -> Iterator[Metric]:
        for name, (documentation, read, labels) in list(_facts.items()):
            family = GaugeMetricFamily(PREFIX + name, documentation, labels=labels)
            try:
                for values, number in _by_labels(read()):
                    family.add_metric(values, number)
            except Exception:
                logger.exception("%s cannot be told", name)  # and the rest can
            else:
                yield family


def _by_labels(value: Value) -> Iterable[tuple[Sequence[str], float]]:
    return value.items() if isinstance(value, Mapping) else [((), value)]


# --- several workers -----------------------------------------------------------------------


def share() -> None:
    """Have the workers that this process will start count together; called before they start.

    The files are kept in memory where the system has a place for that: a disk that is full
    must not end a process that counts.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the directory made in it is ours alone
    place = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    for left in place.glob(f"{_DIRECTORY}*"):  # by servers that were killed
        owner = left.name.removeprefix(_DIRECTORY).partition("-")[0]
        if owner.isdigit() and not _is_there(int(owner)) and left.stat().st_uid == os.getuid():
            shutil.rmtree(left, ignore_errors=True)
    directory = tempfile.mkdtemp(prefix=f"{_DIRECTORY}{os.getpid()}-", dir=place)
    os.environ[_SHARED] = directory
    atexit.register(shutil.rmtree, directory, ignore_errors=True)


def _forget_the_dead(directory: Path) -> None:
    """What workers that have died counted stays counted; what they were is over."""
    for file in directory.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not _is_there(pid):
            multiprocess.mark_process_dead(pid, str(directory))


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # asks only
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


# --- of every process ----------------------------------------------------------------------


def _resident_bytes() -> float:
    """What this process has in memory; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


_started = time()
gauge("process_resident_memory_bytes", "Memory of all workers.", _resident_bytes)
gauge("process_uptime_seconds", "For how long the oldest worker has run.", lambda: time() - _started, of_workers="max")
gauge("workers", "Processes that serve.", lambda: 1)
