"""Prometheus is told how far the log is, and who is behind."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from collections_app import event_retention
from core import metrics

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("schema_db")]


def told() -> dict[str, float]:
    lines = metrics.text().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def test_changes_and_readers_are_told(
    make_collection: Any, records: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(event_retention._needs, "webhooks", lambda: None)
    monkeypatch.setitem(event_retention._needs, "late", lambda: 1)
    make_collection("posts", title="text")
    for number in range(3):
        records("posts").create(title=str(number))
    found = told()
    assert found["fastcms_changes"] >= 3 and 0 <= found["fastcms_last_change_age_seconds"] < 3600
    assert found['fastcms_event_readers_behind{reader="webhooks"}'] == 0
    assert found['fastcms_event_readers_behind{reader="late"}'] == found["fastcms_changes"]
    assert found['fastcms_webhook_deliveries{status="pending"}'] == found["fastcms_webhook_deliveries_waiting"] == 0
    assert "cannot be told" not in caplog.text


def test_strangers_are_told_nothing(client: Client, as_user: Any, admin: User, member: User, settings: Any) -> None:
    settings.METRICS_TOKEN = "scrape-me"
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"authorization": "Bearer scrape"}).status_code == 401
    assert as_user(member).get("/metrics").status_code == 403
    for answer in (
        as_user(admin).get("/metrics"),
        client.get("/metrics/", headers={"authorization": "Bearer scrape-me", "accept": "text/plain"}),
    ):
        assert answer.status_code == 200 and answer["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "fastcms_changes" in answer.content.decode()
    assert client.get("/api/v1/users/", headers={"authorization": "Bearer scrape-me"}).status_code == 401
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", headers={"authorization": "Bearer "}).status_code == 401
