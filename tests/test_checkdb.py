"""``manage.py checkdb``: silent on a healthy database, tells each harm, repairs what can be and loses nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, connections

from accounts.principals import SYSTEM
from backups.models import Backup
from collections_app import dialects
from collections_app.dialects import quote
from collections_app.models import StoredFile
from collections_app.schema import indexes, registry, service
from collections_app.schema.definition import CollectionDef
from core import consistency, database
from tests.two_ways import copy_file
from webhooks import services as webhooks

pytestmark = pytest.mark.engine

PASSED = "Database consistency check passed - all required tables and columns exist"


def run(*arguments: str) -> tuple[int, str]:
    """The command's exit code and what it printed."""
    out = io.StringIO()
    try:
        call_command("checkdb", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def execute(*statements: str) -> None:
    """As somebody does who has opened the database beside us, and minds no constraints."""
    run_one = dialects.current().execute
    if connection.vendor == "sqlite":
        run_one("PRAGMA foreign_keys = OFF")
        run_one("PRAGMA ignore_check_constraints = ON")
    else:
        run_one("SET session_replication_role = replica")
    for statement in statements:
        run_one(statement)
    if connection.vendor == "sqlite":
        run_one("PRAGMA foreign_keys = ON")
        run_one("PRAGMA ignore_check_constraints = OFF")
    else:
        run_one("SET session_replication_role = DEFAULT")
    registry.forget()


@pytest.fixture
def put_back(schema_db: None, tmp_path: Path) -> Iterator[None]:
    """Whatever is done to the database is undone, also what no other test could live with."""
    name = connection.settings_dict["NAME"]
    copy = str(tmp_path / "kept.db") if connection.vendor == "sqlite" else f"{name}_kept"
    copied = copy_file if connection.vendor == "sqlite" else _copy_database
    copied(name, copy)
    yield
    copied(copy, name)
    registry.forget()
    if connection.vendor == "postgresql":
        _outside(f"DROP DATABASE {quote(copy)} WITH (FORCE)")


def _copy_database(source: str, target: str) -> None:
    connections.close_all()
    database.close()
    _outside(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'",
        f"DROP DATABASE IF EXISTS {quote(target)} WITH (FORCE)",
        f"CREATE DATABASE {quote(target)} TEMPLATE {quote(source)}",
        f"ALTER DATABASE {quote(target)} SET synchronous_commit = off",
    )


def _outside(*statements: str) -> None:
    given = connection.settings_dict
    address = {
        "host": given["HOST"],
        "port": given["PORT"] or 5432,
        "user": given["USER"],
        "password": given["PASSWORD"],
    }
    with psycopg.connect(dbname="postgres", autocommit=True, **address) as outside:
        for statement in statements:
            outside.execute(statement)


@pytest.fixture
def shop(
    put_back: None, make_collection: Any, records: Any, admin: Any, as_user: Any, settings: Any, tmp_path: Path
) -> CollectionDef:
    """A collection that has something of everything, with its records, a file and a webhook."""
    settings.DATA_DIR = tmp_path
    (tmp_path / "backups").mkdir()
    places = {
        name: {**settings.STORAGES[name], "OPTIONS": {"location": str(tmp_path / name)}}
        for name in ("default", "backups")
    }
    settings.STORAGES = {**settings.STORAGES, **places}
    make_collection("makers", name={"type": "text", "validation": {"unique": True}})
    made = make_collection(
        "goods", name="text", price="decimal", count="integer", sold="datetime", extra="json", slug="text",
        maker={"type": "relation", "relation": {"collection_id": "makers"}},
        others={"type": "relation", "relation": {"collection_id": "makers", "type": "many-to-many"}},
        picture="file", indexes=[{"fields": ["slug"], "unique": True}], options={"search": ["name"]},
    )  # fmt: skip
    records("makers").create(id="m1", name="Acme")
    api = as_user(admin)
    for number in range(3):
        data = {
            "id": f"g{number}", "name": f"Good {number}", "price": "1.50", "count": number, "slug": f"s{number}",
            "maker": "m1", "others": ["m1"], "extra": '{"a": 1}', "sold": "2026-01-15T10:00:00Z",
            "picture": SimpleUploadedFile("p.txt", b"text"),
        }  # fmt: skip
        answer = api.post("/api/v1/collections/goods/records", data, format="multipart")
        assert answer.status_code == 201, answer.content
    service.collection_create(
        actor=SYSTEM, payload={"name": "per_maker", "type": "view", "view_query": "SELECT maker, count(*) AS n FROM goods GROUP BY maker"}
    )  # fmt: skip
    webhooks.webhook_create(url="https://example.com/hook", collection="goods", events_wanted=["create"], retry_count=3)
    return made  # type: ignore[no-any-return]


def content() -> dict[str, Any]:
    """Every value of every record, and what else people have stored."""
    rows = {}
    for name in ("goods", "makers"):
        execute = dialects.current().execute
        table = registry.load().by_name[name].table
        rows[name] = sorted(map(repr, execute(f"SELECT * FROM {quote(table)}").fetchall()))
    rows["files"] = sorted(StoredFile.objects.values_list("name", flat=True))
    return rows


def test_a_healthy_database_passes_and_nothing_is_written(shop: CollectionDef) -> None:
    before = content()
    code, told = run()
    assert (code, PASSED in told) == (0, True), told
    assert "Tables OK: YES\nColumns OK: YES\n" in told
    code, told = run("--fix")
    assert code == 0 and not Backup.objects.exists(), told
    assert content() == before


def test_what_is_missing_is_told_and_added_in_the_words_of_the_document(shop: CollectionDef) -> None:
    execute("ALTER TABLE users DROP COLUMN used_invite_code", "DROP TABLE invites")
    code, told = run()
    assert code == 1
    assert (
        "Tables OK: NO\nMissing Tables:\n  - invites\n  (Use --checkdb --fix to create missing tables automatically)\n"
        "Columns OK: NO\nMissing Columns:\n  - users.used_invite_code\n"
        "  (Use --checkdb --fix to add missing columns automatically)\n"
    ) in told
    before = content()
    code, told = run("--fix")
    assert code == 0, told
    assert (
        "Creating missing tables: invites...\nAdding missing columns...\n  - Adding used_invite_code to users\n" in told
    )
    assert told.rstrip().endswith(f"{PASSED}\n{'=' * 42}")
    assert Backup.objects.get().note == "before a repair"
    assert content() == before
    assert run() == run() and run()[0] == 0


@dataclass(frozen=True)
class Harm:
    """What was done, a word that tells it, and whether it can be made good without people."""

    sql: Callable[[CollectionDef], tuple[str, ...]]
    word: str
    mended: bool
    engine: str = ""


def sole(text: str) -> Callable[[CollectionDef], tuple[str, ...]]:
    """The statement, with names of the collection put in."""

    def made(shop: CollectionDef) -> tuple[str, ...]:
        unique = next(iter(name for name in indexes.existing(shop.table, connection.vendor) if name.startswith("uq_")))
        return tuple(
            text.format(
                t=quote(shop.table), link=quote(shop.by_name["others"].through), id=shop.id, uq=quote(unique)
            ).split(" ;; ")
        )

    return made


HARMS = {
    "a table of ours": Harm(sole("DROP TABLE user_groups"), "The table 'user_groups' is missing", True),
    "the table of themes": Harm(sole("DROP TABLE themes"), "The table 'themes' is missing", True, "sqlite"),
    "a column of ours": Harm(sole("ALTER TABLE webhooks DROP COLUMN ended"), "webhooks.ended", True),
    "a column that is none of ours": Harm(sole("ALTER TABLE invites ADD COLUMN stray text"), "'stray' of the table", False),
    "an index of ours": Harm(sole("DROP INDEX deliveries_due"), "'deliveries_due'", True),
    "a unique index of ours": Harm(sole("DROP INDEX users_email_unique"), "users_email_unique", True),
    "a twin of an index": Harm(sole("CREATE INDEX twin ON {t} (slug) ;; CREATE INDEX twin_too ON {t} (slug)"), "'twin_too'", True),
    "a migration's note": Harm(sole("DELETE FROM django_migrations WHERE app = 'backups'"), "is not noted as applied", True),
    "the built-in collection's table": Harm(sole("DROP TABLE records"), "its table 'records' is missing", True),
    "a column of records": Harm(sole("ALTER TABLE {t} DROP COLUMN extra"), "'extra' is missing", True),
    "a column of no field": Harm(sole("ALTER TABLE {t} ADD COLUMN stray text"), "'stray' belongs to no field", False),
    "an index of records": Harm(sole("DROP INDEX {uq}"), "is missing", True),
    "an index that is another": Harm(sole("DROP INDEX {uq} ;; CREATE INDEX {uq} ON {t} (name)"), "is not what its name says", True),
    "a table of no collection": Harm(sole("CREATE TABLE c_0123456789abcdefghij (id integer)"), "belongs to no collection", False),
    "a link table": Harm(sole("DROP TABLE {link}"), "of 'others' is missing", True),
    "a dead relation": Harm(sole("UPDATE {t} SET maker = 'gone' WHERE id = 'g1'"), "1 row refers to what is not in", False),
    "a dead link": Harm(sole("INSERT INTO {link} (source_id, target_id, position) VALUES ('g1', 'gone', 9)"), "target_id, 1 row refers", False),
    "a collection that a relation needs": Harm(sole("DELETE FROM collections WHERE name = 'makers'"), "points to is missing", False),
    "a definition that can't be read": Harm(sole("UPDATE collections SET schema = '[{{\"type\": \"nonsense\"}}]' WHERE id = '{id}'"), "can't be read", False),
    "a rule that names nothing": Harm(sole("UPDATE collections SET list_rule = 'nothing = 1' WHERE id = '{id}'"), "list_rule", False),
    "a view whose source is gone": Harm(sole("UPDATE collections SET view_query = 'SELECT a FROM nothing' WHERE name = 'per_maker'"), "its query", False),
    "no epoch": Harm(sole("DELETE FROM schema_epoch"), "no epoch", True),
    "a permission": Harm(sole("DELETE FROM auth_permission WHERE codename = 'add_c_{id}'"), "The permission 'add_c_", True),
    "a file's row": Harm(sole("DELETE FROM file_uses ;; DELETE FROM files"), "", False),
    "a delivery without a next attempt": Harm(
        sole("INSERT INTO webhook_deliveries (webhook_id, event_id, event, record_id, replay, status, attempt, response_body, error, created)"
             " SELECT id, 1, 'create', 'g0', 7, 'pending', 0, '', '', created FROM webhooks"), "no next attempt, and no end: 1", True),
    "a delivery that is over and due": Harm(
        sole("INSERT INTO webhook_deliveries (webhook_id, event_id, event, record_id, replay, status, attempt, response_body, error, created, next_attempt_at)"
             " SELECT id, 1, 'create', 'g0', 8, 'delivered', 1, '', '', created, created FROM webhooks"), "over, but have a next attempt: 1", True),
    "progress beyond the log": Harm(sole("DELETE FROM webhook_progress ;; INSERT INTO webhook_progress (id, event_id) VALUES (1, 999999)"), "up to 999999", True),
    "text among decimals": Harm(sole("UPDATE {t} SET price = 'abc' WHERE id = 'g2'"), "'price' of 1 record", False, "sqlite"),
    "text among integers": Harm(sole("UPDATE {t} SET count = 'abc' WHERE id = 'g2'"), "'count' of 1 record", False, "sqlite"),
    "a date that is none": Harm(sole("UPDATE {t} SET sold = 'yesterday' WHERE id = 'g2'"), "'sold' of 1 record", False, "sqlite"),
    "JSON that is none": Harm(sole("UPDATE {t} SET extra = '{{\"a\":' WHERE id = 'g2'"), "'extra' of 1 record", False, "sqlite"),
    "a search index": Harm(sole("DROP TABLE fts_{id}"), "its search index", True, "sqlite"),
    "texts that are not indexed": Harm(sole("DELETE FROM fts_{id}_texts"), "3 records are not in the search index", True, "sqlite"),
    "what keeps a search index": Harm(sole("DROP TRIGGER fts_{id}_update"), "what keeps its search index", True, "sqlite"),
    "a number of events given again": Harm(sole("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'events'"), "was given before", True, "sqlite"),
    "a foreign key": Harm(sole("DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE {t} DROP CONSTRAINT ' || quote_ident(conname) FROM pg_constraint"
                               " WHERE contype = 'f' AND conrelid = '{t}'::regclass); END $$"), "the foreign key of 'maker'", True, "postgresql"),
    "a sequence that is behind": Harm(sole("SELECT setval(pg_get_serial_sequence('events', 'id'), 1)"), "The next number of events.id is taken", True, "postgresql"),
}  # fmt: skip


# What leaves no way to the records of the collection.
UNREADABLE = {"a collection that a relation needs", "a definition that can't be read"}


def can_be_done(harm: Harm) -> bool:
    return harm.engine in ("", connection.vendor)


@pytest.mark.skipif(
    connection.vendor == "postgresql", reason="there they are done all at once: a database is copied in seconds"
)
@pytest.mark.parametrize("name", [name for name in HARMS if can_be_done(HARMS[name])])
def test_each_harm_is_told_and_what_can_be_is_made_good(name: str, shop: CollectionDef) -> None:
    harm = HARMS[name]
    assert run()[0] == 0
    execute(*harm.sql(shop))
    before = content() if name not in UNREADABLE else None
    code, told = run()
    assert code == 1 and PASSED not in told
    assert harm.word in told or any(harm.word in problem.sentence for problem in consistency.find()), told
    assert run() == (code, told), "looking changes nothing"
    code, told = run("--fix", "--no-backup")
    assert (code == 0) == harm.mended, told
    assert run("--fix", "--no-backup")[0] == code
    if before is not None and harm.mended and "column" not in name and "table" not in name:
        assert content() == before


@pytest.mark.skipif(connection.vendor == "sqlite", reason="there they are done one by one")
def test_many_harms_at_once_are_told_and_made_good(shop: CollectionDef) -> None:
    mended = [
        harm for name, harm in HARMS.items() if harm.mended and can_be_done(harm) and name != "an index that is another"
    ]
    execute(*(statement for harm in mended for statement in harm.sql(shop)))
    found = [problem.sentence for problem in consistency.find()] + [run()[1]]
    missed = [harm.word for harm in mended if not any(harm.word in sentence for sentence in found)]
    assert missed == [], found
    code, told = run("--fix")
    assert code == 0, told
    left = [harm for name, harm in HARMS.items() if not harm.mended and can_be_done(harm) and name not in UNREADABLE]
    for harm in left:
        execute(*harm.sql(shop))
    _, told = run("--fix", "--no-backup")
    assert [harm.word for harm in left if harm.word not in told] == []
