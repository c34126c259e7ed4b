"""Health endpoints, under both prefixes."""

from __future__ import annotations

import pytest

from cms_project import health

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["", "/api/v1"])
def at(request, client):
    return lambda path: client.get(f"{request.param}/health{path}")


def test_it_is_healthy_alive_and_ready(at):
    assert at("/").json()["status"] == "healthy" and at("/").json()["message"] == "Service is running"
    assert at("/live").json() == {"status": "alive"}
    assert at("/ready").json() == {"status": "ready", "checks": {"database": True, "cache": True}}
    assert at("/db").json() == {"status": "healthy", "database": "connected"}
    assert at("/cache/").json() == {"status": "healthy", "cache": "connected"}


def test_without_a_database_it_is_not_ready(at, monkeypatch):
    monkeypatch.setattr(health, "_database_answers", lambda: False)
    assert at("/ready").status_code == 503 and at("/ready").json()["status"] == "not_ready"
    assert at("/db").status_code == 503
    assert at("/live").status_code == 200


def test_a_cache_that_is_away_degrades_only(at, monkeypatch):
    monkeypatch.setattr(health, "_cache_answers", lambda: False)
    assert at("/ready").status_code == 200 and at("/ready").json()["status"] == "degraded"
    assert at("/cache").status_code == 503


def test_info_is_not_shown_in_production(at, settings):
    assert at("/info").json()["service"] == "FastCMS"
    settings.PRODUCTION = True
    assert at("/info").status_code == 404
