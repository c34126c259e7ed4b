"""The lane answers as Django and DRF do, to the byte, and leaves the same behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from json import dumps
from pathlib import Path
from typing import Any
from urllib.parse import quote as quoted

import pytest
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import realms, tokens
from accounts.models import SignIn, User
from collections_app.tests.threads import STRESS
from core import clock
from tests.two_ways import NOW, Request, TwoWays, get, send, stand_still, told

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PUBLIC = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
MINE = "owner = @request.auth.id"
BATCH = "/api/v1/batch"
CALLERS = ("anonymous", "stranger", "member", "owner", "admin")


def relation(collection: str, kind: str = "many-to-one", **more: Any) -> dict[str, Any]:
    return {"type": "relation", "relation": {"collection_id": collection, "type": kind, **more}}


@pytest.fixture
def house(make_collection: Any, records: Any, owner: User, member: User) -> None:
    """Collections with every kind of rule, and some records with ids that can be read."""
    make_collection("teams", name="text", **PUBLIC)
    make_collection("authors", name="text", team=relation("teams"), secret={"type": "text", "hidden": True}, **PUBLIC)
    make_collection(
        "posts", title={"type": "text", "validation": {"required": True, "max_length": 80}}, body="editor",
        slug={"type": "slug", "validation": {"unique": True}}, views="integer", score="number", price="decimal",
        active="bool", published="datetime", day="date", clock="time", mail="email", site="url", meta="json",
        place="geo_point", token="uuid", colour="color",
        kind={"type": "select", "select": {"values": ["news", "essay"]}},
        tags={"type": "select", "select": {"values": ["a", "b", "c"], "max_select": 3}},
        author=relation("authors"), readers=relation("authors", "many-to-many"),
        secret={"type": "text", "hidden": True}, options={"search": ["title", "body"]},
        indexes=[{"fields": ["views"]}, {"fields": ["kind", "views"]}], **PUBLIC,
    )  # fmt: skip
    make_collection(
        "notes", owner="text", text="text", public="bool",
        list_rule=f"{MINE} || public = true", view_rule=f"{MINE} || public = true",
        create_rule=f"@request.auth.id != '' && {MINE}", update_rule=MINE, delete_rule=MINE,
    )  # fmt: skip
    make_collection("vault", title="text")
    make_collection("memberships", user="text", room="text", **PUBLIC)
    make_collection(
        "rooms", name="text", author=relation("authors"),
        list_rule="@collection.memberships.user ?= @request.auth.id && @collection.memberships.room ?= id",
        view_rule="author.team.name = 'red'", create_rule="author.team.name = 'red'",
        update_rule="@request.body.name:changed = false || @request.auth.verified = true", delete_rule="1 = 2",
    )  # fmt: skip
    make_collection(
        "asked", name="text", list_rule="@request.query.key = 'open'", view_rule="@request.query.key = 'open'",
        create_rule="@request.body.name ~ 'let' && @request.method = 'POST'", update_rule="@request.auth.role = 'user'",
        delete_rule="@request.query.key = name",
    )  # fmt: skip
    make_collection(
        "dated", name="text", until="datetime", post=relation("posts"),
        list_rule="until > @now", view_rule="until > @now", create_rule=None, update_rule="until > @now",
    )  # fmt: skip
    season = "@now < '2026-02-01T00:00:00Z'"
    make_collection(
        "season", name="text", post=relation("posts"), list_rule=season, view_rule=season, create_rule=season
    )
    make_collection("write_only", name="text", **PUBLIC | {"list_rule": "1 = 2", "view_rule": "1 = 2"})
    for name in ("red", "blue"):
        records("teams").create(id=f"team-{name}", name=name)
    for number, team in enumerate(["red", "blue", "red", None]):
        records("authors").create(
            id=f"author-{number}", name=f"Author {number} é", team=team and f"team-{team}", secret="s"
        )
    for number in range(24):
        records("posts").create(
            id=f"post-{number:02}", title=f"Title {number} of the naïve <b> & 'more'", slug=f"slug-{number}",
            body=f"<p>Words {'rare' if number == 7 else 'common'} {number}</p>", views=number * 10,
            score=number / 3, price=f"{number}.50", active=number % 2 == 0, kind=["news", "essay", None][number % 3],
            published=f"2026-01-{number + 1:02}T10:00:00Z", day="2026-02-03", clock="10:00", mail=f"a{number}@example.com",
            site="https://example.com/", meta={"a": {"b": number}, "l": [1, "x"]}, place={"lon": 1.5, "lat": 2},
            token=None, colour="#aabbcc", tags=["a", "b", "c"][: number % 4], author=f"author-{number % 4}",
            readers=[f"author-{place}" for place in range(number % 3)], secret=f"secret-{number}",
        )  # fmt: skip
    for name, user, public in (("o", owner, False), ("m", member, False), ("p", owner, True)):
        records("notes").create(id=f"note-{name}", owner=str(user.id), text=f"text {name}", public=public)
    records("notes").create(id="note-x", owner="", text="nobody's", public=False)
    records("vault").create(id="gold", title="gold")
    records("rooms").create(id="room-1", name="one", author="author-0")
    records("rooms").create(id="room-2", name="two", author="author-1")
    records("memberships").create(id="membership", user=str(member.id), room="room-1")
    records("asked").create(id="asked-1", name="letter")
    records("write_only").create(id="blind", name="x")
    for number, until in enumerate(["2026-01-20T00:00:00Z", "2026-02-20T00:00:00Z", "2026-04-20T00:00:00Z", None]):
        records("dated").create(id=f"dated-{number}", name="x", until=until, post="post-01")
    records("season").create(id="season-1", name="x", post="post-01")


@pytest.fixture
def tokens_by_name(admin: User, owner: User, member: User, stranger: User, make_user: Any) -> dict[str, str]:
    """Good tokens of the cast, and one of each that is not good."""
    good = {user.username: tokens.issue(user).access for user in (admin, owner, member, stranger)}
    expired = tokens.AccessToken(good["member"])
    expired.set_exp(from_time=timezone.now() - timedelta(days=1), lifetime=timedelta(hours=1))
    gone, disabled, renewed = make_user("gone"), make_user("disabled"), make_user("renewed")
    bad = {"gone": tokens.issue(gone).access, "disabled": tokens.issue(disabled).access}
    bad |= {"renewed": tokens.issue(renewed).access, "refresh": tokens.issue(member).refresh, "expired": str(expired)}
    left = tokens.issue(member)
    tokens.revoke(realms.staff(), left.access)
    User.objects.filter(pk=disabled.pk).update(is_active=False)
    renewed.set_password("another-long-password")
    renewed.save()
    SignIn.objects.of(gone).delete()
    gone.delete()
    head, claims, signature = good["member"].split(".")
    return good | bad | {"signed out": left.access, "forged": f"{head}.{claims}.{signature[::-1]}", "rubbish": "x.y"}


@pytest.fixture
def make_two_ways(
    house: None, tokens_by_name: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[Callable[[], TwoWays]]:
    stand_still(monkeypatch)
    settings.ACCESS_LOG = False
    made: list[TwoWays] = []

    def make() -> TwoWays:
        made.append(TwoWays(tmp_path, tokens_by_name))
        return made[-1]

    yield make
    for ways in made:
        ways.close()


@pytest.fixture
def ways(make_two_ways: Callable[[], TwoWays]) -> TwoWays:
    return make_two_ways()


def same(ways: TwoWays, requests: Sequence[Request]) -> None:
    told = ways.differences(requests)
    assert not told, f"{len(told)} of {len(requests)} requests:\n" + "\n".join(told)


# --- reading ----------------------------------------------------------------------------------

LISTS = [
    "", "page=2&per_page=5", "page=5&per_page=5", "page=6&per_page=5", "page=9&per_page=500", "per_page=500",
    "per_page=1", "page=&per_page=", "skip_total=true", "skip_total=1&page=2&per_page=3", "skip_total=false",
    "sort=title", "sort=-views", "sort=-kind,views", "sort=score,-id", "sort=author.name,-views", "sort=-created",
    "sort=", "sort=published", "sort=price",
    "filter=", "filter=active=true", "filter=(kind='news'%26%26views>100)", "filter=kind='news'&&views>100",
    "filter=views<50||views>=200", "filter=title~'naïve'".replace("ï", "%C3%AF"), "filter=title!~'1'",
    "filter=views!=10", "filter=views<=10", "filter=kind=null", "filter=kind=''", "filter=kind!=null",
    "filter=tags?='a'", "filter=tags?!='a'", "filter=tags:length>1", "filter=tags:each='a'", "filter=tags?~'b'",
    "filter=title:length>40", "filter=title:lower='title 1 of the naïve'".replace("ï", "%C3%AF"),
    "filter=author.name~'1'", "filter=author.team.name='red'", "filter=readers.name?~'0'", "filter=readers.name?='x'",
    "filter=meta.a.b=3", "filter=meta.l?='x'", "filter=published>'2026-01-10T00:00:00Z'", "filter=published<@now",
    "filter=price>10.5", "filter=place.lon=1.5", "filter=!(views>100)", "filter=views?>200", "filter=views?<=5",
    "filter=views?<5", "filter=views?>=230", "filter=title?!~'1'", "filter=@request.auth.id=''",
    "filter=title='Title%201%20of%20the%20na%C3%AFve%20<b>%20%26%20\\'more\\''", "filter=title=%22x%22",
    "filter=active=false&sort=-views&per_page=3&page=2", "filter=status=published", "filter=kind=news",
    "search=rare", "search=common", "search=TITLE", "search=ra", "search=%25", "search=a23@", "search=nothing-at-all",
    "search=naïve".replace("ï", "%C3%AF"), "search=rare&filter=active=false&sort=-views", "search=",
    "fields=id", "fields=id,title", "fields=*", "fields=title:excerpt(10)", "fields=body:excerpt(8,true),id",
    "fields=id,expand.author.name&expand=author", "fields=*,expand.author.team&expand=author.team",
    "expand=author", "expand=author,readers", "expand=author.team", "expand=readers.team&per_page=3",
    "cursor=", "cursor=&per_page=5", "cursor=&sort=-views,title&per_page=7", "cursor=&filter=active=true&per_page=50",
    "cursor=&sort=author.name&per_page=5&fields=id",
]  # fmt: skip
BAD_LISTS = [
    "page=0", "page=x", "page=1000001", "per_page=501", "per_page=0", "per_page=-1", "skip_total=perhaps",
    "page=1&cursor=", "cursor=rubbish", "cursor=WzFd", "cursor=&sort=@random", "unknown=1", "page=1&page=2",
    "limit=3", "format=json", "sort=nothing", "sort=secret", "sort=-", "sort=author.secret", "sort=meta", "sort=,,",
    "filter=nothing=1", "filter=secret='x'", "filter=title", "filter=title=", "filter=title='x", "filter=(title='x'",
    "filter=title==1", "filter=views='abc'", "filter=author.secret='s'", "filter=author.nothing=1", "filter=&&",
    "filter=title=@nothing", "filter=views~1", "filter=" + "(" * 25 + "views=1" + ")" * 25, "filter=a<>b",
    "filter=" + "||".join(["views=1"] * 201), "filter=title='" + "x" * 4100 + "'",
    "search=" + "x" * 201, "search=%00", "search=%FF", "fields=nothing", "fields=secret", "fields=title:excerpt(x)",
    "fields=expand.author.secret&expand=author", "fields=expand.author", "expand=nothing", "expand=title",
    "expand=author.nothing", "expand=a.b.c.d.e.f.g", "expand=posts_via_secret", "expand=" + ",".join(["author"] * 101),
    "search=" + "x" * 20_001, "&".join(f"p{number}=1" for number in range(101)), "=", "=1", "%00=1", "sort[]=id",
]  # fmt: skip


def test_lists(ways: TwoWays) -> None:
    same(ways, [get(f"posts?{query}" if query else "posts", who) for query in LISTS for who in ("anonymous", "admin")])
    same(ways, [get(f"posts?{query}") for query in BAD_LISTS])


def test_a_list_goes_on_where_the_cursor_points(ways: TwoWays) -> None:
    for query in ("per_page=7", "per_page=5&sort=-kind,views", "per_page=9&sort=author.name&filter=views>20"):
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            request = get(f"posts?{query}&cursor={quoted(cursor)}")
            same(ways, [request])
            cursor = ways.by_lane(request).json()["next_cursor"]
            pages += 1
        assert pages >= 3
    other = ways.by_lane(get("posts?cursor=&per_page=2&sort=views")).json()["next_cursor"]
    same(ways, [get(f"posts?cursor={quoted(other)}&sort=title"), get(f"posts?cursor={quoted(other[:-3])}&sort=views")])


def test_backward_and_nested_expansion(ways: TwoWays) -> None:
    paths = (
        "teams?expand=authors_via_team", "teams/team-red?expand=authors_via_team.posts_via_author",
        "authors?expand=posts_via_author,team", "authors/author-0?expand=posts_via_readers,posts_via_author",
        "authors?expand=team,rooms_via_author", "authors/author-0?expand=rooms_via_author&fields=id,expand.team",
        "teams?expand=nothing_via_team", "teams?expand=authors_via_secret", "teams?expand=authors_via_team&fields=*",
        "teams?filter=authors_via_team.name?~'1'", "authors?filter=posts_via_author.views?>200",
    )  # fmt: skip
    same(ways, [get(path, who) for path in paths for who in ("anonymous", "member", "admin")])


def test_single_records_and_validators(ways: TwoWays) -> None:
    etag = ways.by_lane(get("posts/post-01")).header("etag")
    narrow = ways.by_lane(get("posts/post-01?fields=id")).header("etag")
    assert etag and narrow and etag != narrow
    conditions = [etag, narrow, f"W/{etag}", f'"x", {etag}', "*", '"x"', "", ",", "rubbish", etag.strip('"'), "é"]
    same(ways, [get("posts/post-01", if_none_match=value) for value in conditions])
    same(ways, [get("posts/post-01?fields=id", if_none_match=value) for value in conditions])
    same(ways, [get("posts", if_none_match=value) for value in conditions])
    same(ways, [get("posts/post-01?expand=author", "admin", if_none_match=value) for value in conditions])
    same(ways, [Request("GET", "posts/post-01", headers=[("If-None-Match", '"x"'), ("If-None-Match", etag)])])
    paths = (
        "posts/post-02", "posts/nothing", "posts/" + "x" * 64, "posts/" + "x" * 65, "posts/post-02?page=1",
        "posts/post-02?fields=id,title", "posts/post-02?fields=nothing", "posts/post-02?expand=author.team,readers",
        "posts/post-02?expand=nothing", "posts/post-02?fields=", "nothing/post-02", "nothing", "POSTS", "posts/POST-02",
        "posts/post-02?filter=views=1", "posts/.", "posts/..", "posts/a+b", "posts/a;b", "posts/a,b", "posts/~", "users",
    )  # fmt: skip
    same(ways, [get(path, who) for path in paths for who in ("anonymous", "admin")])


# --- who is asking ----------------------------------------------------------------------------


def test_what_the_rules_say_to_everybody(ways: TwoWays) -> None:
    reads = [
        "notes", "notes?per_page=1", "notes?filter=text~'text'&per_page=1", "notes?search=text", "notes/note-o",
        "notes/note-m", "notes/note-p", "notes/note-x", "vault", "vault/gold", "vault?page=0", "vault/nothing",
        "rooms", "rooms/room-1", "rooms/room-2", "rooms?sort=author.name", "rooms?expand=author.team", "asked",
        "asked?key=open", "asked?key=shut", "asked/asked-1?key=open", "asked/asked-1", "asked?key=open&key=open",
        "write_only", "write_only/blind", "posts?filter=secret~'1'", "posts/post-03?fields=secret", "posts/post-03",
        "authors?filter=secret='s'&per_page=1", "records", "records/nothing",
        "authors/author-0?expand=rooms_via_author", "posts?expand=author.rooms_via_author&per_page=2",
    ]  # fmt: skip
    same(ways, [get(path, who) for path in reads for who in CALLERS])
    writes = [
        ("POST", "notes", {"text": "mine", "owner": ""}), ("PATCH", "notes/note-o", {"text": "x"}),
        ("PATCH", "notes/note-p", {"owner": "me"}), ("PUT", "notes/note-m", {"public": True}),
        ("DELETE", "notes/note-p", b""), ("DELETE", "notes/note-x", b""), ("POST", "vault", {"title": "x"}),
        ("PATCH", "vault/gold", {"title": "x"}), ("DELETE", "vault/gold", b""),
        ("POST", "rooms", {"name": "x", "author": "author-0"}), ("POST", "rooms", {"name": "x", "author": "author-1"}),
        ("PATCH", "rooms/room-1", {"name": "x"}), ("PATCH", "rooms/room-1", {"name": "one"}),
        ("DELETE", "rooms/room-1", b""), ("POST", "asked", {"name": "letter"}), ("POST", "asked", {"name": "x"}),
        ("PATCH", "asked/asked-1", {"name": "x"}), ("PATCH", "asked/asked-1?key=open", {"name": "x"}),
        ("DELETE", "asked/asked-1?key=letter", b""), ("DELETE", "asked/asked-1?key=open", b""),
        ("DELETE", "asked/asked-1", b""), ("POST", "write_only", {"name": "y"}),
        ("PATCH", "write_only/blind", {"name": "y"}), ("PATCH", "write_only/blind", {}),
        ("DELETE", "write_only/blind", b""), ("POST", "posts", {"title": "x", "secret": "told"}),
        ("PATCH", "posts/post-03", {"secret": "told"}), ("POST", "records", {"title": "x"}),
        ("POST", "notes/bulk-delete", {"record_ids": ["note-o", "note-m", "note-p", "nothing"]}),
        ("POST", "notes/bulk-update", {"record_ids": ["note-o", "note-m", "note-p"], "data": {"text": "new"}}),
        ("POST", BATCH, {"requests": [{"method": "PATCH", "collection": "notes", "id": "note-o", "data": {"text": "x"}},
                                      {"method": "DELETE", "collection": "vault", "id": "gold"}]}),
        ("POST", BATCH, {"requests": [{"method": "PATCH", "collection": "notes", "id": "note-m", "data": {"text": "x"}}]}),
    ]  # fmt: skip
    same(ways, [send(method, path, data, who) for method, path, data in writes for who in CALLERS])


MOMENTS = ("@now", "@today", "@todayStart", "@todayEnd", "@yesterday", "@tomorrow", "@monthStart", "@monthEnd",
           "@yearStart", "@yearEnd")  # fmt: skip
NUMBERS = ("@second", "@minute", "@hour", "@day", "@month", "@year", "@weekday")


def test_what_depends_on_the_time_goes_with_it(
    make_two_ways: Callable[[], TwoWays], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered before is no answer later, though nothing has been written."""
    asked = [
        "dated", "dated?per_page=1", "dated/dated-0", "dated/dated-1", "dated/dated-2", "dated/dated-3",
        "dated?sort=post.title", "dated?filter=post.views=10&per_page=1", "season", "season/season-1",
        "season?per_page=1&filter=name='x'", "posts/post-01?expand=dated_via_post", "posts/post-01?expand=season_via_post",
        "posts?filter=dated_via_post.name?='x'", "posts?filter=season_via_post.name?='x'", "dated?expand=post.season_via_post",
        "posts?filter=@collection.season.name?='x'&per_page=1",
        *(f"posts?filter=published{operator}{moment}&per_page=2" for operator in "<>" for moment in MOMENTS),
        *(f"posts?filter=views{operator}{number}&per_page=2" for operator in ("<=", ">=") for number in NUMBERS),
        *(f"posts?filter=10<={number}&per_page=2" for number in NUMBERS),
        *(f"posts?filter=@now{operator}'2026-02-01T00:00:00Z'&per_page=2" for operator in "<>"),
    ]  # fmt: skip
    requests = [get(path, who) for path in asked for who in ("anonymous", "member", "admin")]
    first, unspoilt = make_two_ways(), make_two_ways()
    then = [told(first.by_lane(request)) for request in requests]
    assert [told(first.by_lane(request)) for request in requests] == then
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(days=46, hours=3))
    differences = []
    for request in requests:
        now, fresh = told(first.by_lane(request)), told(unspoilt.by_lane(request))
        if now != fresh:
            differences.append(f"{request}\n    {now}\n    {fresh}")
    assert not differences, "\n".join(differences)
    later = [told(first.by_lane(request)) for request in requests]
    changed = {
        str(request)
        for request, one, other in zip(requests, then, later, strict=True)
        if one[0] != other[0] or one[2].partition(b'"request_id"')[0] != other[2].partition(b'"request_id"')[0]
    }
    assert len(changed) > 20, changed


def test_who_creates_their_own_note(ways: TwoWays, owner: User, member: User) -> None:
    notes = [{"text": "mine", "owner": str(user.id)} for user in (owner, member)]
    same(ways, [send("POST", "notes", note, who) for note in notes for who in CALLERS])


BAD_TOKENS = ("expired", "refresh", "disabled", "gone", "renewed", "signed out", "forged", "rubbish")


def test_tokens_that_do_not_speak_for_anybody(ways: TwoWays) -> None:
    assert set(BAD_TOKENS) < set(ways.tokens)
    same(ways, [
        request for who in BAD_TOKENS for request in (
            get("posts", who), get("posts/post-01", who), get("vault", who), get("nothing", who), get("posts?page=0", who),
            get("/health/live/", who), get("/api/v1/health/live", who), send("POST", "posts", {"title": "x"}, who),
            send("PATCH", "posts/post-01", b"{", who), send("DELETE", "posts/post-01", b"", who),
            send("POST", "posts/bulk-delete", {"record_ids": ["post-01"]}, who), send("POST", BATCH, b"[]", who),
        )
    ])  # fmt: skip
    good, long = ways.tokens["member"], "x" * 4097
    schemes = [
        f"bearer {good}", f"BEARER {good}", f"Bearer  {good}", f"Bearer {good} ", f"Bearer {long}", "Bearer x é",
        f"Bearer {good},x", f"Bearer {good} {good}", "Bearer a.b.c",
    ]  # fmt: skip
    same(ways, [get(path, authorization=scheme) for scheme in schemes for path in ("notes", "posts/post-01", "vault")])
    others = ["", "Bearer", "Bearer ", good, f"Token {good}", "Basic eDp5", f"Bearer\t{good}", "Digest x"]
    same(ways, [get(path, authorization=scheme, by_lane=None) for scheme in others for path in ("notes", "vault")])
    twice = [("Authorization", f"Bearer {good}")] * 2
    same(ways, [Request("GET", "notes", headers=twice, by_lane=None)])
    same(ways, [get("notes", x_api_key=key) for key in ("", "unknown", good)])


# --- writing ----------------------------------------------------------------------------------

WHOLE = {
    "title": "New <b>one</b>", "body": "<p onclick=x>Hi<script>1</script></p>", "slug": "new-one", "views": 3,
    "score": 1.25, "price": "9.99", "active": True, "published": "2026-03-01T10:00:00+02:00", "day": "2026-03-01",
    "clock": "11:30", "mail": "x@example.com", "site": "https://example.com/x?y=1&z=é", "meta": {"x": [1, None, "é"]},
    "place": {"lon": -1.3, "lat": 51.1}, "token": "6f1c1f0e-6f7c-4c55-9d5f-0d4b3d9a1f11", "colour": "#112233",
    "kind": "news", "tags": ["a", "c"], "author": "author-1", "readers": ["author-0", "author-2"], "secret": "x",
}  # fmt: skip
PARTIAL = {name: WHOLE[name] for name in WHOLE if name != "secret"}
BODIES: list[Any] = [
    {"title": "x"}, PARTIAL, {"data": {"title": "x"}}, {"title": "x", "id": "my-own-id"}, {"title": "x", "id": "post-01"},
    {"title": "x", "id": "bad id!"}, {"title": "x", "id": ""}, {"title": "x", "id": None}, {"title": "x", "id": 5},
    {"title": "x", "created": "2020-01-01", "updated": "x", "collection": "y"}, {"title": "x", "expand": {}},
    {}, {"data": {}}, {"title": None}, {"title": ""}, {"title": "x" * 81}, {"title": 5}, {"title": ["x"]},
    {"title": "x", "nothing": 1, "nor this": 2}, {"title": "x", "slug": "slug-1"}, {"title": "x", "slug": "A b"},
    {"title": "x", "views": "12"}, {"title": "x", "views": 1.5}, {"title": "x", "views": 2**63}, {"title": "x", "views": True},
    {"title": "x", "price": "1e40"}, {"title": "x", "active": "maybe"}, {"title": "x", "published": "2026-02-30"},
    {"title": "x", "kind": "poem"}, {"title": "x", "tags": ["a", "z"]}, {"title": "x", "tags": "a"},
    {"title": "x", "author": "nothing"}, {"title": "x", "readers": ["author-0", "nothing"]}, {"title": "x", "author": ["author-0"]},
    {"title": "x", "mail": "no", "site": "no", "colour": "red", "token": "no", "clock": "25:00", "place": {"lon": 1}},
    {"title": "x", "views+": 2}, {"title": "x", "views-": 2, "tags+": "a", "readers-": ["author-0"]},
    {"title": "x", "+tags": "b", "tags-": ["a"]}, {"views": 1, "views+": 1, "title": "x"}, {"meta": [[[[]]]], "title": "x"},
    {"data": {"title": "x"}, "title": "y"}, {"data": "x"}, {"data": [1]}, {"title": "x", "meta": "\u2028 \x7f"},
    [], [{"title": "x"}], "x", 5, None, True, {f"f{number}": 1 for number in range(1001)}, {"": 1}, {"a.b": 1},
    b"{", b"{}x", b"nonsense", b"\xff", b"\xef\xbb\xbf{}", b'{"title": NaN}', b'{"title": "\\ud800"}', b" ",
    b'{"title": "\\u0000"}', b'{"title": "a", "title": "b"}', b'{"title":' + b"[" * 65 + b"]" * 65 + b"}", b'{"views": 1e999}',
]  # fmt: skip


def test_bodies(ways: TwoWays) -> None:
    same(ways, [
        send(method, path, body, who)
        for body in BODIES
        for who in ("anonymous", "admin")
        for method, path in (("POST", "posts"), ("PATCH", "posts/post-02"), ("PUT", "posts/post-02"))
    ])  # fmt: skip
    # What is wrong is told in the same order whatever else is wrong too.
    same(ways, [
        send(method, path, body, who)
        for body in (b"{", b"[]", {"nothing": 1}, {"title": "x"})
        for method, path in (
            ("POST", "nothing"), ("PATCH", "nothing/x"), ("PATCH", "posts/nothing"), ("PUT", "vault/gold"),
            ("POST", "vault"), ("POST", "posts?page=1"), ("PATCH", "posts/post-02?unknown=1"),
            ("POST", "posts?fields=id"), ("PATCH", "posts/post-02?fields=id,title:excerpt(2)&expand=author.team"),
            ("POST", "posts?expand=nothing"), ("PUT", "posts/post-02?fields=secret"),
        )
        for who in ("anonymous", "member", "admin", "expired")
    ])  # fmt: skip


def test_writes_on_condition(ways: TwoWays) -> None:
    etag = ways.by_lane(get("posts/post-05")).header("etag") or ""
    conditions = [etag, f"W/{etag}", f'"x", {etag}', "*", '"x"', "", "rubbish", etag[:-1] + '-abc"', "é"]
    same(ways, [
        request for value in conditions for request in (
            send("PATCH", "posts/post-05", {"views": 1}, if_match=value),
            send("PUT", "posts/post-05", {"views": 1}, "admin", if_match=value),
            send("DELETE", "posts/post-05", b"", "owner", if_match=value),
            send("PATCH", "posts/nothing", {"views": 1}, if_match=value),
            send("PATCH", "posts/post-05", {"views": 50}, if_none_match=value),
            send("POST", "posts", {"title": "x"}, if_match=value),
            get("posts/post-05", if_match=value),
        )
    ])  # fmt: skip


def test_deletion(ways: TwoWays) -> None:
    paths = (
        "posts/post-00", "posts/nothing", "nothing/x", "authors/author-0", "teams/team-red", "teams/team-blue",
        "posts/post-00?fields=id", "posts/post-00?unknown=1", "posts/" + "x" * 65, "memberships/membership", "posts/",
    )  # fmt: skip
    same(ways, [
        send("DELETE", path, b"", who, by_lane=path != "posts/") for path in paths for who in ("anonymous", "member", "admin")
    ])  # fmt: skip


BULK: list[Any] = [
    {"record_ids": ["post-01", "post-02"]}, {"record_ids": ["post-01", "nothing", "post-01"]}, {"record_ids": []},
    {"record_ids": ["x"] * 101}, {"record_ids": "post-01"}, {"record_ids": [1]}, {"record_ids": ["post-01"], "x": 1},
    {}, [], "x", {"data": {"record_ids": ["post-01"]}}, b"{", {"record_ids": ["post-01"], "data": {"views": 9}},
    {"record_ids": ["post-01", "post-02"], "data": {"slug": "the-same"}}, {"record_ids": ["post-01"], "data": {}},
    {"record_ids": ["post-01", "nothing", "post-03"], "data": {"views+": 5, "tags": ["c"]}},
    {"record_ids": ["post-01"], "data": {"nothing": 1, "views": "x"}}, {"record_ids": ["post-01"], "data": "x"},
    {"record_ids": ["post-01"], "data": {"secret": "x"}}, {"record_ids": ["post-01"], "data": {"author": "nothing"}},
]  # fmt: skip


def test_bulk_writes(ways: TwoWays) -> None:
    same(ways, [
        send("POST", path, body, who)
        for body in BULK
        for path in ("posts/bulk-delete", "posts/bulk-update", "vault/bulk-update", "nothing/bulk-delete",
                     "posts/bulk-update?fields=id", "notes/bulk-delete/")
        for who in ("anonymous", "member", "admin")
    ])  # fmt: skip
    same(ways, [get("posts/bulk-delete", by_lane=False), send("PATCH", "posts/bulk-update", {"a": 1}, by_lane=False)])


def one(method: str, collection: str = "posts", **more: Any) -> dict[str, Any]:
    return {"method": method, "collection": collection, **more}


BATCHES: list[Any] = [
    [one("POST", data={"title": "a"}), one("POST", data={"title": "b"}), one("DELETE", id="post-01")],
    [one("POST", data={"title": "a"}), one("PATCH", id="post-02", data={"views": 1, "title": ""})],
    [one("PUT", id="post-02", data={"views": 1}), one("PUT", id="put-new", data={"title": "new"})],
    [one("POST", id="mine", data={"title": "a"}), one("PATCH", id="mine", data={"views+": 3})],
    [one("POST", data={"title": "a", "slug": "slug-1"})], [one("GET")], [one("POST", "nothing")], [one("POST", "vault")],
    [one("PATCH", data={})], [one("DELETE", id=5)], [one("POST", data=[])], [one("POST", data="x")], [one("POST", x=1)],
    [5], ["x"], [], [one("DELETE", id="nothing")], [one("DELETE", "authors", id="author-0"), one("DELETE", id="post-00")],
    [one("POST", data={"data": {"title": "x"}})], [one("PUT", id="x" * 65, data={"title": "x"})], [{}], [None],
    [one("POST", data={"title": "x", "nothing": 1})], [one("POST")] * 1001, [one("DELETE", id=f"post-{n:02}") for n in range(24)],
    [one("POST", "teams", id="t", data={"name": "t"}), one("POST", "authors", id="a", data={"team": "t"}),
     one("POST", data={"title": "x", "author": "a"}), one("DELETE", "teams", id="t")],
]  # fmt: skip


def test_batches(ways: TwoWays) -> None:
    same(ways, [send("POST", BATCH, {"requests": batch}, who) for batch in BATCHES for who in ("anonymous", "admin")])
    wholes: list[Any] = [
        [],
        {},
        {"requests": {}},
        {"requests": [one("POST")], "x": 1},
        "x",
        b"{",
        b"\xff",
        {"requests": "x"},
    ]
    same(ways, [send("POST", path, whole) for whole in wholes for path in (BATCH, f"{BATCH}/", f"{BATCH}?x=1")])
    same(ways, [send(method, BATCH, {"requests": []}, by_lane=False) for method in ("PUT", "PATCH")])
    same(ways, [Request(method, BATCH, by_lane=False) for method in ("GET", "HEAD", "OPTIONS", "DELETE")])


# --- the unusual ------------------------------------------------------------------------------


def test_what_is_accepted(ways: TwoWays) -> None:
    by_lane = ("*/*", "application/json", "application/json, text/plain, */*", "application/json,*/*")
    others = (
        "text/html", "text/html,application/xhtml+xml,*/*;q=0.8", "application/xml", "application/*", "text/*", "",
        "application/json;q=0.5", "application/json; indent=4", "*/*;q=0", "application/json;q=0", "APPLICATION/JSON",
        "application/json, text/html", "text/html, application/json", "rubbish", "a/b/c", ",", "application/jsonx",
        "application/json,", "application/json;version=1, */*", "image/png, */*", "application/jsonp",
    )  # fmt: skip
    for values, answered in ((by_lane, True), (others, None)):
        same(ways, [
            request for value in values for request in (
                get("posts/post-01", accept=value, by_lane=answered), get("posts?per_page=2", accept=value, by_lane=answered),
                get("posts?page=0", accept=value, by_lane=answered), get("vault", accept=value, by_lane=answered),
                get("nothing", accept=value, by_lane=answered), get("posts", "expired", accept=value, by_lane=answered),
                send("POST", "posts", {"title": "x"}, accept=value, by_lane=answered),
                send("DELETE", "posts/post-01", accept=value, by_lane=answered),
                send("POST", BATCH, b"{", accept=value, by_lane=answered),
            )
        ])  # fmt: skip
    twice = [("Accept", "application/json"), ("Accept", "text/html")]
    same(ways, [Request("GET", "posts", headers=twice, by_lane=None)])


def test_kinds_of_content(ways: TwoWays) -> None:
    by_lane = ("application/json", "application/json; charset=utf-8", "Application/JSON; Charset=UTF-8")
    others = (
        "application/json;charset=latin1", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
        "multipart/form-data; boundary=x", "application/xml", "", "rubbish", "application/json; boundary=x", "text/json",
        "application/vnd.api+json", "application/octet-stream", "application/json, text/plain",
    )  # fmt: skip
    bodies: list[Any] = [{"title": "x"}, b"{", b"title=x&views=3", b"--x\r\n\r\n--x--"]
    for values, answered in ((by_lane, True), (others, None)):
        same(ways, [
            send(method, path, body, content_type=value, by_lane=answered)
            for value in values for body in bodies
            for method, path in (("POST", "posts"), ("PATCH", "posts/post-01"), ("POST", "nothing"), ("POST", BATCH))
        ])  # fmt: skip
    same(ways, [
        Request("POST", "posts", "admin", [], b'{"title": "x"}', by_lane=None),
        Request("POST", "posts", "admin", [("Content-Type", "application/json")] * 2, b'{"title": "x"}', by_lane=None),
    ])  # fmt: skip


def test_bodies_that_are_missing_too_much_or_in_pieces(ways: TwoWays, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    json, chunked = ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")
    at_most = b'{"title": "' + b"x" * 987 + b'"}'
    assert len(at_most) == 1000
    targets = (("POST", "posts"), ("PATCH", "posts/post-01"), ("PUT", "posts/nothing"), ("POST", "posts/bulk-update"),
               ("POST", BATCH))  # fmt: skip
    same(ways, [
        request for method, path in targets for request in (
            Request(method, path, "admin", by_lane=False), Request(method, path, "admin", [json], by_lane=False),
            Request(method, path, "admin", [json, ("Content-Length", "0")], by_lane=False),
            Request(method, path, "admin", [json], at_most), Request(method, path, "admin", [json], at_most + b" ", False),
            Request(method, path, "admin", [json, chunked], by_lane=False, pieces=[b'{"title"', b': "x"', b"}"]),
            Request(method, path, "admin", [json, chunked], by_lane=False, pieces=[b"x" * 600, b"x" * 600]),
            Request(method, path, "admin", [json, ("Content-Length", "14")], pieces=[b'{"title"', b': "x"}']),
            Request(method, path, "expired", [json], at_most + b" ", None),
            Request(method, path, "admin", [json, ("Content-Encoding", "gzip")], b'{"title": "x"}', False),
            Request(method, path, "admin", [json, ("Expect", "100-continue")], b'{"title": "x"}', False),
        )
    ])  # fmt: skip
    in_pieces = Request("POST", "posts", "admin", [json, chunked], pieces=[b'{"title"', b': "x"', b"}"])
    assert ways.by_lane(in_pieces).json()["title"] == "x"
    ways.restore()
    # A body where none is expected.
    same(ways, [
        Request(method, path, "admin", [json], body, by_lane=False)
        for method, path in (("GET", "posts"), ("GET", "posts/post-01"), ("DELETE", "posts/post-01"), ("OPTIONS", "posts"))
        for body in (b"{}", b"{", b"x" * 1001)
    ])  # fmt: skip
    settings.REQUEST_MAX_BYTES = 500
    same(ways, [send("POST", "posts", at_most, by_lane=None), send("POST", "posts", b"x" * 1200, by_lane=False)])


def test_methods_and_paths(ways: TwoWays) -> None:
    methods = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PURGE")
    paths = (
        "posts", "posts/", "posts/post-01", "posts/post-01/", "posts/bulk-update", "posts/bulk-delete/", BATCH, f"{BATCH}/",
        "/health/live", "/health/live/", "/api/v1/health/live", "/api/v1/health/live/", "/api/v1/collections",
        "/api/v1/collections/posts", "/api/v1/collections/posts/", "/api/v1/collections/posts/records//", f"{BATCH}//",
        "/api/v1/collections//records", "/api/v1//collections/posts/records", "//api/v1/collections/posts/records",
        "/api/v1/collections/posts/records//post-01", "/api/v1/collections/posts/records/post-01//", f"{BATCH}/x",
        "/api/v1/collections/posts/records/post-01/x", "/api/v1/collections/records/records", "/api/v1/", "/api/v1",
        "/API/v1/collections/posts/records", "/api/v2/collections/posts/records", "/api/v1/collections/posts/Records",
        "/api/v1/batchx", "/api/v1/collections/posts/recordsx", "/api/v1/batch.json", "/api/v1/collections/posts/records.json",
        "/api/v1/collections/po%73ts/records", "/api/v1/collections/posts/records/post%2D01", "/api/v1/%62atch",
        "/api/v1/collections/posts/records/a%2Fb", "/api/v1/collections/posts/records/%00", "/api/v1/collections/%C3%A9/records",
        "/api/v1/collections/posts/records/%FF", "/api/v1/collections/posts/records/a%0Ab", "/api/v1/collections/a%20b/records",
        "/api/v1/collections/posts/records/%", "/api/v1/collections/posts;x/records", "/api/v1/./batch", "/api/v1/x/../batch",
    )  # fmt: skip
    same(ways, [Request(method, path, by_lane=None) for method in methods for path in paths])
    slash = [
        get("posts/"),
        get("posts/post-01/"),
        send("DELETE", "posts/post-01/"),
        send("POST", f"{BATCH}/", {"a": 1}),
    ]
    same(ways, slash)


def test_queries_as_people_type_them(ways: TwoWays) -> None:
    by_lane = (
        "posts?filter=views>100&&active=true", "posts?filter=views<100||views>200", "posts?filter=title~'<b>'",
        "posts?filter=views>100%26%26active=true", "posts?filter=title~\"x\"", "posts?filter=tags?='a'&sort=-views",
        "posts?filter=(views>100)", "posts?", "posts?&", "posts?&&", "posts?&page=1&", "posts?page=1;per_page=2",
        "posts?filter=title~'+'", "posts?filter=title~'a+b'", "posts?search=Title+1", "posts?search=%2B", "posts?page=%31",
        "posts?page=1#fragment", "posts?filter=title~'a|b'", "posts?filter=title~'{x}'", "posts?filter=title~'\\\\'",
        "posts/post-01?", "posts/post-01?&", "posts?filter=views>100&&&page=1", "posts?per%5Fpage=2",
    )  # fmt: skip
    same(ways, [get(path) for path in by_lane])
    others = (
        "posts?search=naïve",
        "posts?search=\xff",
        "posts?filter=title~'é'&page=1",
        "posts/post-01?é=1",
        "posts?\x80",
    )
    same(ways, [get(path, by_lane=None) for path in others])


def test_headers_that_may_matter(ways: TwoWays) -> None:
    headers: list[dict[str, str]] = [
        {"x_request_id": "my-request.1"}, {"x_request_id": "bad id"}, {"x_request_id": "é"}, {"x_request_id": "x" * 200},
        {"cookie": "theme=dark"}, {"cookie": "csrftoken=x"}, {"origin": "https://shop.example"}, {"origin": "null"},
        {"user_agent": "x"}, {"accept_language": "de"}, {"accept_encoding": "gzip, br"}, {"range": "bytes=0-5"},
        {"if_modified_since": "Thu, 01 Jan 2026 00:00:00 GMT"}, {"x_http_method_override": "DELETE"}, {"prefer": "x"},
        {"x_forwarded_for": "1.2.3.4"}, {"x_forwarded_proto": "https"}, {"x_csrftoken": "x"}, {"upgrade": "h2c"},
        {"host": "localhost:8000"}, {"host": "evil.example"}, {"host": ""}, {"if_range": '"x"'}, {"connection": "close"},
        {"x_requested_with": "XMLHttpRequest"}, {"referer": "http://localhost/"}, {"cache_control": "no-cache"},
    ]  # fmt: skip
    same(ways, [
        request for more in headers for request in (
            get("posts/post-01", "member", by_lane=None, **more), get("vault", by_lane=None, **more),
            send("POST", "posts", {"title": "x"}, "member", by_lane=None, **more),
            send("DELETE", "posts/post-01", by_lane=None, **more), get("/health/", by_lane=None, **more),
        )
    ])  # fmt: skip
    usual = {
        "cookie": "theme=dark",
        "user_agent": "x",
        "accept_encoding": "gzip",
        "origin": "https://a",
        "referer": "x",
    }
    same(ways, [get("posts/post-01", "member", **usual), send("POST", "posts", {"title": "x"}, "member", **usual)])


def test_a_post_with_a_key_is_for_django(ways: TwoWays) -> None:
    same(ways, [
        send(method, path, body, "member", idempotency_key=key, by_lane=False)
        for key in ("key-1", "", "x" * 256, "é") for method, path, body in (
            ("POST", "posts", {"title": "x"}), ("POST", "posts", {"title": ""}), ("PATCH", "posts/post-01", {"views": 1}),
            ("POST", "posts/bulk-update", {"record_ids": ["post-01"], "data": {"views": 1}}), ("POST", BATCH, {"requests": []}),
            ("DELETE", "posts/post-01", b""), ("GET", "posts", b""),
        )
    ])  # fmt: skip


def test_browsers_that_are_signed_in(make_two_ways: Callable[[], TwoWays], admin: User, member: User) -> None:
    cookies = ["sessionid=", "sessionid=unknown", "a=b; sessionid=unknown"]
    for user in (admin, member):
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session["_auth_user_backend"] = "accounts.backends.AccountBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        cookies.append(f"theme=dark; sessionid={session.session_key}")
    same(make_two_ways(), [
        request for cookie in cookies for request in (
            get("notes", cookie=cookie, by_lane=False), get("vault", cookie=cookie, by_lane=False),
            get("vault", "member", cookie=cookie, by_lane=False), get("vault", "expired", cookie=cookie, by_lane=False),
            send("POST", "vault", {"title": "x"}, cookie=cookie, by_lane=False),
            send("POST", "posts", {"title": "x"}, cookie=cookie, x_csrftoken="x", by_lane=False),
        )
    ])  # fmt: skip


def test_pages_of_other_origins(make_two_ways: Callable[[], TwoWays], settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://shop.example"]
    ways = make_two_ways()
    origins = ("https://shop.example", "https://evil.example", "null", "")
    same(ways, [
        request for origin in origins for request in (
            get("posts/post-01", origin=origin), get("vault", origin=origin), get("posts?page=0", origin=origin),
            send("POST", "posts", {"title": "x"}, "member", origin=origin), get("/health/live", origin=origin),
            send("DELETE", "posts/post-01", origin=origin), send("DELETE", "vault/gold", origin=origin),
            Request("OPTIONS", "posts", headers=[("Origin", origin), ("Access-Control-Request-Method", "PATCH")], by_lane=None),
            Request("OPTIONS", "posts", headers=[("Origin", origin)], by_lane=False), get("posts/x", "expired", origin=origin),
        )
    ])  # fmt: skip
    same(ways, [get("posts/post-01"), send("POST", "posts", {"title": "x"})])


def test_requests_beyond_the_limit(make_two_ways: Callable[[], TwoWays], settings: Any) -> None:
    settings.RATE_LIMIT_ENABLED, settings.RATE_LIMIT_REQUESTS = True, 4
    ways = make_two_ways()
    asked = (
        get("posts/post-01"),
        send("PATCH", "posts/post-01", b"{"),
        get("vault"),
        send("DELETE", "vault/gold"),
        get("posts"),
    )
    answers = [(ways.by_lane(request), ways.by_django(request)) for request in asked]
    assert [lane.status for lane, _ in answers] == [200, 400, 401, 401, 429]
    for lane, django in answers:
        assert (lane.status, lane.content) == (django.status, django.content)
        for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "retry-after"):
            assert lane.header(name) == django.header(name)


# --- whatever comes ---------------------------------------------------------------------------

NAMES = (
    "posts",
    "posts",
    "posts",
    "notes",
    "rooms",
    "asked",
    "authors",
    "vault",
    "write_only",
    "teams",
    "nothing",
    "users",
    "",
)
RECORDS = (
    "post-01",
    "post-03",
    "post-04",
    "post-02",
    "note-o",
    "note-p",
    "room-1",
    "asked-1",
    "blind",
    "author-0",
    "team-red",
    "gold",
    "no",
)
FIELDS = (
    "id",
    "title",
    "views",
    "kind",
    "tags",
    "author",
    "author.name",
    "secret",
    "text",
    "owner",
    "name",
    "team",
    "x",
)
OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "~", "!~", "?=", "?!=", "?>", "?~")
VALUES = (
    "'x'",
    "1",
    "true",
    "null",
    "news",
    "'a'",
    "@now",
    "@request.auth.id",
    "''",
    "1e3",
    '"q"',
    "title",
    "(",
    "%27",
)


def words(*choices: str, other: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    known = st.sampled_from(choices)
    return known | other if other is not None else known


any_text = st.text(max_size=12)
ascii_text = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?#"), max_size=12)
comparisons = st.builds("{}{}{}{}".format, words(*FIELDS), words("", "", ":length", ":lower", ":each", ":isset", ":no"),
                        words(*OPERATORS), words(*VALUES))  # fmt: skip
filters = st.recursive(
    comparisons,
    lambda inner: st.builds("{}{}{}".format, inner, words("&&", "||", " && ", "%26%26"), inner)
    | inner.map("({})".format) | inner.map("!({})".format),
    max_leaves=5,
)  # fmt: skip
lists_of_names = st.lists(words(*FIELDS, "*", "expand.author.name", "title:excerpt(3)"), max_size=3).map(",".join)
parameters = st.one_of(
    st.builds("filter={}".format, filters),
    st.builds(
        "{}={}".format, words("page", "per_page", "skip_total"), words("1", "2", "5", "0", "-1", "true", "x", "")
    ),
    st.builds("sort={}".format, st.lists(words(*FIELDS, *map("-{}".format, FIELDS)), max_size=3).map(",".join)),
    st.builds("fields={}".format, lists_of_names),
    st.builds("expand={}".format, words("author", "author.team", "readers", "posts_via_author", "team", "x", "a..b")),
    st.builds("search={}".format, any_text.map(quoted)),
    st.builds("cursor={}".format, words("", "x", other=any_text.map(quoted))),
    st.builds("key={}".format, words("open", "letter", "")),
    ascii_text,
)
good = st.sampled_from([query for query in LISTS if query])
queries = (
    st.just("") | good | st.tuples(good, parameters).map("&".join) | st.lists(parameters, max_size=3).map("&".join)
)
lists_paths = st.builds("/api/v1/collections/{}/records{}".format, words(*NAMES), words("", "", "/"))
single_paths = st.builds(
    "/api/v1/collections/{}/records/{}{}".format, words(*NAMES), words(*RECORDS), words("", "", "/")
)
bulk_paths = st.builds("/api/v1/collections/{}/records/{}".format, words(*NAMES), words("bulk-update", "bulk-delete"))
odd_paths = st.one_of(
    st.builds("/api/v1/collections/{}/records/{}".format, words(*NAMES), any_text.map(quoted) | ascii_text),
    st.builds("/api/v1/{}".format, ascii_text), lists_paths.map("{}/".format), single_paths, bulk_paths,
)  # fmt: skip
targets = st.one_of(
    st.tuples(st.just("GET"), lists_paths), st.tuples(st.just("GET"), lists_paths), st.tuples(st.just("GET"), single_paths),
    st.tuples(st.just("POST"), lists_paths), st.tuples(words("PATCH", "PUT", "DELETE"), single_paths),
    st.tuples(st.just("POST"), bulk_paths | words("/api/v1/batch", "/api/v1/batch/")),
    st.tuples(words("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"), odd_paths),
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | any_text | st.sampled_from(["author-0", "news", "2026-01-01", "1.5", "post-01", "<b>x</b>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
keys = words(
    *(name for name in WHOLE), "id", "text", "owner", "name", "views+", "tags-", "data", "created", other=any_text
)
records_sent = st.dictionaries(keys, json_values, max_size=5) | st.fixed_dictionaries({"title": any_text})
steps = st.fixed_dictionaries(
    {"method": words("POST", "PATCH", "PUT", "DELETE", "GET"), "collection": words(*NAMES)},
    optional={"id": words(*RECORDS), "data": records_sent},
)
objects = st.one_of(
    records_sent, records_sent.map(lambda data: {"data": data}), json_values,
    st.fixed_dictionaries({"record_ids": st.lists(words(*RECORDS), max_size=4)}, optional={"data": records_sent}),
    st.fixed_dictionaries({"requests": st.lists(steps, max_size=4)}),
)  # fmt: skip


def as_json(value: Any) -> bytes:
    return dumps(value).encode("utf-8", "surrogatepass")


bodies = objects.map(as_json) | objects.map(as_json).map(lambda text: text[:-1]) | st.binary(max_size=20)
usual_headers = st.one_of(
    st.tuples(st.just("Accept"), words("*/*", "application/json", "application/json, */*")),
    st.tuples(words("If-Match", "If-None-Match"), words("*", '"x"', "", other=ascii_text)),
    st.tuples(st.just("X-Request-ID"), ascii_text), st.tuples(st.just("Cookie"), st.just("a=b")),
    st.tuples(st.just("Origin"), words("https://shop.example", "null")),
)  # fmt: skip
odd_headers = st.one_of(
    st.tuples(st.just("Accept"), words("text/html", "x/y", "", other=ascii_text)),
    st.tuples(st.just("Content-Type"), words("application/json; charset=utf-8", "text/plain", "", other=ascii_text)),
    st.tuples(st.just("Idempotency-Key"), ascii_text), st.tuples(st.just("Cookie"), st.just("sessionid=x")),
    st.tuples(st.just("Authorization"), ascii_text | ascii_text.map("Bearer {}".format)),
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> Request:
    method, path = draw(targets)
    query = draw(queries)
    given = draw(st.lists(usual_headers, max_size=2)) + (draw(st.lists(odd_headers, max_size=1)))
    body = draw(bodies) if method in ("POST", "PATCH", "PUT") else b""
    if body and not any(name == "Content-Type" for name, _ in given):
        given.append(("Content-Type", "application/json"))
    who = draw(words(*CALLERS, "expired", "signed out"))
    return Request(method, f"{path}?{query}" if query else path, who, given, body, by_lane=None)


def test_whatever_comes(ways: TwoWays) -> None:
    asked, by_lane = 0, 0

    @settings(
        max_examples=300 * STRESS, deadline=None, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )  # fmt: skip
    @given(requests())
    def compare(request: Request) -> None:
        nonlocal asked, by_lane
        before = ways.reached_django
        same(ways, [request])
        asked, by_lane = asked + 1, by_lane + (ways.reached_django == before)

    compare()
    assert by_lane > asked / 4


def test_the_clock_of_the_answers_stands_still(ways: TwoWays) -> None:
    """Else the comparisons above would compare moments."""
    made = ways.by_lane(send("POST", "posts", {"title": "x"}))
    assert made.status == 201 and made.json()["created"] == NOW.isoformat().replace("+00:00", "Z")
