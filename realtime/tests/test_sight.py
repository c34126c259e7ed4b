"""Everybody gets exactly the frames that a list before and after the change accounts for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.principals import SYSTEM, Principal
from collections_app import events, rules
from collections_app.models import EventLogState
from collections_app.rules import RuleError
from collections_app.schema import registry, service
from collections_app.schema.definition import ADMINS_ONLY
from collections_app.tests.fixtures import Records, person
from core import ids
from core.errors import BadRequest, Forbidden, Unauthorized
from realtime import sight
from realtime.tests.watching import ADMIN, Told, Watch, cast, listed

pytestmark = pytest.mark.engine

RULES = {
    "everybody": None,
    "admins": ADMINS_ONLY,
    "nobody else": "@request.auth.id = 'nobody'",
    "signed in": "@request.auth.id != ''",
    "owner": "owner = @request.auth.id",
    "owner or public": "owner = @request.auth.id || status = 'public'",
    "team of the caller": "team_name = @request.auth.team",
    "verified": "@request.auth.verified = true && status != 'secret'",
    "a hop": "team.lead = @request.auth.id",
    "two hops": "friend.team.lead = @request.auth.id",
    "back": "grants_via_post.who ?= @request.auth.id",
    "any row": "@collection.grants.who ?= @request.auth.id && @collection.grants.what = title",
    "many": "editors.name ?= @request.auth.id",
    "many of a friend": "friend.editors.name ?= @request.auth.id",
    "not": "!(owner = @request.auth.id) && secret_note != 'x'",
    "a moment": "day < @now && owner = @request.auth.id",
}
QUERIES = [
    "",
    "status=public",
    "n > 1 && owner = owner",
    "team.name = red",
    "editors.name ?= owner",
    "owner=@request.auth.id",
]


@pytest.fixture
def house(make_collection: Callable[..., Any]) -> None:
    """Posts with every kind of relation, and the people around them."""
    make_collection("people", name="text", list_rule=None)
    make_collection("teams", name="text", lead="text", list_rule=None)
    make_collection(
        "posts",
        title="text", owner="text", status="text", team_name="text", n="number", price="decimal", day="date", on="bool",
        extra="json", place="geo_point",
        tags={"type": "select", "select": {"values": ["a", "b"], "max_select": 2}},
        team={"type": "relation", "relation": {"collection_id": "teams"}},
        friend={"type": "relation", "relation": {"collection_id": "posts"}},
        editors={"type": "relation", "relation": {"collection_id": "people", "type": "many-to-many"}},
        secret_note={"type": "text", "hidden": True},
        list_rule=None,
    )  # fmt: skip
    make_collection(
        "grants",
        who="text",
        what="text",
        post={"type": "relation", "relation": {"collection_id": "posts"}},
        list_rule=None,
    )
    for name in ("owner", "member"):
        Records("people", SYSTEM).create(id=name, name=name)
        Records("teams", SYSTEM).create(id=f"team-{name}", name="red" if name == "owner" else "blue", lead=name)
        Records("posts", SYSTEM).create(id=f"post-{name}", title=name, owner=name, team=f"team-{name}", editors=[name])
        Records("grants", SYSTEM).create(who=name, what="granted", post=f"post-{name}")


def set_rule(rule: str | None) -> None:
    service.collection_update(actor=SYSTEM, name_or_id="posts", payload={"list_rule": rule})


def expected(before: dict[str, bytes], after: dict[str, bytes], record_id: str) -> list[Told]:
    if record_id in after:
        kind = "record.updated" if record_id in before else "record.created"
        return [Told(kind, record_id, after[record_id])]
    return [Told("record.deleted", record_id, orjson.dumps({"id": record_id}))] if record_id in before else []


@contextmanager
def exactly(viewers: dict[str, Principal], record_id: str, query: str = "") -> Iterator[None]:
    """What is done to the record within is told to each as the lists of before and after account for it."""
    listing = f"per_page=100&filter={quote(query)}" if query else "per_page=100"
    watches = [Watch(viewers, registry.latest().get("posts").id, query), Watch(viewers, None, query)]
    before = listed("posts", viewers, listing)
    yield
    after = listed("posts", viewers, listing)
    for watch in watches:
        told = watch.look()
        for name in viewers:
            assert told.get(name, []) == expected(before[name], after[name], record_id), (name, query)


FULL = {
    "title": "granted", "owner": "owner", "status": "public", "team_name": "red", "n": 2, "price": "1.50", "day": "2020-01-01",
    "on": True, "extra": {"a": [1, 1.5, None]}, "place": {"lon": 1, "lat": 2.5}, "tags": ["b", "a"], "team": "team-owner",
    "friend": "post-owner", "editors": ["owner", "member"], "secret_note": "hush",
}  # fmt: skip
OTHERS = {
    "title": "refused", "owner": "member", "status": "secret", "team_name": "blue", "n": 0, "day": "2999-01-01",
    "team": "team-member", "friend": "post-member", "editors": ["member"], "secret_note": "x",
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_frames_are_what_lists_account_for(house: None, rule: str) -> None:
    set_rule(RULES[rule])
    viewers = cast(*registry.latest().by_id)
    posts = Records("posts", SYSTEM)
    for query in QUERIES if rule in ("everybody", "owner or public", "a hop") else QUERIES[:1]:
        with exactly(viewers, "new", query):
            posts.create(id="new", **OTHERS)
        with exactly(viewers, "new", query):  # it enters for some, leaves for others
            posts.update("new", FULL)
        with exactly(viewers, "new", query):  # and stays
            posts.update("new", {"price": "2.50"})
        with exactly(viewers, "new", query):
            posts.update("new", OTHERS)
        with exactly(viewers, "new", query):
            posts.update("new", {"editors": ["owner"], "friend": "new", "team": "team-owner", "owner": "new"})
        with exactly(viewers, "new", query):
            posts.delete("new")


records_of_posts = st.fixed_dictionaries(
    {},
    optional={
        "owner": st.sampled_from(["owner", "member", "", None]), "status": st.sampled_from(["public", "secret", None]),
        "title": st.sampled_from(["granted", "owner", "x"]), "team": st.sampled_from(["team-owner", "team-member", None]),
        "friend": st.sampled_from(["post-owner", "post-member", None]), "n": st.sampled_from([0, 1, 2.5, None]),
        "editors": st.lists(st.sampled_from(["owner", "member"]), unique=True),
        "team_name": st.sampled_from(["red", "blue", None]), "extra": st.sampled_from([None, {}, 1, "a", [1.0, 2**53]]),
        "place": st.sampled_from([None, {"lon": 0, "lat": -0.0}]), "price": st.sampled_from(["0", "19.9", None]),
    },
)  # fmt: skip


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(
    changes=st.lists(records_of_posts, min_size=4, max_size=8),
    rule=st.sampled_from(sorted(RULES)),
    query=st.sampled_from(QUERIES),
)
def test_any_change_is_told_as_lists_account_for_it(house: None, changes: list[Any], rule: str, query: str) -> None:
    set_rule(RULES[rule])
    viewers = cast(*registry.latest().by_id)
    posts = Records("posts", SYSTEM)
    new = ids.new_id()
    with exactly(viewers, new, query):
        posts.create(id=new)
    for change in changes:
        with exactly(viewers, new, query):
            posts.update(new, change)
    with exactly(viewers, new, query):
        posts.delete(new)


# -- what goes away together ------------------------------------------------------------------------
def test_what_goes_with_another_is_told_to_those_whose_it_was(
    make_collection: Callable[..., Any], records: Callable[..., Records]
) -> None:
    make_collection("posts", author="text", list_rule="author = @request.auth.id")
    relation = {"collection_id": "posts", "cascade_delete": True}
    make_collection(
        "comments", post={"type": "relation", "relation": relation}, list_rule="post.author = @request.auth.id"
    )
    relation = {"collection_id": "comments", "cascade_delete": True}
    make_collection(
        "likes", on={"type": "relation", "relation": relation}, list_rule="on.post.author = @request.auth.id"
    )
    relation = {"collection_id": "posts"}
    make_collection(
        "notes", post={"type": "relation", "relation": relation}, list_rule="post.author = @request.auth.id"
    )
    post = records("posts").create(author="owner")
    comment = records("comments").create(post=post["id"])
    like = records("likes").create(on=comment["id"])
    note = records("notes").create(post=post["id"])
    watch = Watch({name: who for name, who in cast().items() if "key" not in name})
    records("posts").delete(post["id"])
    gone = {post["id"], comment["id"], like["id"], note["id"]}
    told = watch.look()
    assert told.keys() == {"admin", "owner"}
    assert {(one.type, one.record_id) for one in told["owner"]} == {("record.deleted", one) for one in gone}
    assert [one.type for one in told["admin"] if one.record_id == note["id"]] == ["record.updated"]


# -- what is in a frame --------------------------------------------------------------------------------
def test_records_of_auth_collections_are_shown_without_their_secrets(
    make_collection: Callable[..., Any], records: Callable[..., Records]
) -> None:
    make_collection("members", type="auth", phone={"type": "text", "hidden": True}, list_rule=None)
    viewers = cast(registry.latest().get("members").id)
    watch = Watch(viewers)
    made = records("members").create(email="a@example.com", password="correct-horse-battery", phone="123")
    shown = listed("members", viewers)
    told = watch.look()
    assert told.keys() == {name for name in viewers if "another" not in name}
    for name, (one,) in told.items():
        assert one.data == shown[name][made["id"]]
        assert (b"phone" in one.data) is name.startswith("admin")
        assert b"password" not in one.data and b"token_key" not in one.data


def test_collections_are_told_of_to_admins_alone(house: None) -> None:
    viewers = cast(registry.latest().get("posts").id)
    watch = Watch(viewers)
    set_rule("owner = @request.auth.id")
    assert watch.kinds() == {"admin": ["collection.updated"], "admin's key": ["collection.updated"]}
    service.collection_create(actor=SYSTEM, payload={"name": "fresh", "schema": []})
    service.collection_delete(actor=SYSTEM, name_or_id="fresh")
    assert watch.kinds() == {"admin": ["collection.created", "collection.deleted"]}


# -- while the collection changes --------------------------------------------------------------------------
def test_a_changed_rule_holds_from_the_next_event_on(house: None) -> None:
    viewers = {"owner": person("owner"), "member": person("member")}
    watch = Watch(viewers, registry.latest().get("posts").id)
    posts = Records("posts", SYSTEM)
    posts.create(owner="member")
    assert watch.kinds() == {"owner": ["record.created"], "member": ["record.created"]}
    set_rule("owner = @request.auth.id")
    posts.create(owner="member")
    assert watch.kinds() == {"member": ["record.created"]}
    posts.create(owner="member")
    set_rule(ADMINS_ONLY)  # before anybody looked: what may be seen now counts
    assert watch.kinds() == {}
    posts.create(owner="member")
    set_rule(None)
    assert watch.kinds() == {"owner": ["record.created"], "member": ["record.created"]}


def test_names_that_were_swapped_with_hidden_ones_leak_nothing(house: None) -> None:
    viewers = cast(registry.latest().get("posts").id)
    watch = Watch(viewers, registry.latest().get("posts").id)
    posts = Records("posts", SYSTEM)
    for _ in range(3):
        posts.create(title="public title", secret_note="hush")
    schema = [field.as_json() for field in registry.latest().get("posts").own_fields]
    names = {"title": "secret_note", "secret_note": "title"}
    swapped = [{**field, "name": names.get(field["name"], field["name"])} for field in schema]
    service.collection_update(actor=SYSTEM, name_or_id="posts", payload={"schema": swapped})
    told = watch.look()
    assert told.keys() == {name for name in viewers if "another" not in name}
    for name, found in told.items():
        assert b"hush" not in b"".join(one.data for one in found) or name.startswith("admin")
        assert [one.type for one in found if one.type != "collection.updated"] == ["reset"], name
    posts.create(title="hidden now", secret_note="seen now")
    assert b"hidden now" not in watch.look()["owner"][0].data
    set_rule(ADMINS_ONLY)
    posts.create(title="x")
    service.collection_update(actor=SYSTEM, name_or_id="posts", payload={"schema": schema})
    assert watch.kinds().keys() == {"admin", "admin's key"}


def test_who_asks_for_a_field_that_is_gone_is_told_so(house: None) -> None:
    posts = registry.latest().get("posts")
    watch = Watch({"owner": person("owner")}, posts.id, "status=public")
    everywhere = Watch({"owner": person("owner")}, None, "status=public")
    schema = [field.as_json() for field in posts.own_fields]
    renamed = [{**field, "name": "state" if field["name"] == "status" else field["name"]} for field in schema]
    service.collection_update(actor=SYSTEM, name_or_id="posts", payload={"schema": renamed})
    Records("posts", SYSTEM).create(state="public")
    assert everywhere.kinds() == {}
    seen = sight.look(watch.position, list(watch.groups.values()))
    assert [frame.type for _, frame in seen.frames] == ["reset"]
    assert list(seen.refused) == list(watch.groups.values())


# -- queries --------------------------------------------------------------------------------------------
def check(query: str, who: Principal, name: str | None = "posts") -> None:
    snapshot = registry.latest()
    sight.check(None if name is None else snapshot.get(name).id, query, who, snapshot)


def test_a_query_may_name_what_its_caller_may_read(house: None) -> None:
    for query in QUERIES[1:]:
        check(query, person("owner"))
        check(query, ADMIN, None)
    for query in ("secret_note=x", "nothing=1", "status=", "status ~~ 1", "friend.secret_note=x"):
        for name in ("posts", None):
            with pytest.raises(RuleError):
                check(query, person("owner"), name)
    check("secret_note=x", ADMIN)
    set_rule("owner = @request.auth.id")
    with pytest.raises(Unauthorized):
        check("", Principal())
    set_rule(ADMINS_ONLY)
    with pytest.raises(Forbidden):
        check("status=public", person("owner"))


def test_each_admin_is_themselves_in_a_query(house: None) -> None:
    other = Principal(id="other", collection="users", role="admin", verified=True)
    watch = Watch({"boss": ADMIN, "other": other}, None, "owner = @request.auth.id")
    one, two = watch.groups.values()
    assert one.key != two.key
    Records("posts", SYSTEM).create(owner="other")
    assert watch.kinds() == {"other": ["record.created"]}


# -- what can't be decided ---------------------------------------------------------------------------------
def test_a_rule_that_fails_is_no_and_holds_up_nobody_else(
    house: None, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    set_rule("owner = @request.auth.id")
    watch = Watch({"owner": person("owner"), "admin": ADMIN}, registry.latest().get("posts").id)

    def broken(rule: Any, env: Any) -> Callable[[Any], bool]:
        return lambda record: bool(record["no such name"])

    monkeypatch.setattr(sight, "prepared", broken)
    for _ in range(3):
        Records("posts", SYSTEM).create(owner="owner")
    assert watch.kinds() == {"admin": ["record.created"] * 3}
    assert len([one for one in caplog.records if "can't be decided" in one.message]) == 1


def test_a_slow_query_ends_for_who_asked_it(house: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "QUERY_SECONDS", -1.0)
    monkeypatch.setattr(sight, "_slow", {})
    posts = registry.latest().get("posts")
    query = "team.name = red"
    watch, plain = Watch({"owner": person("owner")}, posts.id, query), Watch({"owner": person("owner")}, posts.id)
    Records("posts", SYSTEM).create(team="team-owner")
    seen = sight.look(watch.position, [*watch.groups.values(), *plain.groups.values()])
    assert [frame.type for group, frame in seen.frames if group.query] == ["reset"]
    assert [frame.type for group, frame in seen.frames if not group.query] == ["record.created"]
    assert list(seen.refused) == list(watch.groups.values())
    with pytest.raises(BadRequest):
        check(query, person("owner"))


def test_a_rule_that_takes_too_long_is_not_asked_again_at_once(house: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "_slow", {})
    set_rule("team.lead = @request.auth.id")
    asked: list[int] = []

    def too_slow(self: Any, rule: Any, env: Any) -> bool:
        asked.append(1)
        raise BadRequest("The query took longer than 10 seconds.")

    monkeypatch.setattr(sight.as_if.State, "satisfies", too_slow)
    watch = Watch(
        {"owner": person("owner"), "member": person("member"), "admin": ADMIN}, registry.latest().get("posts").id
    )
    for _ in range(3):
        Records("posts", SYSTEM).create(team="team-owner")
    assert watch.kinds() == {"owner": ["reset"], "member": ["reset"], "admin": ["record.created"] * 3}
    assert len(asked) == 1


def test_what_was_decided_before_a_slow_query_stays_decided(house: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "_slow", {})
    posts = registry.latest().get("posts")
    asked: list[str] = []
    satisfies = sight.as_if.State.satisfies

    def counted(self: Any, rule: Any, env: Any) -> bool:
        asked.append(env.principal.id)
        if env.principal.id == "member":
            raise BadRequest("The query took longer than 10 seconds.")
        return satisfies(self, rule, env)

    monkeypatch.setattr(sight.as_if.State, "satisfies", counted)
    who = {name: person(name) for name in ("owner", "member", "stranger")}
    groups = [
        *Watch(who, posts.id, "team.name = red").groups.values(),
        *Watch(who, posts.id, "team.name != blue").groups.values(),
    ]
    start = events.settled_id()
    Records("posts", SYSTEM).create(team="team-owner")
    seen = sight.look(start, groups)
    assert asked == ["owner", "member", "owner", "member"]  # whoever has the same query is not asked for
    told = [(group.principal.id, frame.type) for group, frame in seen.frames]
    assert told == [
        *[("owner", "record.created"), ("member", "reset"), ("stranger", "reset")],
        *[("owner", "record.created"), ("member", "reset"), ("stranger", "reset")],
    ]
    assert set(seen.refused.values()) == {sight.SLOW_QUERY} and len(seen.refused) == 4


def test_a_rule_is_asked_once_for_all_queries_of_those_who_are_the_same(
    house: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_rule("team.lead = @request.auth.id")
    asked: list[int] = []
    satisfies = sight.as_if.State.satisfies
    monkeypatch.setattr(
        sight.as_if.State, "satisfies", lambda self, rule, env: asked.append(1) or satisfies(self, rule, env)
    )
    posts = registry.latest().get("posts")
    groups = [
        group
        for number in range(10)
        for group in Watch({"owner": person("owner")}, posts.id, f"n = 1 || title != 'q{number}'").groups.values()
    ]
    start = events.settled_id()
    Records("posts", SYSTEM).create(team="team-owner")
    assert len(sight.look(start, groups).frames) == 10 and len(asked) == 1


def test_a_look_leaves_to_others_what_is_not_its_own(house: None, monkeypatch: pytest.MonkeyPatch) -> None:
    set_rule("team.lead = @request.auth.id")
    posts = registry.latest().get("posts")
    (admin,) = Watch({"admin": ADMIN}, posts.id).groups.values()
    (ruled,) = Watch({"owner": person("owner")}, posts.id).groups.values()
    asking, other = (
        sight.Group(posts.id, query, "owner", person("owner")) for query in ("team.name = red", "team.lead = 'owner'")
    )
    start = events.settled_id()
    Records("teams", SYSTEM).create(name="green")
    first = events.settled_id()
    for _ in range(2):
        Records("posts", SYSTEM).create(team="team-owner")
    everybody = [admin, ruled, asking, other]
    seen = sight.look(start, everybody, rank=sight.MEMORY)
    assert [group for group, _ in seen.frames] == [admin] * 2
    assert seen.beyond == {ruled: (sight.RULE, first), asking: (sight.QUERY, first), other: (sight.QUERY, first)}
    seen = sight.look(start, everybody, rank=sight.RULE)
    assert [group for group, _ in seen.frames] == [admin, ruled] * 2 and seen.beyond.keys() == {asking, other}
    monkeypatch.setattr(sight, "TURN_SECONDS", -1.0)
    seen = sight.look(start, [asking, other], known={asking: first + 1}, may_leave=True)
    assert seen.position == first and not seen.frames and not seen.behind  # nothing was asked for so far
    seen = sight.look(first, [asking, other], may_leave=True)
    assert [group for group, _ in seen.frames] == [asking] and seen.behind == {other: first}
    assert seen.position == first + 1 and seen.seconds.keys() == {asking}
    seen = sight.look(first, [asking, other], known={asking: first + 1}, may_leave=True)
    assert [group for group, _ in seen.frames] == [other] and not seen.behind


# -- the log -------------------------------------------------------------------------------------------------
def test_a_look_goes_no_further_than_it_has_looked(house: None, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch({"admin": ADMIN})
    start = watch.position
    posts = Records("posts", SYSTEM)
    ids = [posts.create(n=number)["id"] for number in range(7)]
    groups = list(watch.groups.values())
    last = events.settled_id()
    page = sight.look(start, groups, through=last, limit=3)
    assert len(page.frames) == 3 and page.position == events.read(start, 3)[-1].id
    assert sight.look(start, groups, through=last, limit=7).position == last
    through = events.read(start, 2)[-1].id
    assert [frame.id for _, frame in sight.look(start, groups, through=through).frames][-1] == through
    assert sight.look(last, groups) == sight.Seen(last)
    monkeypatch.setattr(sight, "LOOK_SECONDS", -1.0)
    told = []
    while (seen := sight.look(start, groups)).position > start:
        assert len(seen.frames) == 1
        told += [orjson.loads(frame.body)["record_id"] for _, frame in seen.frames]
        start = seen.position
    assert told == ids


def test_a_log_that_does_not_go_on_is_noticed(house: None) -> None:
    group = sight.Group(None, "", None, ADMIN)
    last = events.settled_id()
    EventLogState.objects.update_or_create(id=1, defaults={"trimmed_through": last - 1})
    assert sight.look(last - 2, [group]).lost
    assert not sight.look(last - 1, [group]).lost
    ahead = sight.look(last + 1, [group])  # of another log, from before a restore
    assert ahead.lost and ahead.position == last
    assert sight.look(last - 2, [group], through=last).lost


def test_plans_are_made_once_and_end_with_the_schema(house: None, monkeypatch: pytest.MonkeyPatch) -> None:
    set_rule("owner = @request.auth.id")
    made: list[Any] = []
    monkeypatch.setattr(sight, "prepared", lambda rule, env: made.append(rule) or rules.prepared.prepared(rule, env))
    watch = Watch({"owner": person("owner")}, registry.latest().get("posts").id)
    for _ in range(3):
        Records("posts", SYSTEM).create(owner="owner")
        assert watch.kinds() == {"owner": ["record.created"]}
    assert len(made) == 1
    set_rule("status = 'public'")
    Records("posts", SYSTEM).create(status="public")
    assert watch.kinds() == {"owner": ["record.created"]}
    (group,) = watch.groups.values()
    assert len(made) == 2 and group.snapshot is registry.latest()
