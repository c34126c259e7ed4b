"""Other programs may have tables, views and more in the same database of PostgreSQL: they are not ours to move."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from backups import postgres_tools
from backups.archive import BadArchive
from backups.restoring import postgresql
from backups.tests.test_restoring import House

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's database is a file of ours"),
]
NEIGHBOURS = """
    CREATE SCHEMA reporting;
    CREATE TABLE reporting.sales (id serial PRIMARY KEY, what text);
    INSERT INTO reporting.sales (what) VALUES ('tea');
    CREATE TABLE public.c_orders (id serial PRIMARY KEY, what text);
    CREATE INDEX c_orders_by_what ON public.c_orders (what);
    INSERT INTO public.c_orders (what) VALUES ('coffee');
    CREATE FUNCTION public.twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n';
    CREATE TYPE public.mood AS ENUM ('good', 'bad');
    CREATE VIEW public.orders AS SELECT what, public.twice(id) AS twice FROM public.c_orders;
"""
SEEN = "SELECT (SELECT what FROM reporting.sales), what, twice FROM public.orders"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("neighbours")).built() as house:
        yield house


@pytest.fixture
def house(built: House) -> House:
    built.reset()
    return built


def sql(house: House, statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(house.url, autocommit=True) as raw:
        ran = raw.execute(statements)
        return ran.fetchall() if ran.description else []


def test_a_backup_beside_neighbours_is_restored_twice_and_they_stay(house: House) -> None:
    sql(house, NEIGHBOURS)
    archive = house("back_up")
    sql(house, "UPDATE public.c_orders SET what = 'cocoa'")
    for _ in range(2):
        house("restore", archive=archive)
        found = house("start")
        assert found["told"] == "" and found["amounts"] == house.now["amounts"]
        assert sql(house, SEEN) == [("tea", "cocoa", 2)], "a restore takes back what is ours, and no more"


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE VIEW public.people AS SELECT email FROM users", "view people"),
        ("CREATE SCHEMA far; CREATE VIEW far.people AS SELECT email FROM public.users", "view far.people"),
        ("CREATE TABLE fans (who varchar(32) REFERENCES backups (id))", "table fans"),
        ("CREATE FUNCTION first_of(u users) RETURNS text LANGUAGE sql AS 'SELECT u.email'", "function first_of"),
        ("CREATE SCHEMA before_restore; CREATE TABLE before_restore.shop (id int)", "table before_restore.shop"),
    ],
)
def test_what_depends_on_our_tables_is_named_before_anything_is_touched(house: House, made: str, named: str) -> None:
    sql(house, made)
    told = house.run("restore", archive=house.archive)
    assert told["status"] == 422 and named in told["message"], told
    found = house("start")
    assert house.is_as(house.now, found) and found["sign_ins"] == 1


@pytest.mark.django_db
def test_of_a_dump_of_the_whole_database_only_our_tables_are_loaded(house: House, tmp_path: Path) -> None:
    sql(house, NEIGHBOURS + "CREATE TABLE fans (who varchar(32) REFERENCES backups (id))")
    dump = tmp_path / "database.dump"
    pg_dump = postgres_tools.tool("pg_dump")
    subprocess.run([pg_dump, "--format=custom", f"--file={dump}", house.url], check=True)
    loaded, tables = postgresql._entries(postgresql._listed(dump), postgresql._collections(dump))
    whole = " ".join(loaded)
    others = {"c_orders", "fans"}
    every = {name for (name,) in sql(house, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")}
    assert set(tables) == every - others and "records" in tables
    assert not [line for line in loaded if "orders" in line or "fans" in line or "reporting" in line]
    for ours in (" TABLE public users ", " TABLE DATA public users ", " CONSTRAINT public users users_pkey ",
                 " INDEX public backups_by_origin ", " SEQUENCE public django_migrations_id_seq ",
                 " SEQUENCE SET public django_migrations_id_seq "):  # fmt: skip
        assert ours in whole, ours


@pytest.mark.django_db
def test_a_dump_that_is_none_or_of_others_is_refused_where_it_is_looked_at(house: House, tmp_path: Path) -> None:
    dump = tmp_path / "database.dump"
    dump.write_bytes(b"no dump" * 100)
    with pytest.raises(BadArchive, match="no dump that can be read"):
        postgresql.check_dump(dump)
    sql(house, NEIGHBOURS)
    command = [postgres_tools.tool("pg_dump"), "--format=custom", "--schema=reporting", f"--file={dump}", house.url]
    subprocess.run(command, check=True)
    with pytest.raises(BadArchive, match="no table that is ours"):
        postgresql.check_dump(dump)
