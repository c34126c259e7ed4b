"""What tests through HTTP share: paths, the callers by name, and the whole state to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from accounts.models import User
from collections_app.dialects import quote

COLLECTIONS = "/api/v1/collections"
BATCH = "/api/v1/batch"
# What a request may touch without having changed anything.
_BESIDE_THE_POINT = frozenset({"django_session", "django_migrations", "sign_ins"})


def path(collection: str, *parts: str) -> str:
    """``path("posts")``, ``path("posts", record_id)``, ``path("posts", "bulk-update")``."""
    return "/".join([COLLECTIONS, collection, "records", *parts])


def whole_state() -> dict[str, list[str]]:
    """Every row of every table, as text: records, links, search indexes, events, keys, definitions."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            execute = cursor.connection.execute  # Django's proxies would cost more than the reading
            tables = execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'sqlite_sequence'")
            return {
                table: sorted(map(repr, execute(f"SELECT * FROM {quote(table)}").fetchall()))
                for (table,) in tables.fetchall()
                if table not in _BESIDE_THE_POINT
            }
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        rows = "SELECT '%s', array_agg(t::text) FROM %s t"
        tables = [table for (table,) in cursor.fetchall() if table not in _BESIDE_THE_POINT]
        cursor.execute(" UNION ALL ".join(rows % (table, quote(table)) for table in tables))
        return {table: sorted(texts or ()) for table, texts in cursor.fetchall()}


def get(client: APIClient, url: str, **headers: str) -> Any:
    """GET with the query string exactly as written, ``?`` and ``&&`` included."""
    return client.generic("GET", url, **{f"HTTP_{name.upper()}": value for name, value in headers.items()})


@contextmanager
def nothing_changes() -> Iterator[None]:
    """Fails where anything stored is different afterwards."""
    before = whole_state()
    yield
    after = whole_state()
    changed = [table for table in before | after if before.get(table) != after.get(table)]
    assert not changed, f"changed on a refusal: {changed}"


@contextmanager
def undone() -> Iterator[None]:
    """Rolls back whatever is written within."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def attempt(request: Callable[[], Any]) -> Any:
    """The answer to a request whose effect is undone; a refusal must have had none."""
    with undone():
        before = whole_state()
        response = request()
        if response.status_code >= 400:
            assert whole_state() == before, f"changed, and then refused: {response.content[:200]!r}"
    return response


class Callers(Mapping[str, APIClient]):
    """The cast by name: ``callers["stranger"]`` is the client that sends their token."""

    def __init__(self, clients: Mapping[str, APIClient], users: Mapping[str, User]) -> None:
        self._clients, self.users = clients, users

    def __getitem__(self, name: str) -> APIClient:
        return self._clients[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def id(self, name: str) -> str:
        return str(self.users[name].id)


@pytest.fixture
def callers(
    anonymous: APIClient,
    stranger: User,
    member: User,
    owner: User,
    admin: User,
    as_user: Callable[[User], APIClient],
) -> Callers:
    users = {"stranger": stranger, "member": member, "owner": owner, "admin": admin}
    return Callers({"anonymous": anonymous, **{name: as_user(user) for name, user in users.items()}}, users)
