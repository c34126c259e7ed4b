"""Health endpoints, under both prefixes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cms_project import checks
from cms_project.checks import Check
from core import background, clock
from core.gate import gate
from monitoring import heartbeat
from monitoring.models import Heartbeat

pytestmark = pytest.mark.django_db
NAMES = ["database", "migrations", "open", "cache", "channel_layer", "disk"]


@pytest.fixture(params=["", "/api/v1"])
def at(request: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    for check in (*checks.all_checks(), checks.WORKER):
        monkeypatch.setattr(check, "_run", None)  # nothing is known from other tests
        monkeypatch.setattr(check, "_kept", 0)
    return lambda path: client.get(f"{request.param}/health{path}")


def test_it_is_healthy_alive_and_ready(at: Any) -> None:
    assert at("/").json()["status"] == "healthy" and at("/").json()["message"] == "Service is running"
    assert at("/live").json() == {"status": "alive"}
    assert at("/ready").json() == {"status": "ready", "checks": dict.fromkeys(NAMES, True), "failed": []}
    assert at("/db").json() == {"status": "healthy", "database": "connected"}
    assert at("/cache/").json() == {"status": "healthy", "cache": "connected"}
    assert at("/ready").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("check", [checks.DATABASE, checks.MIGRATIONS], ids=lambda check: check.name)
def test_without_what_is_vital_it_is_not_ready(at: Any, monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    monkeypatch.setattr(check, "ask", lambda: 1 / 0)
    refused = at("/ready")
    assert refused.status_code == 503 and refused.json()["status"] == "not_ready"
    assert refused.json()["failed"] == [check.name]
    assert at("/").json()["status"] == "degraded" and at("/live").status_code == 200
    assert at("/db").status_code == (503 if check is checks.DATABASE else 200)


@pytest.mark.parametrize("check", [checks.CACHE, checks.CHANNEL_LAYER, checks.DISK], ids=lambda check: check.name)
def test_what_else_is_away_degrades_only(at: Any, monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    monkeypatch.setattr(check, "ask", lambda: False)
    answer = at("/ready")
    assert (answer.status_code, answer.json()["status"], answer.json()["failed"]) == (200, "degraded", [check.name])
    assert at("/").json()["status"] == "degraded" and at("/").status_code == 200
    assert at("/cache").status_code == (503 if check is checks.CACHE else 200)


def test_a_full_disk_and_a_restore_are_told(at: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HEALTH_MIN_DISK_MB = 10**12
    assert at("/ready").json()["failed"] == ["disk"]
    settings.HEALTH_MIN_DISK_MB = 0
    monkeypatch.setattr(gate, "is_open", False)
    assert (at("/ready").status_code, at("/ready").json()["failed"]) == (503, ["open"])


def test_a_missing_migration_is_seen(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = checks._newest_migrations() | {("accounts", "9999_later")}
    monkeypatch.setattr(checks, "_newest_migrations", lambda: newest)
    assert at("/ready").json()["failed"] == ["migrations"]


def test_what_hangs_is_away_and_holds_one_thread(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = threading.Event(), []

    def hang() -> bool:
        asked.append(1)
        return go.wait(60)

    monkeypatch.setattr(checks, "SECONDS", 0.05)
    monkeypatch.setattr(checks.CACHE, "ask", hang)
    try:
        assert [at("/ready").json()["checks"]["cache"] for _ in range(5)] == [False] * 5
        assert len(asked) == 1
    finally:
        go.set()
    monkeypatch.setattr(checks, "SECONDS", 30.0)
    deadline = time.monotonic() + 60
    while not (is_there := at("/ready").json()["checks"]["cache"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_there


@pytest.mark.django_db(transaction=True)
def test_a_worker_is_there_as_long_as_its_notes_are_fresh(at: Any, settings: Any) -> None:
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    assert background.has_broker()
    assert at("/ready").json()["failed"] == ["worker"]
    heartbeat.beat()
    assert at("/ready").json()["failed"] == []
    for away in (timedelta(minutes=2), -timedelta(hours=1)):
        Heartbeat.objects.update(at=clock.now() - away)
        assert at("/ready").json()["failed"] == ["worker"] and at("/ready").status_code == 200


def test_strangers_learn_no_version_in_production(at: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at("/info").json()["service"] == "FastCMS" and "version" in at("/").json()
    settings.PRODUCTION = True
    monkeypatch.setattr(checks.DATABASE, "ask", lambda: Path("/nowhere/secret.db").read_text())
    assert at("/info").status_code == 404
    for path in ("/", "/ready", "/db", "/live"):
        text = at(path).content.decode()
        assert "version" not in text and "secret" not in text


def test_they_are_in_the_document(client: Any) -> None:
    paths = client.get("/api/schema", headers={"accept": "application/json"}).json()["paths"]
    found = {path.removeprefix("/api/v1/health"): item for path, item in paths.items() if "/health" in path}
    assert sorted(found) == ["", "/cache", "/db", "/info", "/live", "/ready"]
    assert set(found["/ready"]["get"]["responses"]) >= {"200", "503"}


def test_a_wrong_path_or_method_is_refused(client: Any) -> None:
    assert client.get("/healthlive").status_code == client.get("/health/nothing").status_code == 404
    assert client.post("/health/ready").status_code == 405
    assert client.head("/health/ready").status_code == 200
