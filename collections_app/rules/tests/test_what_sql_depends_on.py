"""Compiled SQL is kept and used again: only where everything that it depends on is the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.principals import Principal
from collections_app import rules
from collections_app.rules import RuleEnv
from collections_app.rules.tests import blog, world
from collections_app.rules.tests.blog import ANN, NOBODY
from collections_app.schema import registry

pytestmark = pytest.mark.engine


def compiled(source: str) -> rules.Rule:
    snapshot = blog.snapshot()
    return rules.compile_rule(source, snapshot.get("posts"), snapshot)


def test_a_rule_about_the_clock_moves_with_it() -> None:
    before, after = (RuleEnv(principal=NOBODY, now=datetime(2026, month, 25, tzinfo=UTC)) for month in (11, 12))
    opening = compiled("@now >= '2026-12-01'")
    assert [opening.fold(env) for env in (before, after, before)] == [False, True, False]
    assert [compiled("@month = 12").fold(env) for env in (before, after)] == [False, True]
    month = compiled("views = @month")
    assert [month.sql(env)[1] for env in (before, after)] == [[11], [12]]


def test_the_list_rule_on_the_way_sees_this_request_not_an_earlier_one(make_collection: Callable[..., Any]) -> None:
    make_collection("rooms", name="text", code="text", list_rule="code = @request.query.code && code != ''")
    make_collection("keys", room={"type": "relation", "relation": {"collection_id": "rooms"}}, list_rule=None)
    world.put("rooms", {"id": "r", "name": "hall", "code": "sesame"})
    world.put("keys", {"id": "k", "room": "r"})
    snapshot = registry.latest()
    keys = snapshot.get("keys")
    knows = RuleEnv(principal=NOBODY, query={"code": "sesame"})
    guesses = RuleEnv(principal=NOBODY, query={"code": "open"})
    rule = rules.compile_rule("room.name = 'hall'", keys, snapshot)
    assert world.by_sql(rule, guesses, keys.table) == ["k"]
    principal = Principal(id="x", collection="users", role="user")
    knows.principal = guesses.principal = principal
    found = rules.compile_filter("room.name = 'hall'", keys, snapshot, principal)
    assert [world.by_sql(found, env, keys.table) for env in (knows, guesses, knows)] == [["k"], [], ["k"]]


def test_a_key_of_the_body_is_renamed_with_its_field() -> None:
    snapshot = blog.snapshot()
    posts = snapshot.get("posts")
    source = "@request.body.status:isset = false && @request.data.owner = @request.auth.id"
    rule = rules.compile_rule(source, posts, snapshot)
    names = {posts.by_name["status"].id: "state", posts.by_name["owner"].id: "holder"}
    assert rules.rename(source, rule.mentions, names) == (
        "@request.body.state:isset = false && @request.data.holder = @request.auth.id"
    )


def test_numbers_mean_the_same_on_every_engine(make_collection: Callable[..., Any]) -> None:
    make_collection("sums", n="number", i="integer", d="decimal", j="json")
    big = 2**53
    world.put(
        "sums", {"id": "a", "n": 0.1, "d": "0.1", "i": 2**63 - 1}, {"id": "b", "n": big, "i": big + 1, "j": {"k": big + 1}},
        {"id": "c", "n": 2.0**63, "i": 2**63 - 1, "j": {"k": [7]}},
    )  # fmt: skip
    snapshot = registry.latest()
    sums = snapshot.get("sums")
    memory = world.Memory(snapshot)
    for source, ids in {
        "d = 0.1": ["a"], "n = d": ["a"], "n = i": ["b", "c"], "i = 9007199254740993": ["b"], "n = 9007199254740993": ["b"],
        "j.k = 9007199254740992": ["b"], "j.k.0 = 7": [], "j.k < @now": [], "i < @request.body.i": ["a", "b", "c"],
        "n = @request.body.i": ["c"], "i = @request.body.i": [],
    }.items():  # fmt: skip
        rule = rules.compile_rule(source, sums, snapshot)
        env = RuleEnv(principal=ANN, body={"i": 2**63})
        assert world.by_sql(rule, env, sums.table) == world.by_memory(rule, env, memory.rows[sums.id], memory) == ids, (
            source
        )


def test_a_text_that_no_database_holds_is_unequal_to_all(make_collection: Callable[..., Any]) -> None:
    make_collection("texts", t="text")
    world.put("texts", {"id": "a", "t": "x"})
    snapshot = registry.latest()
    texts = snapshot.get("texts")
    for source, ids in {"t = @request.query.q": [], "t != @request.query.q": ["a"], "t ~ @request.query.q": []}.items():
        rule = rules.compile_rule(source, texts, snapshot)
        for bad in ("\ud800", "\x00", "a\x00"):
            assert world.by_sql(rule, RuleEnv(principal=NOBODY, query={"q": bad}), texts.table) == ids


def test_twenty_levels_are_allowed() -> None:
    compiled("(" * 20 + "views = 1" + ")" * 20)


def test_a_group_within_a_group_speaks_of_the_same_row() -> None:
    rule = compiled("@collection.members.user = 'ann' && (@collection.members.team = 'blue' && views > 0)")
    assert rule.sql(RuleEnv(principal=NOBODY))[0].count("EXISTS") == 1


def test_a_list_of_the_caller_with_an_impossible_element_does_not_equal_all() -> None:
    row = {field.name: None for field in blog.snapshot().get("posts").fields} | {"views": 5}
    env = RuleEnv(principal=Principal(id="x", collection="users", fields={"levels": [5, "many"]}))
    assert not compiled("views = @request.auth.levels").check(row, env)
    assert compiled("views ?= @request.auth.levels").check(row, env)


def test_an_absent_caller_has_no_length_either() -> None:
    row = {field.name: None for field in blog.snapshot().get("posts").fields} | {"views": 0}
    assert not compiled("views = @request.auth.teams:length").check(row, RuleEnv(principal=NOBODY))


def test_long_filters_are_not_kept() -> None:
    snapshot = blog.snapshot()
    for number in range(20):
        source = " || ".join(f"views = {number}{other}" for other in range(60))
        rules.compile_filter(source, snapshot.get("posts"), snapshot, ANN)
    assert not [key for kept in snapshot.memo.values() for key in kept if key[0] == "filter"]
