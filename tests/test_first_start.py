"""Servers that start on a database which is not there yet, or half there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection

from collections_app.tests.other_process import other_process
from collections_app.tests.threads import at_once, faults
from tests.server import Server

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def nothing_yet(db: None, tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """The ``DATABASE_URL`` of a database without a table."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/new.db"
        return
    name = f"test_fastcms_{os.getpid()}_{secrets.token_hex(4)}"
    config = connection.settings_dict
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    yield f"postgres://{config['USER']}:{config['PASSWORD']}@{config['HOST']}:{config['PORT']}/{name}"
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_three_servers_start_at_once_on_an_empty_database(nothing_yet: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = []
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            servers.append(Server(tmp_path / str(number), DATABASE_URL=nothing_yet))
            stack.callback(servers[-1].stop)
        assert not faults(at_once(*(server.start for server in servers)))
        for server in servers:
            answer = httpx.get(f"{server.url}/api/v1/collections/records/records")
            assert (answer.status_code, answer.json()["total"]) == (200, 0)
            assert "Traceback" not in server.log.read_text()


def test_a_first_start_that_dies_again_and_again_is_completed_by_the_next(nothing_yet: str, tmp_path: Path) -> None:
    with other_process(tmp_path, DATABASE_URL=nothing_yet) as another:
        deaths, number = 0, 5
        while (outcome := another.run("cms_project.migrating.migrate", die_before=("statement", number))).killed:
            deaths, number = deaths + 1, number + 23
        assert "answer" in outcome, outcome
        assert deaths >= 8
        assert another.run("collections_app.schema.consistency.differences") == {"answer": []}
        made = another.run("record_create", name="records", data={"title": "the first"})
        assert "answer" in made, made
