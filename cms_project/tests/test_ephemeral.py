"""The second SQLite file: what is in it, what it keeps out of the first, and that it may vanish."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.test import Client

from accounts.models import User
from cms_project import ephemeral
from cms_project.tests.test_settings import settings_of
from collections_app.tests.threads import at_once, faults
from conftest import PASSWORD
from core import clock

pytestmark = pytest.mark.engine


@pytest.fixture
def two_files(transactional_db: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has one database")


@pytest.fixture
def its_own_file(two_files: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The path of a second file of this test's own, which is not there yet."""
    connections[ephemeral.ALIAS].close()
    file = tmp_path / "app-ephemeral.db"
    monkeypatch.setitem(connections[ephemeral.ALIAS].settings_dict, "NAME", str(file))
    yield file
    connections[ephemeral.ALIAS].close()


def sign_in(user: User) -> Client:
    browser = Client()
    assert browser.post("/admin/login/", {"username": user.email, "password": PASSWORD}).status_code == 302
    return browser


def data_version() -> tuple[Any, ...]:
    connection.ensure_connection()
    raw = connection.connection
    return (*raw.execute("PRAGMA data_version").fetchone(), raw.total_changes)


def tables(alias: str) -> set[str]:
    return set(connections[alias].introspection.table_names())


def test_the_second_file_lies_beside_the_first_and_postgresql_has_none(tmp_path: Path) -> None:
    def names(**env: str) -> dict[str, str]:
        found = settings_of(tmp_path, "DATABASES", **env)["DATABASES"]
        return {alias: config["NAME"] for alias, config in found.items()}

    assert names() == {"default": f"{tmp_path}/app.db", "ephemeral": f"{tmp_path}/app-ephemeral.db"}
    url = f"sqlite:///{tmp_path}/elsewhere/shop.sqlite3"
    assert names(DATABASE_URL=url)["ephemeral"] == f"{tmp_path}/elsewhere/shop-ephemeral.sqlite3"
    assert names(DATABASE_URL="postgres://someone@localhost/shop") == {"default": "shop"}


def test_the_tests_leave_the_installations_own_file_alone(two_files: None) -> None:
    for alias in connections:
        assert Path(connections[alias].settings_dict["NAME"]).parent != settings.DATA_DIR


def test_each_table_is_in_the_file_that_it_belongs_to(two_files: None) -> None:
    assert tables(ephemeral.ALIAS) - {"django_migrations"} == {"django_session", "heartbeat", "request_log"}
    assert "django_session" not in tables("default")
    assert connections[ephemeral.ALIAS].cursor().execute("PRAGMA synchronous").fetchone() == (1,)
    assert connection.cursor().execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_session_neither_moves_the_contents_version_nor_waits_for_its_writer(two_files: None, admin: User) -> None:
    browser = sign_in(admin)
    before = data_version()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")  # a writer that takes its time

        def keep_a_session() -> None:
            session = browser.session
            session["seen"] = True
            session.save()
            connections.close_all()

        assert not faults(at_once(keep_a_session))
        cursor.execute("ROLLBACK")
    assert browser.session["seen"] is True
    assert data_version() == before


def test_a_sign_in_sweeps_out_the_sessions_that_have_expired(db: None, admin: User) -> None:
    Session.objects.create(session_key="old", session_data="", expire_date=clock.now() - timedelta(seconds=1))
    Session.objects.create(session_key="new", session_data="", expire_date=clock.now() + timedelta(hours=1))
    sign_in(admin)
    keys = set(Session.objects.values_list("session_key", flat=True))
    assert "new" in keys and "old" not in keys and len(keys) == 2


def test_a_second_file_that_was_deleted_is_made_again(its_own_file: Path, admin: User) -> None:
    assert not its_own_file.exists()
    ephemeral.migrate()
    browser = sign_in(admin)
    assert browser.get("/admin/").status_code == 200
    ephemeral.migrate()  # again, and nothing is lost
    assert browser.get("/admin/").status_code == 200


@pytest.mark.parametrize("part", ["header", "pages"])
def test_a_damaged_second_file_is_made_anew_and_told(
    its_own_file: Path, admin: User, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    ephemeral.migrate()
    sign_in(admin)
    connections[ephemeral.ALIAS].close()
    content = its_own_file.read_bytes()
    start = 0 if part == "header" else 100
    its_own_file.write_bytes(content[:start] + b"\x55" * (len(content) - start))
    with caplog.at_level(logging.WARNING):
        ephemeral.migrate()
    assert str(its_own_file) in caplog.text
    assert Session.objects.count() == 0
    assert sign_in(admin).get("/admin/").status_code == 200


def test_a_locked_second_file_is_not_taken_for_a_damaged_one(
    its_own_file: Path, monkeypatch: pytest.MonkeyPatch, admin: User
) -> None:
    ephemeral.migrate()
    sign_in(admin)

    def locked() -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(ephemeral, "_apply", locked)
        with pytest.raises(OperationalError):
            ephemeral.migrate()
    assert Session.objects.count() == 1


def test_the_migrate_command_brings_both_files_up_to_date(its_own_file: Path) -> None:
    call_command("migrate", database="default", verbosity=0)
    call_command("migrate", check_unapplied=True, verbosity=0)
    assert not its_own_file.exists()
    call_command("migrate", verbosity=0)
    assert "django_session" in tables(ephemeral.ALIAS)
    call_command("makemigrations", check_changes=True, verbosity=0)
    call_command("migrate", check_unapplied=True, verbosity=0)


def test_after_a_flush_a_session_speaks_of_nobody(its_own_file: Path, admin: User) -> None:
    call_command("migrate", verbosity=0)
    browser = sign_in(admin)
    call_command("flush", interactive=False, verbosity=0)
    assert User.objects.count() == 0
    assert "Make the first account" in browser.get("/admin/").content.decode()


def test_a_thread_that_needs_no_session_opens_no_second_connection(two_files: None, admin: User) -> None:
    opened: list[bool] = []

    def read() -> None:
        assert Client().get("/api/v1/collections/records/records").status_code == 200
        opened.append(connections[ephemeral.ALIAS].connection is None)

    assert not faults(at_once(read))
    assert opened == [True]
