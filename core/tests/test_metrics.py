"""What is counted is told, once, over all workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import metrics


def told() -> str:
    metrics.look()
    return metrics.text().decode()


def test_requests_are_counted_in_their_bucket() -> None:
    for seconds in (0.0004, 0.0004, 0.3, 99.0):
        metrics.requests.add("test_kind", "GET", 200, seconds)
    lines = told().splitlines()
    name = "fastcms_http_request_duration_seconds"
    labels = 'kind="test_kind",method="GET",status="200"'
    assert f'{name}_bucket{{{labels},le="0.001"}} 2.0' in sorted_labels(lines)
    assert f'{name}_bucket{{{labels},le="0.5"}} 3.0' in sorted_labels(lines)
    assert f'{name}_bucket{{{labels},le="+Inf"}} 4.0' in sorted_labels(lines)
    assert f"{name}_count{{{labels}}} 4.0" in lines


def sorted_labels(lines: list[str]) -> list[str]:
    """With ``le`` at the end, wherever the library puts it."""
    moved = []
    for line in lines:
        head, _, rest = line.partition("{")
        inside, _, value = rest.partition("}")
        parts = sorted(inside.split(","), key=lambda part: part.startswith("le="))
        moved.append(f"{head}{{{','.join(parts)}}}{value}")
    return moved


def test_a_gauge_is_read_when_it_is_told_and_one_that_fails_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    size = {("a",): 2.0}
    metrics.gauge("test_size", "For this test.", lambda: size, ["of"])
    metrics.gauge("test_broken", "For this test.", lambda: 1 / 0)
    metrics.facts("test_fact", "For this test.", lambda: 7)
    metrics.facts("test_broken_fact", "For this test.", lambda: 1 / 0)
    try:
        first = told()
        size["a",] = 5.0
        second = told()
    finally:
        for name in ("test_size", "test_broken"):
            metrics.registry.unregister(metrics._gauges.pop(name)[0])
        for name in ("test_fact", "test_broken_fact"):
            del metrics._facts[name]
    assert 'fastcms_test_size{of="a"} 2.0' in first
    assert 'fastcms_test_size{of="a"} 5.0' in second
    assert "fastcms_test_fact 7.0" in first
    assert "test_broken cannot be read" in caplog.text
    assert "test_broken_fact cannot be told" in caplog.text


_PARENT = """
import os, subprocess, sys
from core import metrics
metrics.share()
worker = '''
from core import metrics
SENT = metrics.counter("sent", "For this test.")
SENT.inc(2)
metrics.gauge("open", "For this test.", lambda: 3)
metrics.requests.add("api", "GET", 200, 0.0001)
metrics.look()
if __import__("sys").argv[1] == "last":
    print(metrics.text().decode())
'''
for name in ("first", "second", "last"):
    subprocess.run([sys.executable, "-c", worker, name], check=True)
print("DIRECTORY", os.environ["PROMETHEUS_MULTIPROC_DIR"])
"""


def test_workers_are_summed_and_what_dead_ones_were_is_forgotten() -> None:
    done = subprocess.run([sys.executable, "-c", _PARENT], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "fastcms_sent_total 6.0" in lines  # counted by three, two of which have ended
    assert "fastcms_open 3.0" in lines  # of the one that runs
    assert 'fastcms_http_request_duration_seconds_count{kind="api",method="GET",status="200"} 3.0' in lines
    directory = next(line for line in lines if line.startswith("DIRECTORY")).split()[1]
    assert not Path(directory).exists()


def test_what_a_killed_server_left_is_cleared_away(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr(metrics.atexit, "register", lambda *args, **kwargs: None)
    metrics.share()
    ours = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    left = ours.with_name(f"fastcms-metrics-{int(dead.stdout)}-left")
    left.mkdir()
    try:
        metrics.share()
        assert ours.exists() and not left.exists()
    finally:
        ours.rmdir()
        Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).rmdir()
