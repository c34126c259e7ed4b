"""A database that stays locked is 503 with Retry-After; afterwards all is as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import connection, connections

from accounts.models import User

pytestmark = pytest.mark.engine
ACCOUNT = {"email": "eve@example.com", "password": "correct-horse-battery"}


@pytest.fixture
def users_locked(committed_db: None) -> Iterator[Callable[[], None]]:
    """Somebody else holds the table, and we wait for 100 ms only; call it to let go."""
    sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 100" if sqlite else "SET lock_timeout = '100ms'")
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE" if sqlite else "BEGIN")
        if not sqlite:
            cursor.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    yield other.close
    other.close()
    connection.close()


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_write_that_cannot_get_its_lock_is_503_and_works_later(users_locked, client, accept):
    answer = client.post("/api/v1/auth/register", ACCOUNT, headers={"accept": accept})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    users_locked()
    assert not User.all_objects.exists()
    assert client.post("/api/v1/auth/register", ACCOUNT).status_code == 201
