"""The cast and the ways in, for every test of the project.

Alice's house: ``admin`` runs it, ``owner`` made the thing in question, ``member``
is signed in like anybody, ``stranger`` too, and none of them owns what ``owner``
owns. ``anonymous`` is a client without a token.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.db import connection, connections
from django.test import TransactionTestCase
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import Role, User
from cms_project import ephemeral
from collections_app.dialects import quote
from core import access_log, database
from tests import clean_database

pytest_plugins = ["collections_app.tests.fixtures"]

PASSWORD = "correct-horse-battery"
MEMORY, ROOM = Path("/dev/shm"), 2**30  # noqa: S108  # a folder of our own is made in it

# Whichever databases there are, every test may use them.
TransactionTestCase.databases = "__all__"  # type: ignore[assignment]
TransactionTestCase._fixture_teardown = clean_database.restore  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def nothing_is_noted_of_requests() -> None:
    """In a table, by a thread that would wait for the transaction of the test."""
    access_log.let_go("table")


@pytest.fixture(scope="session")
def folder_of_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where there is room: commits of tests need not be on disk.

    What survives a crash is tried by killing processes, which memory outlives.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path_factory.mktemp("database")
        return
    with TemporaryDirectory(prefix="fastcms-tests-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(folder_of_databases: Path) -> None:
    """A database of this run's own: a file, because threads and processes share it."""
    config = connection.settings_dict["TEST"]
    if connection.vendor == "sqlite":
        folder = folder_of_databases
        config["NAME"] = str(folder / "test.db")
        second = connections[ephemeral.ALIAS].settings_dict
        second["NAME"] = second["TEST"]["NAME"] = str(folder / "test-ephemeral.db")
    else:
        config["NAME"] = f"test_fastcms_{os.getpid()}"
        # As for a file in memory: nobody waits for the disk.
        connection.settings_dict["OPTIONS"]["options"] += " -c synchronous_commit=off"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The second SQLite file too: pytest-django makes only what some test names."""
    with django_db_blocker.unblock():
        ephemeral.migrate()
        clean_database.remember()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:  # the servers that tests start do not wait for the disk either
                cursor.execute(f"ALTER DATABASE {quote(connection.settings_dict['NAME'])} SET synchronous_commit = off")


@pytest.fixture(scope="session", autouse=True)
def no_reader_is_left(django_db_setup: None) -> Iterator[None]:
    """A database that somebody is connected to can't be dropped."""
    yield
    database.close()


@pytest.fixture
def committed_db(transactional_db: None) -> Iterator[None]:
    """A database whose transactions really commit, for threads and races.

    Afterwards Django's own tables are emptied and the built-in collection is laid down
    again, whose table is dropped for that.
    """
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS records")


@pytest.fixture(autouse=True)
def no_static_scan(settings: Any) -> None:
    """Each client builds the middleware anew; walking all static files each time is not needed."""
    settings.WHITENOISE_USE_FINDERS = False


@pytest.fixture(autouse=True)
def fast_passwords(settings: Any, request: pytest.FixtureRequest) -> None:
    """Argon2 costs 50 ms a time; only the tests about hashing pay for it."""
    if "real_hashers" not in request.fixturenames:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A Redis that is there for tests; what needs one is left out where there is none, but never in CI."""
    url = os.environ.get("TEST_REDIS_URL", "")
    if not url:
        assert not os.environ.get("CI"), "CI runs these with TEST_REDIS_URL"
        pytest.skip("TEST_REDIS_URL is not set")
    return url


@pytest.fixture
def real_hashers() -> None:
    """Ask for it to keep the product's own password hashers."""


@pytest.fixture(scope="session", autouse=True)
def patient_clients() -> None:
    """Five seconds, httpx's own limit, may be too few for Argon2 and a cold start on a busy machine."""
    for part in ("connect", "read", "write", "pool"):
        setattr(DEFAULT_TIMEOUT_CONFIG, part, 60.0)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of what a test does at random: another one each day, or ``TEST_SEED``. It is in the failure's message."""
    found = int(os.environ.get("TEST_SEED", datetime.now(UTC).toordinal()))
    request.node.add_report_section("setup", "seed", f"TEST_SEED={found}")
    return found


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    """``make_user("eve", role="admin")``: a verified account ``eve@example.com``."""

    def make(name: str, **fields: Any) -> User:
        fields.setdefault("verified", True)
        return User.objects.create_user(f"{name}@example.com", PASSWORD, username=name, **fields)

    return make


@pytest.fixture
def admin(make_user: Callable[..., User]) -> User:
    return make_user("admin", role=Role.ADMIN)


@pytest.fixture
def superadmin(make_user: Callable[..., User]) -> User:
    return make_user("superadmin", role=Role.SUPERADMIN)


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    return make_user("owner")


@pytest.fixture
def member(make_user: Callable[..., User]) -> User:
    return make_user("member")


@pytest.fixture
def stranger(make_user: Callable[..., User]) -> User:
    return make_user("stranger")


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient()


@pytest.fixture
def as_user() -> Callable[[User], APIClient]:
    """``as_user(owner).get("/api/v1/…")``: a client that sends the user's access token."""

    def client(user: User) -> APIClient:
        api = APIClient()
        api.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(user).access}")
        return api

    return client
