"""A rule asked of a record in some state says what a list would, were it stored like that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.principals import SYSTEM
from collections_app import dialects, events, rules
from collections_app.dialects import quote
from collections_app.records import as_if, write
from collections_app.records.codec import Record, whole_codec
from collections_app.records.unit_of_work import unit_of_work
from collections_app.rules import Rule, RuleEnv
from collections_app.rules.tests import test_two_backends, world
from collections_app.schema import registry, service
from collections_app.tests.fixtures import Records, person
from core import database

pytestmark = pytest.mark.engine

QUIET = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
# Paths that lead back to the table that the record is in, which is where a shadow matters.
ROUNDABOUT = [
    "friend.name ~ 'a'", "friend = id", "friend.friend.name = name", "friend.n > 0", "friend.teams.name ~ 'a'",
    "people_via_friend.name ?= 'a'", "people_via_friend.id ?= id", "people_via_friend.teams ?= 't0'",
    "team.people_via_team.name = 'a'", "team.people_via_team.day ?> '2025-01-15'", "team.people_via_team.b ?= true",
    "teams.people_via_teams.n ?> 0", "teams.people_via_teams.d ?= 19.9", "teams ?= 't1'", "teams:length > 1",
    "@collection.people.name = name && @collection.people.id != id", "@collection.people.i ?= 42",
    "@collection.people.teams ?= teams", "team.people_via_team.j.k ?= 1", "team.people_via_team.g.lat ?> 0",
    "team.people_via_team.s ?= 'a'", "people_via_friend.at ?= '10:30'", "@collection.people.created = created",
    "people_via_friend.d ?> n", "friend.b = true", "friend.id = ''", "!(friend.name = 'a')",
]  # fmt: skip
sources = st.lists(test_two_backends.expressions() | st.sampled_from(ROUNDABOUT), min_size=10, max_size=10)


@pytest.fixture
def small_world(make_collection: Callable[..., Any]) -> None:
    world.build(make_collection)
    schema = [field.as_json() for field in registry.latest().get("people").own_fields]
    friend = {"name": "friend", "type": "relation", "relation": {"collection_id": "people"}}
    service.collection_update(actor=SYSTEM, name_or_id="people", payload={"schema": [*schema, friend]})


def populate(data: Any, friends: list[int]) -> None:
    test_two_backends.populate(data)
    count = len(data[0])
    for number, friend in zip(range(count), friends, strict=False):
        if friend >= 0:
            change(f"p{number}", {"friend": f"p{friend % count}"})


def change(record_id: str, data: dict[str, Any]) -> None:
    snapshot = registry.latest()
    with unit_of_work(snapshot, SYSTEM) as work:
        write.record_update(work, snapshot.get("people"), record_id, data, RuleEnv(principal=SYSTEM))


def logged() -> tuple[Record | None, Record | None]:
    """The last change as the log has it: before, and after."""
    last = events.read(0, 10_000)[-1]
    return last.previous, last.data


def compiled(source: str, env: RuleEnv) -> Rule | None:
    snapshot = registry.latest()
    try:
        return rules.compile_rule(source, snapshot.get("people"), snapshot)
    except rules.RuleError:
        return None


def listed(rule: Rule, env: RuleEnv, record_id: str) -> bool:
    return record_id in world.by_sql(rule, env, registry.latest().get("people").table)


@QUIET
@given(
    data=test_two_backends.worlds,
    friends=st.lists(st.integers(-1, 7), min_size=8, max_size=8),
    sources=sources,
    who=st.integers(0, 2),
    changes=test_two_backends.people,
)
def test_it_holds_for_a_state_exactly_if_a_list_shows_the_record_in_that_state(
    small_world: None, data: Any, friends: list[int], sources: list[str], who: int, changes: dict[str, Any]
) -> None:
    populate(data, friends)
    collection = registry.latest().get("people")
    env = RuleEnv(principal=world.PRINCIPALS[who])
    found = [(source, rule) for source in sources if (rule := compiled(source, env)) is not None]
    before = {source: listed(rule, env, "p0") for source, rule in found}
    change("p0", changes)
    was, is_ = logged()
    assert was is not None and is_ is not None
    for source, rule in found:
        assert as_if.satisfies(rule, collection, was, env) == before[source], source
        assert as_if.satisfies(rule, collection, is_, env) == listed(rule, env, "p0"), source


def test_secrets_that_the_log_lacks_are_empty(
    make_collection: Callable[..., Any], records: Callable[..., Records]
) -> None:
    make_collection(
        "members", type="auth", friend={"type": "relation", "relation": {"collection_id": "members"}}, list_rule=None
    )
    made = records("members").create(email="a@example.com", password="correct-horse-battery")
    snapshot = registry.latest()
    collection = snapshot.get("members")
    _, data = logged()
    assert data is not None and "password" not in data and "token_key" not in data
    rule = rules.compile_rule("@collection.members.email = email && members_via_friend.id = ''", collection, snapshot)
    assert as_if.satisfies(rule, collection, data, RuleEnv())
    assert as_if.satisfies(rule, collection, {**data, "friend": made["id"]}, RuleEnv()) is False


def test_what_a_deleted_record_took_with_it_is_remembered(
    make_collection: Callable[..., Any], records: Callable[..., Records]
) -> None:
    make_collection("posts", author="text", list_rule=None)
    make_collection(
        "comments", list_rule="post.author = @request.auth.id",
        post={"type": "relation", "relation": {"collection_id": "posts", "cascade_delete": True}},
    )  # fmt: skip
    post = records("posts").create(author="ann")
    records("comments").create(post=post["id"])
    records("posts").delete(post["id"])
    snapshot = registry.latest()
    collection = snapshot.get("comments")
    comment = next(event.previous for event in events.read(0) if event.collection == "comments" and event.previous)
    rule = rules.compile_rule("post.author = @request.auth.id", collection, snapshot)
    besides = as_if.gone_with(collection, comment, snapshot)
    assert [record["id"] for _, record in besides] == [post["id"]]
    for name, expected in (("ann", True), ("bob", False)):
        env = RuleEnv(principal=person(name))
        assert as_if.State(collection, comment, besides).satisfies(rule, env) is expected
        assert not as_if.satisfies(rule, collection, comment, env)


def test_a_question_that_the_engine_refuses_is_answered_with_no(
    make_collection: Callable[..., Any], records: Callable[..., Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("posts", title="text", list_rule=None)
    made = records("posts").create(title="a")
    snapshot = registry.latest()
    collection = snapshot.get("posts")
    rule = rules.compile_rule("@collection.posts.title = title", collection, snapshot)
    record = {**made}
    assert as_if.satisfies(rule, collection, record, RuleEnv())
    monkeypatch.setattr(rule, "sql", lambda env, alias: ("no_such_function(1)", []))
    with database.reading():
        assert as_if.satisfies(rule, collection, record, RuleEnv()) is False


# -- plans --------------------------------------------------------------------------------------
LOOKUPS = [
    "friend.name = 'a'", "people_via_friend.name ?= 'a'", "teams.people_via_teams.name ?= 'a'", "friend.friend.n > 1",
    "@collection.people.id ?= 'p7'", "teams.name ?= 'a'", "team.people_via_team.id ?= @request.auth.id",
]  # fmt: skip


@pytest.mark.parametrize("source", LOOKUPS)
def test_no_table_is_read_as_a_whole(small_world: None, source: str) -> None:
    """The shadow of a table has the table's indexes."""
    world.put("teams", *({"id": f"t{number}", "name": str(number)} for number in range(300)))
    world.put(
        "people",
        *(
            {"id": f"p{number}", "name": str(number), "team": f"t{number % 300}", "teams": [f"t{number % 300}"],
             "friend": f"p{number - 1}" if number else None}
            for number in range(2000)
        ),
    )  # fmt: skip
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    snapshot = registry.latest()
    collection = snapshot.get("people")
    reader = whole_codec(collection)
    row = dialects.current().execute(f"SELECT {reader.columns} FROM {quote(collection.table)} AS t WHERE id = 'p1'")
    record = reader.records(row.fetchall())[0]
    rule = compiled(source, RuleEnv())
    assert rule is not None
    sql, params = as_if.State(collection, record).question(rule, RuleEnv(principal=world.PRINCIPALS[1]))
    dialect = dialects.current()
    if connection.vendor == "sqlite":
        plan = [line[3] for line in dialect.execute(f"EXPLAIN QUERY PLAN {sql}", params).fetchall()]
        whole = [
            line
            for line in plan
            if line.startswith(("SCAN main.", "MATERIALIZE c_", "MATERIALIZE rel_")) or "AUTOMATIC" in line
        ]
        assert not whole, plan
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")  # tables this small are read as a whole, index or not
            try:
                plan = [line[0] for line in dialect.execute(f"EXPLAIN {sql}", params).fetchall()]
            finally:
                cursor.execute("SET enable_seqscan = on")
        assert not [line for line in plan if "Seq Scan on" in line and "c_" in line], plan
