"""Who may do what: every kind of caller, every kind of rule, every way to a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from collections_app.tests.web import BATCH, Callers, get, nothing_changes, path, undone

pytestmark = pytest.mark.engine

EVERYONE = ("anonymous", "stranger", "member", "owner", "admin")
RULES = ("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule")
ALL = ("hers", "his", "nobodys")
OMITTED = "omitted"
REFUSED = {"anonymous": 401, "stranger": 403, "member": 403, "owner": 403}

# rule → for each caller the records it holds for; None where no record could satisfy it.
SEEN: dict[str | None, dict[str, tuple[str, ...] | None]] = {
    None: dict.fromkeys(EVERYONE, ALL),
    OMITTED: dict.fromkeys(EVERYONE),
    "@request.auth.id != ''": {**dict.fromkeys(EVERYONE, ALL), "anonymous": None},
    "@request.auth.id = @record.owner": {"anonymous": None, "stranger": (), "member": ("his",), "owner": ("hers",)},
    "@request.auth.id = @record.owner || @request.auth.role = 'admin'": {
        "anonymous": None, "stranger": (), "member": ("his",), "owner": ("hers",),
    },
    "status = 'published'": dict.fromkeys(EVERYONE, ("hers", "nobodys")),
    "team.lead = @request.auth.id": {"anonymous": None, "stranger": (), "member": ("his",), "owner": ("hers",)},
    "@collection.memberships.person = @request.auth.id && @collection.memberships.team = @record.team": {
        "anonymous": None, "stranger": ("hers",), "member": (), "owner": (),
    },
    "@request.auth.role = 'editor'": dict.fromkeys(EVERYONE),
    "@request.method = 'OPTIONS'": dict.fromkeys(EVERYONE),
    "!(owner = @request.auth.id)": {
        "anonymous": ALL, "stranger": ALL, "member": ("hers", "nobodys"), "owner": ("his", "nobodys"),
    },
}  # fmt: skip
for _seen in SEEN.values():
    _seen["admin"] = ALL


@pytest.fixture(params=SEEN, ids=lambda rule: str(rule)[:50])
def rule(request: pytest.FixtureRequest) -> str | None:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def world(make_collection: Any, records: Any, callers: Callers) -> Callable[..., dict[str, str]]:
    """``world(rule)``: teams, memberships and posts under that rule; answers the posts' ids by name."""

    def build(rule: str | None, **rules: str | None) -> dict[str, str]:
        everyone = {"list_rule": None, "view_rule": None}
        make_collection("teams", lead="text", **everyone)
        relation = {"type": "relation", "relation": {"collection_id": "teams"}}
        make_collection("memberships", person="text", team=relation)
        all_rules = {} if rule == OMITTED else dict.fromkeys(RULES, rule)
        make_collection(
            "posts", title="text", owner="text", status="text", team=relation, indexes=[{"fields": ["title"]}],
            **{**all_rules, **rules},
        )  # fmt: skip
        posts = {"type": "relation", "relation": {"collection_id": "posts"}}
        make_collection("notes", text="text", post=posts, **everyone)
        teams = {name: records("teams").create(lead=callers.id(name))["id"] for name in ("owner", "member")}
        records("memberships").create(person=callers.id("stranger"), team=teams["owner"])
        values: dict[str, dict[str, Any]] = {
            "hers": {"owner": callers.id("owner"), "status": "published", "team": teams["owner"]},
            "his": {"owner": callers.id("member"), "status": "draft", "team": teams["member"]},
            "nobodys": {"status": "published"},
        }
        made = {}
        for name, given in values.items():
            made[name] = records("posts").create(title=name, **given)["id"]
            records("notes").create(text=f"about {name}", post=made[name])
        return made

    return build


def found(response: Any) -> Any:
    """The titles of a page, sorted; or the status where it is a refusal."""
    if response.status_code != 200:
        return response.status_code
    return tuple(sorted(item["title"] for item in response.json()["items"]))


def test_a_list_shows_what_the_rule_allows_whatever_the_parameters(
    rule: str | None, world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    world(rule)
    ways = [
        "", "sort=title", "sort=-title", "sort=@random", "search=ERS", "filter=title!=zzz", "filter=title~'h'||title!=''",
        "fields=title,id", "cursor=", "cursor=&sort=title", "expand=team", "expand=notes_via_post", "skip_total=true",
        "filter=team.lead!='x'", "sort=team.lead", "filter=id=''||id!=''", "filter=!(title=zzz)",
    ]  # fmt: skip
    expected, answers = {}, {}
    for name in EVERYONE:
        seen = SEEN[rule][name]
        for way in ways:
            response = get(callers[name], f"{path('posts')}?{way}")
            answers[name, way] = found(response)
            allowed = seen if seen is None or way != "search=ERS" else tuple(t for t in seen if t == "hers")
            expected[name, way] = REFUSED[name] if allowed is None else tuple(sorted(allowed))
            if seen is not None and not way.startswith(("cursor", "skip")):
                assert response.json()["total"] == len(answers[name, way]), (name, way)
    assert answers == expected


def test_a_single_record_is_seen_only_under_its_view_rule(
    rule: str | None, world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(rule)
    expected, answers = {}, {}
    for name in EVERYONE:
        for title in (*ALL, "missing"):
            seen = SEEN[rule][name]
            response = callers[name].get(path("posts", ids.get(title, title)))
            answers[name, title] = response.status_code
            expected[name, title] = REFUSED[name] if seen is None else 200 if title in seen else 404
            if response.status_code == 404:
                assert response.json()["message"] == "Record not found"
    assert answers == expected


def test_a_caller_reaches_other_records_only_under_their_own_rules(
    rule: str | None, world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    world(rule)
    for name in EVERYONE:
        seen, client = SEEN[rule][name], callers[name]

        def notes(query: str, client: Any = client) -> Any:
            return get(client, f"{path('notes')}?{query}")

        expanded = notes("expand=post")
        filtered = notes("filter=post.title~'h'||post.title~'b'")
        backwards = get(client, f"{path('teams')}?expand=posts_via_team")
        through = notes("filter=@collection.posts.title ?~ 'h' || @collection.posts.title ?~ 'b'")
        if seen is None:
            assert [r.status_code for r in (expanded, filtered, backwards, through)] == [400] * 4, name
            assert notes("sort=post.title").status_code == 400
            continue
        shown = {i["expand"]["post"]["title"] for i in expanded.json()["items"] if "expand" in i}
        assert shown == set(seen), name
        assert {i["text"] for i in filtered.json()["items"]} == {f"about {title}" for title in seen}, name
        back = [
            post["title"]
            for team in backwards.json()["items"]
            for post in team.get("expand", {}).get("posts_via_team", [])
        ]
        assert sorted(back) == sorted(title for title in seen if title != "nobodys"), name
        assert len(through.json()["items"]) == (3 if seen else 0), name
        order = [i["text"] for i in notes("sort=-post.title").json()["items"]]
        assert order[: len(seen)] == [f"about {title}" for title in sorted(seen, reverse=True)], name


def attempts(ids: dict[str, str], title: str) -> dict[str, tuple[str, str, Any]]:
    """Each single way to write one record: (method, path, body)."""
    record_id = ids[title]
    return {
        "PATCH": ("patch", path("posts", record_id), {"status": "seen"}),
        "PUT": ("put", path("posts", record_id), {"data": {"status": "seen"}}),
        "DELETE": ("delete", path("posts", record_id), None),
        **{
            f"batch {method}": (
                "post",
                BATCH,
                {"requests": [{"method": method, "collection": "posts", "id": record_id, **data}]},
            )
            for method, data in {
                "PATCH": {"data": {"status": "seen"}},
                "PUT": {"data": {"status": "seen"}},
                "DELETE": {},
            }.items()
        },
    }


def test_a_write_passes_the_rule_or_changes_nothing(
    rule: str | None, world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(rule)
    expected, answers = {}, {}
    for name in EVERYONE:
        seen = SEEN[rule][name]
        for title in ALL:
            for way, (method, url, body) in attempts(ids, title).items():
                good = seen is not None and title in seen
                # An update must pass before and after: this one turns a published post into one that is not.
                lost = good and "published" in str(rule) and "DELETE" not in way
                key = name, title, way
                with undone() if good and (not lost or name == "admin") else nothing_changes():
                    answers[key] = getattr(callers[name], method)(url, body).status_code
                done = 204 if way == "DELETE" else 200
                expected[key] = REFUSED[name] if seen is None else 404 if not good else done
                if lost and name != "admin":
                    expected[key] = REFUSED[name]
                elif lost:
                    expected[key] = done
    assert answers == expected


def test_bulk_writes_do_what_each_single_write_would(
    rule: str | None, world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(rule)
    bodies = {"bulk-delete": {}, "bulk-update": {"data": {"title": "seen"}}}
    for name in EVERYONE:
        seen = SEEN[rule][name]
        for way, more in bodies.items():
            with undone() if seen else nothing_changes():
                response = callers[name].post(path("posts", way), {"record_ids": [ids[title] for title in ALL], **more})
            if name == "anonymous":
                assert response.status_code == 401
                continue
            good = seen or ()
            sentence = "Insufficient permissions" if seen is None else "Record not found"
            refusals = [{"record_id": ids[title], "error": sentence} for title in ALL if title not in good]
            expected = {"success": len(good), "failed": 3 - len(good), "errors": refusals or None}
            assert (response.status_code, response.json()) == (200, expected), (name, way)


def test_a_record_is_created_only_if_the_rule_holds_for_it(
    rule: str | None, world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(rule)
    teams = {item["lead"]: item["id"] for item in get(callers["admin"], path("teams")).json()["items"]}
    values: dict[str, dict[str, Any]] = {
        "hers": {"owner": callers.id("owner"), "status": "published", "team": teams[callers.id("owner")]},
        "his": {"owner": callers.id("member"), "status": "draft", "team": teams[callers.id("member")]},
        "nobodys": {"status": "published"},
    }
    assert set(values) == set(ids)
    expected, answers = {}, {}
    for name in EVERYONE:
        seen = SEEN[rule][name]
        for title, data in values.items():
            good = seen is not None and title in seen
            batch = {"requests": [{"method": "POST", "collection": "posts", "data": data}]}
            upsert = {"requests": [{"method": "PUT", "collection": "posts", "id": "fresh", "data": data}]}
            for url, body, done in (
                (path("posts"), data, 201), (path("posts"), {"data": data}, 201), (BATCH, batch, 200), (BATCH, upsert, 200),
            ):  # fmt: skip
                with undone() if good else nothing_changes():
                    key = name, title, str(body)
                    answers[key] = callers[name].post(url, body, headers={"Idempotency-Key": "k"}).status_code
                expected[key] = done if good else REFUSED[name]
    assert answers == expected


# -- rules that differ from one another ------------------------------------------------------
OWNER = "@request.auth.id = @record.owner"


def test_a_write_to_a_visible_record_is_forbidden_and_to_an_invisible_one_not_found(
    world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(OWNER, list_rule=None, view_rule="status = 'published'")
    expected = {
        ("anonymous", "hers"): 401, ("anonymous", "his"): 401,
        ("stranger", "hers"): 403, ("stranger", "his"): 404,
        ("member", "hers"): 403, ("owner", "his"): 404, ("owner", "nobodys"): 403,
    }  # fmt: skip
    answers = {}
    for name, title in expected:
        for way, (method, url, body) in attempts(ids, title).items():
            with nothing_changes():
                answers[name, title, way] = getattr(callers[name], method)(url, body).status_code
    assert answers == {(*key, way): status for key, status in expected.items() for way in attempts(ids, "hers")}
    for way in ("bulk-delete", "bulk-update"):
        more = {"data": {"title": "x"}} if way == "bulk-update" else {}
        with undone():
            told = callers["owner"].post(path("posts", way), {"record_ids": [*ids.values(), "none"], **more}).json()
        assert told == {
            "success": 1,
            "failed": 3,
            "errors": [
                {"record_id": ids["his"], "error": "Record not found"},
                {"record_id": ids["nobodys"], "error": "Insufficient permissions"},
                {"record_id": "none", "error": "Record not found"},
            ],
        }


def test_an_update_may_not_take_a_record_out_of_its_own_rule(
    world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(OWNER)
    given_away = {"owner": callers.id("stranger")}
    for method, url, body in (
        ("patch", path("posts", ids["hers"]), given_away),
        ("put", path("posts", ids["hers"]), {"owner": None}),
        (
            "post",
            BATCH,
            {"requests": [{"method": "PUT", "collection": "posts", "id": ids["hers"], "data": given_away}]},
        ),
    ):
        with nothing_changes():
            assert getattr(callers["owner"], method)(url, body).status_code == 403
    with nothing_changes():
        body = {"record_ids": [ids["hers"]], "data": given_away}
        told = callers["owner"].post(path("posts", "bulk-update"), body).json()
    assert told["errors"] == [{"record_id": ids["hers"], "error": "Insufficient permissions"}]


def test_nobody_takes_a_record_by_updating_it_into_their_own_rule(
    world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(OWNER, view_rule=None)
    for title in ("hers", "nobodys"):
        with nothing_changes():
            response = callers["stranger"].patch(path("posts", ids[title]), {"owner": callers.id("stranger")})
        assert response.status_code == 403


def test_an_ownerless_record_is_nobodys(world: Callable[..., dict[str, str]], callers: Callers) -> None:
    ids = world(OWNER, list_rule=None)
    for name in ("anonymous", "stranger"):
        for owner in (None, ""):
            callers["admin"].patch(path("posts", ids["nobodys"]), {"owner": owner})
            assert callers[name].get(path("posts", ids["nobodys"])).status_code in (401, 404)
            with nothing_changes():
                assert callers[name].delete(path("posts", ids["nobodys"])).status_code in (401, 404)


def test_listing_does_not_let_view_and_viewing_does_not_let_list(
    world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(None, list_rule=None, view_rule=OWNER)
    stranger = callers["stranger"]
    assert len(stranger.get(path("posts")).json()["items"]) == 3
    assert stranger.get(path("posts", ids["hers"])).status_code == 404
    expanded = stranger.get(f"{path('notes')}?expand=post").json()["items"]
    assert all("expand" not in item for item in expanded)
    callers["admin"].patch("/api/v1/collections/posts", {"list_rule": OWNER, "view_rule": None})
    assert stranger.get(path("posts")).json()["items"] == []
    assert stranger.get(path("posts", ids["hers"])).status_code == 200


def test_who_may_not_create_learns_nothing_of_other_records(
    world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    """Neither which ids there are nor which values are taken."""
    ids = world(None, create_rule=OWNER)
    admin = callers["admin"]
    schema = admin.get("/api/v1/collections/posts").json()["schema"]
    added = {"name": "slug", "type": "slug", "validation": {"unique": True}}
    admin.patch("/api/v1/collections/posts", {"schema": [*schema, added]})
    admin.patch(path("posts", ids["hers"]), {"slug": "taken"})
    for data in ({"team": "nope"}, {"slug": "taken"}, {"id": ids["hers"]}, {"slug": "free"}):
        with nothing_changes():
            assert callers["stranger"].post(path("posts"), {"owner": callers.id("owner"), **data}).status_code == 403
            batch = {"requests": [{"method": "POST", "collection": "posts", "data": data}]}
            assert callers["stranger"].post(BATCH, batch).status_code == 403


# -- rules about the request's body -----------------------------------------------------------
@pytest.mark.parametrize("word", ["body", "data"])
def test_a_rule_may_ask_what_a_body_brings(world: Callable[..., dict[str, str]], callers: Callers, word: str) -> None:
    mine = f"@request.{word}.owner = @request.auth.id"
    fixed = f"{OWNER} && @request.{word}.owner:isset = false"
    ids = world(None, create_rule=mine, update_rule=fixed)
    owner = callers["owner"]
    with nothing_changes():
        assert owner.post(path("posts"), {"owner": callers.id("member")}).status_code == 403
        assert owner.post(path("posts"), {"title": "x"}).status_code == 403
        assert callers["anonymous"].post(path("posts"), {"title": "x"}).status_code == 401
        assert owner.patch(path("posts", ids["hers"]), {"owner": callers.id("owner")}).status_code == 403
        bulk = {"record_ids": [ids["hers"]], "data": {"owner": callers.id("owner")}}
        assert owner.post(path("posts", "bulk-update"), bulk).json()["failed"] == 1
        batch = {"requests": [{"method": "PATCH", "collection": "posts", "id": ids["hers"], "data": {"owner": None}}]}
        assert owner.post(BATCH, batch).status_code == 403
    assert owner.post(path("posts"), {"owner": callers.id("owner")}).status_code == 201
    assert owner.post(path("posts"), {"data": {"owner": callers.id("owner")}}).status_code == 201
    assert owner.patch(path("posts", ids["hers"]), {"title": "new"}).status_code == 200


def test_isset_is_not_evaded_by_a_modifier_key(world: Callable[..., dict[str, str]], callers: Callers) -> None:
    """``status+`` sets ``status`` as much as ``status`` does."""
    ids = world(None, update_rule=f"{OWNER} && @request.body.votes:isset = false")
    admin = callers["admin"]
    schema = admin.get("/api/v1/collections/posts").json()["schema"]
    added = admin.patch("/api/v1/collections/posts", {"schema": [*schema, {"name": "votes", "type": "integer"}]})
    assert added.status_code == 200
    for key in ("votes", "votes+", "votes-", "+votes"):
        with nothing_changes():
            assert callers["owner"].patch(path("posts", ids["hers"]), {key: 5}).status_code in (403, 422), key


def test_changed_is_true_only_for_another_value(world: Callable[..., dict[str, str]], callers: Callers) -> None:
    ids = world(None, update_rule=f"{OWNER} && @request.body.status:changed = false")
    owner, url = callers["owner"], path("posts", ids["hers"])
    with nothing_changes():
        assert owner.patch(url, {"status": "draft"}).status_code == 403
        assert owner.patch(url, {"status": None}).status_code == 403
    assert owner.patch(url, {"status": "published"}).status_code == 200
    assert owner.patch(url, {"title": "x"}).status_code == 200


def test_changed_is_asked_of_the_record_for_anonymous_callers_too(
    world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(None, update_rule="@request.body.status:changed = false")
    url = path("posts", ids["hers"])
    with nothing_changes():
        assert callers["anonymous"].patch(url, {"status": "draft"}).status_code == 401
        assert callers["stranger"].patch(url, {"status": "draft"}).status_code == 403
        assert callers["anonymous"].patch(path("posts", "missing"), {"title": "x"}).status_code == 404
    assert callers["anonymous"].patch(url, {"status": "published", "title": "x"}).status_code == 200


def test_a_role_in_an_auth_collection_is_no_admin(make_collection: Any, records: Any) -> None:
    from accounts.principals import Principal
    from core.errors import Forbidden

    make_collection("vendors", type="auth")
    make_collection("posts", title="text", create_rule="@request.auth.role = 'admin'")
    fake = Principal(id="v1", collection="vendors", collection_id="x", role="admin")
    with nothing_changes(), pytest.raises(Forbidden):
        records("posts", fake).page()


def test_who_may_change_but_not_view_reads_nothing_by_changing(
    world: Callable[..., dict[str, str]], callers: Callers
) -> None:
    ids = world(None, view_rule=OWNER, list_rule=OWNER)
    stranger, bare = callers["stranger"], {"id": ids["hers"], "collection": "posts"}
    url = path("posts", ids["hers"])
    for query in ("", "?expand=team", "?fields=title,owner", "?fields=nothing"):
        assert stranger.patch(url + query, {}).json() == bare
        assert stranger.put(url + query, {"status": "x"}).json() == bare
    for method in ("PATCH", "PUT"):
        batch = {"requests": [{"method": method, "collection": "posts", "id": ids["hers"], "data": {}}]}
        assert stranger.post(BATCH, batch).json()["results"] == [{"status": 200, "record": bare}]
    assert callers["owner"].patch(url, {}).json()["title"] == "hers"
    assert stranger.post(path("posts"), {"title": "mine", "owner": "x"}).json()["title"] == "mine"
    # Whoever gives a record away gets no last look at it.
    assert callers["owner"].patch(url, {"owner": callers.id("member")}).json() == bare
