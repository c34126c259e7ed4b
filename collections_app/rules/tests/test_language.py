"""Every sentence of the language: what is refused and where, what names mean and to whom, what operators do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.principals import Principal
from collections_app import rules
from collections_app.rules import RuleEnv, syntax
from collections_app.rules.tests import blog
from collections_app.rules.tests.blog import ADMIN, ANN, NOBODY
from core.errors import BadRequest, DomainError

ALL = "p1 p2 p3 p4"
NOW = datetime(2026, 11, 21, 12, 30, 15, 250000, tzinfo=UTC)  # a Saturday


def compiled(source: str) -> rules.Rule:
    snapshot = blog.snapshot()
    return rules.compile_rule(source, snapshot.get("posts"), snapshot)


def filtered(source: str, principal: Principal = NOBODY) -> rules.Rule:
    snapshot = blog.snapshot()
    return rules.compile_filter(source, snapshot.get("posts"), snapshot, principal)


def refusal(source: str, principal: Principal = NOBODY) -> str:
    with pytest.raises(BadRequest) as caught:
        filtered(source, principal)
    return caught.value.message


def holds(source: str, record: dict[str, Any] | None = None, **env: Any) -> bool:
    env.setdefault("principal", NOBODY)
    empty = {field.name: None for field in blog.snapshot().get("posts").fields}
    return compiled(source).check({**empty, **(record or {})}, RuleEnv(**env))


# -- what is refused, and where ---------------------------------------------
@pytest.mark.parametrize(
    ("source", "character"),
    [
        ("title = 'a", 9), ("title = \"a'", 9), ("title =", 8), ("= 'a'", 1), ("title 'a'", 7), ("title = = 'a'", 9),
        ("title == 'a'", 8), ("(title = 'a'", 13), ("title = 'a')", 12), ("title = 'a' title = 'b'", 13),
        ("title = 'a' && ", 16), ("|| title = 'a'", 1), ("title = 'a' & views = 1", 13), ("title = 'a' | views = 1", 13),
        ("!title = 'a'", 2), ("!!(title = 'a')", 2), ("()", 2), ("titel = 'a'", 1), ("live = true && titel = 'a'", 16),
        ("@record.titel = 'a'", 1), ("@nonsense = 1", 1), ("@request.headers.x = 1", 1), ("@request.auth = 1", 1),
        ("author.nope = 1", 1), ("comments_via_nope.body = 1", 1), ("pin = 1", 1), ("author.pin = 'x'", 1),
        ("views = 'many'", 9), ("day > 'soon'", 7), ("opens = 'late'", 9), ("live = 'maybe'", 8), ("price = 'x'", 9),
        ("title = word", 9), ("place.alt = 1", 1), ("title:nope = 1", 1), ("title.x = 1", 1), ("", 1), ("   ", 1),
    ],
)  # fmt: skip
def test_an_error_points_at_the_character(source: str, character: int) -> None:
    with pytest.raises(DomainError) as caught:
        compiled(source)
    assert f"character {character}" in caught.value.message


@pytest.mark.parametrize(
    "source",
    ["views ~ 1", "live ~ 'a'", "day ~ '2026'", "meta = 'a'", "meta > 1", "place = 'x'", "place ~ 'x'", "title = views",
     "day = views", "meta.lang = title", "live:length = 1", "views:lower = 'a'", "title:each = 'a'", "title:isset = true",
     "views:length = 1", "@request.auth.id:isset = true", "@request.query.a:changed = true", "views > @now"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(source: str) -> None:
    with pytest.raises(DomainError, match="character"):
        compiled(source)


def test_a_lonely_operand_is_told_how_to_be_a_comparison() -> None:
    with pytest.raises(DomainError, match="write live = true"):
        compiled("live")


@pytest.mark.parametrize("bad", ["\x00", "\ud800"])
def test_characters_that_no_database_stores_are_refused(bad: str) -> None:
    with pytest.raises(DomainError, match="character 10"):
        compiled(f"title = '{bad}'")


def test_the_limits_are_4000_characters_and_200_comparisons() -> None:
    compiled("title = '" + "x" * 3990 + "'")
    with pytest.raises(DomainError, match="4,000"):
        compiled("title = '" + "x" * 3991 + "'")
    compiled(" || ".join(["views = 1"] * 200))
    with pytest.raises(DomainError, match="200"):
        compiled(" || ".join(["views = 1"] * 201))


def test_the_limit_of_depth_holds_however_groups_are_written() -> None:
    for opening in ("(", "!(", "( !("):
        with pytest.raises(DomainError, match="20"):
            compiled(opening * 21 + "views = 1" + ")" * 21 * opening.count("("))


def test_a_path_goes_through_at_most_six_relations() -> None:
    with pytest.raises(DomainError, match="6"):
        compiled("comments_via_post.post." * 4 + "title = 'a'")


# -- reading ----------------------------------------------------------------
def test_and_binds_tighter_than_or() -> None:
    record = {"status": "draft", "views": 1}
    assert holds("status = 'draft' || views = 2 && views = 3", record)
    assert not holds("(status = 'draft' || views = 2) && views = 3", record)


def test_both_quotes_take_backslash_escapes() -> None:
    for source, text in [
        (r"'it\'s'", "it's"), (r'"say \"hi\""', 'say "hi"'), (r"'a\\b'", "a\\b"), (r"'a\\'", "a\\"), ("'\"'", '"'),
        ('"\'"', "'"), (r"'a\nb'", "a\nb"),
    ]:  # fmt: skip
        assert holds(f"title = {source}", {"title": text}), source


def test_comments_end_with_the_line() -> None:
    assert holds("views = 1 // && views = 2\n && title = 'http://x'", {"views": 1, "title": "http://x"})


def test_numbers_have_signs_decimals_and_exponents() -> None:
    for source in ("-1.5", "-15e-1", "-0.15E1"):
        assert holds(f"score = {source}", {"score": -1.5})
    with pytest.raises(DomainError):
        compiled("score = 1e999")
    assert holds("score > -1 && score < 1e300", {"score": 0})


def test_literals_take_the_kind_of_the_field() -> None:
    assert holds("views = '5' && views = 5.0", {"views": 5})
    assert holds("title = 5", {"title": "5"}) and not holds("title = 5.0", {"title": "5"})
    assert holds("title = true", {"title": "true"})
    for written in ("true", "'true'", "1", "'1'"):
        assert holds(f"live = {written}", {"live": True}) and not holds(f"live = {written}", {"live": False})
    moment = {"day": "2026-01-15T10:00:00Z"}
    for written in (
        "2026-01-15T10:00:00Z",
        "2026-01-15 10:00:00",
        "2026-01-15T12:00:00+02:00",
        "2026-01-15T10:00:00.000",
    ):
        assert holds(f"day = '{written}'", moment), written
    assert holds("day > '2026-01-15' && day < '2026-01-15T10:00:00.000001Z'", moment)
    assert holds("opens = '09:00' && opens = '09:00:00'", {"opens": "09:00:00"})


# -- operators --------------------------------------------------------------
VALUES = {"null": None, "''": "", "'a'": "a", "'b'": "b", "'A'": "A", "'É'": "É"}
# left, right → which of = < ~ hold; != and !~ are their negations, and > is < the other way round.
TABLE = [
    (None, None, "="), (None, "", "="), ("", None, "="), ("", "", "="), (None, "a", ""), ("", "a", ""), ("a", None, ""),
    ("a", "", ""), ("a", "a", "=~"), ("a", "b", "<"), ("a", "A", "~"), ("A", "a", "<~"), ("é", "É", "~"), ("ab", "B", "~"),
    ("a", "ab", "<"), ("straße", "SS", "~"), ("ΟΔΟΣ", "ς", "<~"), ("50%", "%", "~"), ("ab", "a_", "~<"),
]  # fmt: skip


def test_every_operator_is_two_valued() -> None:
    for left, right, given in TABLE:
        true = set(given) - ({"~"} if (left, right) == ("ab", "a_") else set())
        if (left, right) == ("ΟΔΟΣ", "ς"):
            true = {"<", "~"} if left < right else {"~"}
        expected = {
            "=": "=" in true, "!=": "=" not in true, "~": "~" in true, "!~": "~" not in true,
        }  # fmt: skip
        for op, value in expected.items():
            literal = "null" if right is None else f"'{right}'"
            assert holds(f"title {op} {literal}", {"title": left}) is value, (left, op, right)
            assert holds(f"!(title {op} {literal})", {"title": left}) is not value, (left, op, right)
        there = bool(left) and bool(right)
        for op, value in {"<": there and left < right, "<=": there and left <= right,
                          ">": there and left > right, ">=": there and left >= right}.items():  # fmt: skip
            assert holds(f"title {op} '{right or ''}'", {"title": left}) is value, (left, op, right)


def test_the_value_may_stand_on_the_left() -> None:
    assert holds("5 < views && 'abc' ~ title && null = note", {"views": 6, "title": "B", "note": ""})
    assert not holds("'abc' ~ title", {"title": ""})


def test_lists_need_all_any_or_none() -> None:
    both, one, none = {"tags": ["red", "green"]}, {"tags": ["red"]}, {"tags": []}
    for source, expected in {
        "tags = 'red'": (False, True, False), "tags ?= 'red'": (True, True, False), "tags != 'red'": (False, False, True),
        "tags ?!= 'red'": (True, False, False), "tags ~ 're'": (True, True, False), "tags !~ 'gr'": (False, True, True),
        "tags ?!~ 'gr'": (True, True, False), "tags = ''": (False, False, True), "tags = null": (False, False, True),
        "tags != ''": (True, True, False), "tags:each ~ 'e'": (True, True, False), "tags > 'a'": (True, True, False),
        "tags ?> 'h'": (True, True, False), "tags:length = 0": (False, False, True), "tags ~ ''": (False, False, False),
        "!(tags = 'red')": (True, False, True), "tags = title": (False, False, False),
    }.items():  # fmt: skip
        assert tuple(holds(source, record) for record in (both, one, none)) == expected, source
    assert holds("title ?= 'a'", {"title": "a"})


# -- the caller and the request ---------------------------------------------
def test_an_absent_caller_equals_only_an_empty_literal() -> None:
    for record in ({"owner": None}, {"owner": ""}, {"owner": "ann"}):
        for op in ("=", "!=", "<", ">=", "~", "!~", "?=", "?!="):
            assert not holds(f"owner {op} @request.auth.id", record)
            assert not holds(f"@request.auth.nothing {op} owner", record, principal=ANN)
    assert holds("@request.auth.id = '' && @request.auth.id = null && @request.auth.id != 'x'")
    assert not holds("@request.auth.id != ''") and not holds("@request.auth.id = 'x'")
    for other in ("@request.body.title", "@request.query.x", "@request.auth.email"):
        assert not holds(f"@request.auth.id = {other}") and not holds(f"@request.auth.id != {other}")
    assert holds("!(owner = @request.auth.id)", {"owner": ""})


def test_the_caller_has_what_the_account_has() -> None:
    record = {"owner": "ann", "views": 5}
    for source in ("owner = @request.auth.id", "@request.auth.email ~ 'EXAMPLE'", "@request.auth.verified = true",
                   "@request.auth.collection = 'users'", "views = @request.auth.level", "owner != @request.auth.email",
                   "@request.auth.role = 'user'", "@request.auth.level >= 5", "@request.auth.teams ?= 'blue'"):  # fmt: skip
        assert holds(source, record, principal=ANN), source


def test_admin_in_another_collection_is_just_a_word() -> None:
    assert not holds("@request.auth.role = 'admin'", principal=Principal(id="x", collection="people", role="admin"))
    assert holds("@request.auth.role = 'admin'", principal=ADMIN)


def test_a_value_of_the_request_that_does_not_fit_is_unequal() -> None:
    for source, expected in {"views = @request.query.x": False, "views != @request.query.x": True,
                             "views < @request.query.x": False, "views >= @request.query.x": False}.items():  # fmt: skip
        assert holds(source, {"views": 5}, query={"x": "many"}) is expected
    assert holds("views = @request.query.x", {"views": 5}, query={"x": "5"})
    assert holds("views = @request.query.x", {"views": None}, query={})
    assert holds("title = @request.body.views", {"title": "5"}, body={"views": 5})


def test_the_body_can_be_asked_what_it_carries_and_changes() -> None:
    assert holds("@request.body.title:isset = true && @request.data.title = 'a'", body={"title": "a"})
    assert holds("@request.body.title:isset = false", body={"views": 1}) and holds("@request.body.title:isset = false")
    assert holds("@request.query.k:isset = true && @request.method = 'PATCH'", query={"k": ""}, method="PATCH")
    for body, before, changed in [
        ({"title": "a"}, {"title": "a"}, False), ({"title": "b"}, {"title": "a"}, True), ({}, {"title": "a"}, False),
        ({"title": "a"}, None, True), ({"title": None}, {"title": "a"}, True),
    ]:  # fmt: skip
        assert holds("@request.body.title:changed = true", body=body, before=before) is changed
    assert holds(
        "@request.body.tags:length = 2 && @request.body.title:lower = 'ab'", body={"tags": ["a", "b"], "title": "AB"}
    )


def test_macros_are_moments_in_utc() -> None:
    for macro, moment in {
        "@now": "2026-11-21T12:30:15.25Z", "@today": "2026-11-21", "@todayStart": "2026-11-21",
        "@todayEnd": "2026-11-21T23:59:59.999999Z", "@monthStart": "2026-11-01", "@monthEnd": "2026-11-30T23:59:59.999999Z",
        "@yearStart": "2026-01-01", "@yearEnd": "2026-12-31T23:59:59.999999Z",
    }.items():  # fmt: skip
        assert holds(f"{macro} = '{moment}'", now=NOW), macro
    assert holds("@yesterday < @today && @today < @tomorrow", now=NOW)
    for macro, number in {
        "@second": 15,
        "@minute": 30,
        "@hour": 12,
        "@weekday": 6,
        "@day": 21,
        "@month": 11,
        "@year": 2026,
    }.items():
        assert holds(f"{macro} = {number} && views = {macro}", {"views": number}, now=NOW), macro


def test_lengths_count_characters_and_items() -> None:
    record = {"title": "Éß🙂", "tags": ["red"], "meta": {"a": [1, 2], "b": "text"}, "editors": ["ann", "bob"]}
    assert holds("title:length = 3 && tags:length = 1 && editors:length = 2 && meta.a:length = 2", record)
    assert holds("meta:length = 0 && meta.b:length = 0 && meta.c:length = 0", record)
    assert holds("title:length = 0 && tags:length = 0 && meta:length = 0", {"title": None, "tags": [], "meta": None})


def test_json_compares_by_type() -> None:
    values = {"text": "5", "number": 5, "true": True, "null": None, "empty": "", "list": [5], "object": {"a": 5}}
    for literal, same in {
        "'5'": {"text"},
        "5": {"number"},
        "true": {"true"},
        "null": {"null", "empty"},
        "''": {"null", "empty"},
    }.items():
        for name, value in values.items():
            record = {"meta": {"k": value}}
            assert holds(f"meta.k = {literal}", record) is (name in same), (literal, name)
            assert holds(f"meta.k != {literal}", record) is (name not in same), (literal, name)
    assert holds("meta.k = null && meta.k.deep = ''", {"meta": {}}) and holds("meta = null", {"meta": None})
    assert holds("place.lon > 13 && place.lat = 52.5 && place != ''", {"place": {"lon": 13.4, "lat": 52.5}})
    assert holds("place.lon = null && place = ''", {"place": None})


# -- names, and who may say them --------------------------------------------
HIDDEN = ["note", "author.salary", "editors.salary", "comments_via_post.post.note", "comments_via_post.author.salary",
          "box.code", "@record.note", "@collection.people.salary"]  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_name_is_refused_like_one_that_is_not_there(name: str) -> None:
    head, dot, tail = name.rpartition(".")
    unknown = f"{head}{dot}{'q' * len(tail)}"
    told = set()
    for rest in (" = 1", " = 'abc'", " != ''", " ~ 'a'", ":length > 3", " ?= null"):
        one, other = (refusal(f"{given}{rest}", ANN).partition(", near")[0] for given in (name, unknown))
        told.add(one.replace(name, unknown) == other)
    assert told == {True}
    assert filtered(f"{name} != ''", ADMIN)


def test_a_hidden_name_on_the_right_is_a_text_like_any_unknown_word() -> None:
    empty = {field.name: None for field in blog.snapshot().get("posts").fields}
    env = RuleEnv(principal=ANN)
    assert not filtered("title = note", ANN).check({**empty, "title": "x", "note": "x"}, env)
    assert filtered("title = note", ANN).check({**empty, "title": "note", "note": "x"}, env)


def test_secrets_have_no_name_for_anybody() -> None:
    for source in ("author.pin != ''", "editors.pin:length > 1", "@collection.people.pin ~ 'a'"):
        with pytest.raises(DomainError):
            filtered(source, ADMIN)
        with pytest.raises(DomainError):
            compiled(source)


def test_a_relation_into_what_one_may_not_list_can_be_compared_but_not_followed() -> None:
    assert filtered("box = 'v1'", ANN)
    for name in ("box.code", "box.id", "box.created"):
        assert "There is no field" in refusal(f"{name} = 'x'", ANN)
    assert filtered("box.code = 'x'", ADMIN) and compiled("box.code = 'x'")


def test_a_path_to_sort_by_is_under_the_same_rules() -> None:
    snapshot = blog.snapshot()
    posts = snapshot.get("posts")
    assert rules.compile_path("author.name", posts, snapshot, ANN).value == "text"
    assert rules.compile_path("author.salary", posts, snapshot, ADMIN).value == "integer"
    for name in (
        "author.salary",
        "box.code",
        "author.pin",
        "author.nope",
        "comments_via_post.body",
        "meta.lang",
        "tags",
        "'a'",
        "",
    ):
        with pytest.raises(BadRequest):
            rules.compile_path(name, posts, snapshot, ANN)


def test_bare_words_are_texts_in_filters_only() -> None:
    empty = {field.name: None for field in blog.snapshot().get("posts").fields}
    for word in ("draft", "a@b.co", "naïve-ü", "x.y", "2026-01-15", "1a", "日本語", "last_id"):
        rule = filtered(f"title={word}")
        assert rule.check({**empty, "title": word}, RuleEnv(principal=NOBODY)), word
        with pytest.raises(DomainError):
            compiled(f"title={word}")
    assert filtered("created>=2026-01-15T10:00:00Z&&day<2027-01-01")


# -- in the database --------------------------------------------------------
@pytest.fixture
def posts(make_collection: Callable[..., Any]) -> blog.Posts:
    blog.build(make_collection)
    return blog.Posts()


@pytest.mark.engine
def test_relations_are_followed_in_every_direction(posts: blog.Posts) -> None:
    for source, ids in {
        "author.name = 'Ann'": "p1", "author.name != 'Ann'": "p2 p3 p4", "author.team.name = ''": "p3 p4",
        "editors.name = 'Bob'": "p2", "editors.name ?= 'Ann'": "p1", "editors.name != 'Ann'": "p2 p3 p4",
        "editors.team.name ?= 'Blues'": "p1 p2", "comments_via_post.approved = true": "p2",
        "comments_via_post.approved ?= false": "p1", "comments_via_post.author.name ?= 'Cid'": "p1",
        "comments_via_post.author.name != 'Cid'": "p2 p3 p4", "comments_via_post.body = ''": "p3 p4",
        "comments_via_post.body != ''": "p1 p2", "author.posts_via_author.title ?= '50% off'": "p2",
        "editors ?= author": "p1 p2", "editors = author": "p2", "editors != author": "p3 p4",
        "author.name ~ 'N' && !(editors.name ?= 'Cid')": "p1",
    }.items():  # fmt: skip
        assert posts.by_rule(source) == ids, source


@pytest.mark.engine
def test_rows_of_other_collections_are_shared_within_a_group(posts: blog.Posts) -> None:
    for source, ids in {
        "@collection.members.user = owner": "p1 p2",
        "@collection.members.user ?= owner && @collection.members.team = 'red'": "p1",
        "@collection.members.user = owner && @collection.members:other.team = 'red'": "p1 p2",
        "@collection.members.user = 'ann' && @collection.members.team = 'blue'": "",
        "!(@collection.members.user = owner)": "p3 p4",
        "live = true || @collection.members.user = 'nobody'": "p1",
    }.items():  # fmt: skip
        assert posts.by_rule(source) == ids, source


@pytest.mark.engine
def test_a_filter_sees_only_related_rows_that_its_caller_may_list(posts: blog.Posts) -> None:
    source = "comments_via_post.body ?~ 'spam'"
    assert posts.by_rule(source) == "p1" and posts.by_filter(source, ADMIN) == "p1"
    assert posts.by_filter(source, ANN) == posts.by_filter(source, NOBODY) == ""
    assert posts.by_filter("comments_via_post.author.name != 'Cid'", ANN) == ALL
    assert posts.by_filter("@collection.comments.body = 'Spam'", ANN) == ""


@pytest.mark.engine
def test_no_row_comes_twice(posts: blog.Posts) -> None:
    assert posts.by_rule("editors.name ?~ 'n' || editors.name ?~ 'b' || comments_via_post.body ?~ 'i'") == "p1 p2"


# -- constants, mentions ----------------------------------------------------
def test_what_the_caller_alone_decides_folds() -> None:
    nobody, ann = RuleEnv(principal=NOBODY), RuleEnv(principal=ANN)
    for source, expected in {
        "owner = @request.auth.id": (False, None), "@request.auth.id != ''": (False, True),
        "@request.auth.id != '' && live = true": (False, None), "@request.auth.id = '' || live = true": (True, None),
        "!(owner = @request.auth.id)": (True, None), "1 = 1": (True, True), "title ~ ''": (False, False),
    }.items():  # fmt: skip
        rule = compiled(source)
        assert (rule.fold(nobody), rule.fold(ann)) == expected, source


def test_equal_shapes_have_the_same_sql() -> None:
    rule = compiled("owner = @request.auth.id && views > 3")
    one, two = RuleEnv(principal=ANN), RuleEnv(principal=Principal(id="bob", collection="users"))
    assert rule.shape(one) == rule.shape(two) != rule.shape(RuleEnv(principal=NOBODY))
    assert rule.sql(one)[0] == rule.sql(two)[0]
    assert (list(rule.sql(one)[1]), list(rule.sql(two)[1])) == (["ann", 3], ["bob", 3])


def test_an_equality_is_plain_enough_for_an_index() -> None:
    text = compiled("status = 'draft' && live = true").sql(RuleEnv(principal=NOBODY))[0]
    assert 't."status" = ' in text and 't."live" = ' in text and "NULL" not in text


def test_a_rule_knows_whether_the_record_is_enough() -> None:
    assert compiled("title = 'a' && tags ?= 'red' && editors ?= @request.auth.id && meta.a = 1").local
    for source in ("author.name = 'a'", "comments_via_post.body = 'a'", "@collection.members.user = 'a'"):
        assert not compiled(source).local


def test_renames_rewrite_every_mention_and_nothing_else() -> None:
    snapshot = blog.snapshot()
    posts, people = snapshot.get("posts"), snapshot.get("people")
    comments, members = snapshot.get("comments"), snapshot.get("members")
    source = (
        "title = 'title' && @record.title ~ 'x' && author.name = 'author' && comments_via_post.body != 'post'"
        " && @collection.members:title.user = @request.auth.title"
    )
    rule = rules.compile_rule(source, posts, snapshot)
    for mention in rule.mentions:
        assert source[mention.start : mention.end] in {
            "title", "author", "name", "comments", "post", "body", "members", "user",
        }  # fmt: skip
    names = {
        posts.by_name["title"].id: "headline", people.by_name["name"].id: "n", comments.id: "replies",
        comments.by_name["post"].id: "thread", members.id: "staff", posts.by_name["author"].id: "writer",
    }  # fmt: skip
    assert rules.rename(source, rule.mentions, names) == (
        "headline = 'title' && @record.headline ~ 'x' && writer.n = 'author' && replies_via_thread.body != 'post'"
        " && @collection.staff:title.user = @request.auth.title"
    )
    assert rules.rename(source, rule.mentions, {}) == source


def test_parsing_is_remembered() -> None:
    assert syntax.parse("title = 'remembered'") is syntax.parse("title = 'remembered'")
