"""Requests are noted in a table, without secrets and without holding anybody up, and admins read it."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from core import access_log, clock
from core.access_log import Entry, Keeper
from monitoring import request_log
from monitoring.models import LoggedRequest
from settings_app import services

LOGS = "/api/v1/logs"


def note(**given: Any) -> LoggedRequest:
    usual = {
        "at": clock.now(), "method": "GET", "path": "/api/v1/collections", "status": 200, "ms": 1.5,
        "address": "192.0.2.1", "who": "", "request_id": "r-1",
    }  # fmt: skip
    return LoggedRequest.objects.create(**usual | given)


def test_more_than_fits_is_dropped_and_counted(settings: Any) -> None:
    settings.ACCESS_LOG = False
    written: list[tuple[int, int]] = []
    access_log.keep(Keeper("test", lambda entries, lost: written.append((len(entries), lost)), 5))
    try:
        log = access_log.AccessLog()
    finally:
        access_log.let_go("test")
    for _ in range(8):
        log.add("GET", "/", 200, 1.0, "id", "::1")
    log.close()
    assert written == [(5, 3)]


def test_a_keeper_that_fails_loses_its_entries_and_goes_on(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.ACCESS_LOG = False
    written: list[int] = []

    def write(entries: Any, lost: int) -> None:
        written.append(len(entries))
        if len(written) == 1:
            raise OSError("the disk is full")

    access_log.keep(Keeper("test", write, 5))
    try:
        log = access_log.AccessLog()
    finally:
        access_log.let_go("test")
    for _ in range(2):
        log.add("GET", "/", 200, 1.0, "id", "::1")
        log.close()
    assert written == [1, 1] and "the disk is full" in caplog.text


def test_admins_search_it(db: None, admin: User, member: User, anonymous: Any, as_user: Any) -> None:
    old = note(at=clock.now() - timedelta(days=2), path="/API/old", status=404, ms=3000.0, request_id="r-old")
    new = note(method="POST", who=f"users/{member.pk}", address="2001:db8::1", status=0)

    def found(query: str) -> list[int]:
        answer = as_user(admin).get(f"{LOGS}?{query}")
        assert answer.status_code == 200, answer.content
        return [item["id"] for item in answer.json()["items"]]

    assert found("") == [new.pk, old.pk]
    assert found("status=404") == found("status=4xx") == found("path=api/OLD") == found("slower_than=2999") == [old.pk]
    assert found(f"who=users/{member.pk}") == found("method=post") == found("address=2001:db8::1") == [new.pk]
    day = clock.isoformat(clock.now() - timedelta(days=1))
    assert found(f"since={day}") == [new.pk] and found(f"until={day}") == [old.pk]
    assert found("request_id=r-old") == [old.pk] and found("page=2&per_page=1") == [old.pk]
    page = as_user(admin).get(f"{LOGS}?per_page=1").json()
    assert (page["total"], page["total_pages"], page["items"][0]["status"]) == (2, 2, None)
    for query, status in (("status=4x1", 422), ("since=never", 422), ("nothing=1", 400), ("slower_than=nan", 422)):
        assert as_user(admin).get(f"{LOGS}?{query}").status_code == status, query
    assert (as_user(member).get(LOGS).status_code, anonymous.get(LOGS).status_code) == (403, 401)


@pytest.mark.engine
def test_it_is_kept_for_so_many_days_and_rows(db: None, admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "_PORTION", 2)
    assert request_log.trim() == 0
    rows = [note(at=clock.now() - timedelta(days=days)) for days in (9, 8, 6, 5, 4, 3)]
    assert request_log.trim() == 2
    services.put(request_log.ROWS, 3, by=str(admin.pk))
    assert request_log.trim() == 1
    services.put(request_log.DAYS, 1, by=str(admin.pk))
    assert request_log.trim() == 3
    assert not LoggedRequest.objects.filter(pk__in=[row.pk for row in rows]).exists()


def test_the_admin_shows_it_and_changes_nothing(db: None, admin: User, client: Client) -> None:
    client.force_login(admin)
    row = note(path="/api/v1/<script>", status=500)
    note(path="/elsewhere", status=200)
    page = client.get("/admin/monitoring/loggedrequest/?q=api/v1&status_class=5xx").content.decode()
    assert "/api/v1/&lt;script&gt;" in page and "/elsewhere" not in page
    assert client.post(f"/admin/monitoring/loggedrequest/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/monitoring/loggedrequest/add/").status_code == 403
    assert LoggedRequest.objects.count() == 2


@pytest.mark.engine
def test_long_and_odd_values_fit(committed_db: None) -> None:
    entry = Entry(
        time.time(), "PROPFINDANDMORE", "/x" * 900, 207, 1.0, "r" * 128, "fe80::1%" + "e" * 80, "c/" + "i" * 300
    )
    writing = threading.Thread(target=request_log.write, args=[[entry], 0])
    writing.start()
    writing.join()
    noted = LoggedRequest.objects.get()
    assert len(noted.path) == 500 and noted.method == "PROPFINDAN" and len(noted.who) == 150


def test_nothing_is_written_where_nothing_is_kept(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log.seen, "value", lambda key: {request_log.ROWS: 0}[key])
    request_log.write([Entry(time.time(), "GET", "/x", 200, 1.0, "r", "::1", "")], 0)
    assert not LoggedRequest.objects.exists()
