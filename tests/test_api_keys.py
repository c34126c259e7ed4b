"""API keys: shown once, their owner's rights at most, ended by whatever ends the owner's tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import get_resolver
from rest_framework.test import APIClient

from accounts import api_keys, key_uses, tokens
from accounts.models import ApiKey, Role, User
from accounts.scopes import Keys
from collections_app.tests.web import get, nothing_changes, path
from core import clock

pytestmark = pytest.mark.engine

KEYS = "/api/v1/auth/api-keys"
PUBLIC = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


@pytest.fixture(autouse=True)
def no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written behind a test's back."""
    monkeypatch.setattr(key_uses, "uses", key_uses.Uses(every=3600))


def sends(raw: str, header: str = "X-API-Key") -> APIClient:
    client = APIClient()
    client.credentials(**{f"HTTP_{header.upper().replace('-', '_')}": raw})
    return client


def key_of(user: User, **given: Any) -> str:
    return api_keys.make(user, **{"name": "test", "access": "write", **given})[1]


def scoped(user: User, *collections: Any, **given: Any) -> APIClient:
    return sends(key_of(user, collection_ids=[collection.id for collection in collections], **given))


@pytest.fixture
def shop(make_collection: Any, records: Any) -> dict[str, Any]:
    """Posts of authors; a key will be for the posts only."""
    authors = make_collection("authors", name="text", secret={"type": "text", "hidden": True}, **PUBLIC)
    relation = {"type": "relation", "relation": {"collection_id": "authors", "type": "many-to-one"}}
    posts = make_collection("posts", title="text", author=relation, **PUBLIC)
    vault = make_collection("vault", title="text")
    records("authors").create(id="ann", name="Ann", secret="s")
    records("posts").create(id="one", title="One", author="ann")
    records("vault").create(id="gold", title="Gold")
    return {"authors": authors, "posts": posts, "vault": vault}


# --- made, shown, ended -----------------------------------------------------------------------


def test_only_admins_give_a_key_a_limit_of_its_own(schema_db: None, member: User, admin: User, as_user: Any) -> None:
    body = {"name": "quick", "rate_limit": 5000}
    assert as_user(member).post(KEYS, body).status_code == 403
    assert as_user(member).get(KEYS).json()["items"] == []
    assert as_user(admin).post(KEYS, body).json()["rate_limit"] == 5000
    assert as_user(admin).post(KEYS, {"name": "none", "rate_limit": 0}).status_code == 422


def test_a_key_is_shown_once_and_only_its_hash_is_kept(schema_db: None, member: User, as_user: Any) -> None:
    made = as_user(member).post(KEYS, {"name": "nightly"})
    assert made.status_code == 201 and made["Cache-Control"] == "no-store"
    raw = made.json()["key"]
    assert raw.startswith("fcms_") and len(raw) == 45
    listed = as_user(member).get(KEYS).json()["items"]
    assert listed == [{name: value for name, value in made.json().items() if name != "key"}]
    assert listed[0] == {
        "id": listed[0]["id"], "name": "nightly", "prefix": raw[:12], "access": "write", "collections": None,
        "created": listed[0]["created"], "expires_at": None, "rate_limit": None, "last_used_at": None,
    }  # fmt: skip
    row = ApiKey.objects.values().get()
    assert raw not in repr(row)


@pytest.mark.parametrize("prefix", ["/api/v1/auth", "/api/auth"])
def test_a_key_is_its_owner_in_either_header(member: User, as_user: Any, prefix: str) -> None:
    raw = as_user(member).post(f"{prefix}/api-keys", {"name": "x"}).json()["key"]
    for client in (sends(raw), sends(f"Bearer {raw}", "Authorization")):
        assert client.get(f"{prefix}/me").json()["id"] == str(member.pk)


def test_a_deleted_key_is_401_and_the_others_go_on(member: User, as_user: Any) -> None:
    first, second = (as_user(member).post(KEYS, {"name": name}).json() for name in ("a", "b"))
    assert as_user(member).delete(f"{KEYS}/{first['id']}").status_code == 204
    assert sends(first["key"]).get("/api/v1/auth/me").status_code == 401
    assert sends(second["key"]).get("/api/v1/auth/me").status_code == 200
    assert as_user(member).delete(f"{KEYS}/{first['id']}").status_code == 404
    assert [item["name"] for item in as_user(member).get(KEYS).json()["items"]] == ["b"]


def test_nobody_sees_or_ends_somebody_elses_key(
    member: User, stranger: User, admin: User, as_user: Any, anonymous: APIClient
) -> None:
    key = as_user(member).post(KEYS, {"name": "mine"}).json()
    for user in (stranger, admin):
        assert as_user(user).get(KEYS).json() == {"items": []}
        assert as_user(user).delete(f"{KEYS}/{key['id']}").status_code == 404
    assert as_user(member).delete(f"{KEYS}/rubbish").status_code == 404
    assert anonymous.get(KEYS).status_code == anonymous.post(KEYS, {"name": "x"}).status_code == 401
    assert sends(key["key"]).get("/api/v1/auth/me").status_code == 200


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"name": 5}, "name"),
        ({"access": "admin"}, "access"), ({"access": None}, "access"), ({"collections": []}, "collections"),
        ({"collections": "posts"}, "collections"), ({"collections": ["nothing"]}, "collections"),
        ({"collections": [1]}, "collections"), ({"collections": ["users"]}, "collections"),
        ({"collections": ["x"] * 101}, "collections"), ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"), ({"role": "admin"}, "role"), ({"key": "fcms_x"}, "key"),
        ({"last_used_at": "2030-01-01T00:00:00Z"}, "last_used_at"), ({"user": "x"}, "user"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_new_key_is_named(
    schema_db: None, member: User, as_user: Any, given: dict[str, Any], field: str
) -> None:
    answer = as_user(member).post(KEYS, {} if not given else {"name": "x", **given})
    named = [name.partition(".")[0] for name in answer.json()["fields"]]
    assert answer.status_code == 422 and named == [field], answer.json()
    assert not ApiKey.objects.exists()


def test_an_account_has_a_hundred_keys_at_most(member: User, as_user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MOST", 2)
    client = as_user(member)
    made = [client.post(KEYS, {"name": "x"}) for _ in range(3)]
    assert [answer.status_code for answer in made] == [201, 201, 409]
    client.delete(f"{KEYS}/{made[0].json()['id']}")
    assert client.post(KEYS, {"name": "x"}).status_code == 201


def test_auth_collections_have_no_keys(make_collection: Any, member: User, as_user: Any) -> None:
    make_collection("posts", title="text")
    assert as_user(member).get("/api/v1/collections/posts/auth/api-keys").status_code in (401, 404)
    assert as_user(member).post("/api/v1/collections/posts/auth/api-keys", {"name": "x"}).status_code in (401, 404)
    assert not ApiKey.objects.exists()


def test_a_key_ends_with_its_time(member: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = sends(key_of(member, expires=clock.now() + timedelta(hours=1)))
    assert client.get("/api/v1/auth/me").status_code == 200
    tokens._cache.clear()
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert client.get("/api/v1/auth/me").status_code == 401


def test_a_key_that_is_remembered_ends_with_its_time_too(member: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = sends(key_of(member, expires=clock.now() + timedelta(hours=1)))
    assert client.get("/api/v1/auth/me").status_code == 200
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    monkeypatch.setattr(tokens.time, "time", later.timestamp)
    assert client.get("/api/v1/auth/me").status_code == 401


@pytest.mark.parametrize("what", ["password", "email", "role", "is_active", "deleted_at", "token_key"])
def test_what_ends_an_accounts_tokens_ends_its_keys(member: User, what: str) -> None:
    client = sends(key_of(member))
    assert client.get("/api/v1/auth/me").status_code == 200
    if what == "password":
        member.set_password("another-long-password")
    else:
        values = {"email": "n@example.com", "role": Role.ADMIN, "is_active": False, "deleted_at": clock.now()}
        setattr(member, what, values.get(what, "0" * 32))
    member.save()
    answer = client.get("/api/v1/auth/me")
    assert answer.status_code == 401 and answer.json()["error_code"] == "UNAUTHORIZED"
    member.is_active, member.deleted_at = True, None
    member.save()
    assert client.get("/api/v1/auth/me").status_code == 401, "and does not come back"


@pytest.mark.parametrize(
    "raw", ["", "x", "fcms_", "fcms_" + "x" * 40, "fcms_" + "x" * 5000, "fcms_é", "fcms_\x00", "Bearer fcms_x"]
)
def test_an_unknown_key_is_401(member: User, raw: str) -> None:
    key_of(member)
    assert sends(raw).get("/api/v1/auth/me").status_code == 401
    assert sends(raw).get("/api/v1/collections").status_code == 401


def test_an_access_token_is_no_key_and_a_hash_is_none(member: User) -> None:
    raw = key_of(member)
    assert sends(tokens.issue(member).access).get("/api/v1/auth/me").status_code == 401
    for wrong in (ApiKey.objects.get().digest, f"fcms_{ApiKey.objects.get().digest}", raw[:-1], raw.swapcase()):
        assert sends(wrong).get("/api/v1/auth/me").status_code == 401


def test_the_key_wins_over_other_credentials(member: User, stranger: User) -> None:
    both = sends(key_of(member))
    both.credentials(HTTP_X_API_KEY=key_of(member), HTTP_AUTHORIZATION=f"Bearer {tokens.issue(stranger).access}")
    assert both.get("/api/v1/auth/me").json()["id"] == str(member.pk)
    both.credentials(HTTP_X_API_KEY="fcms_rubbish", HTTP_AUTHORIZATION=f"Bearer {tokens.issue(stranger).access}")
    assert both.get("/api/v1/auth/me").status_code == 401
    both.credentials(HTTP_X_API_KEY="")
    both.force_login(stranger, "accounts.backends.AccountBackend")
    assert both.get("/api/v1/auth/me").status_code == 401


# --- what a key may do ------------------------------------------------------------------------

FOR_PEOPLE = [
    ("get", "api-keys", None), ("post", "api-keys", {"name": "x"}), ("delete", "api-keys/{key}", None),
    ("post", "change-password", {"current_password": "correct-horse-battery", "new_password": "another-long-one"}),
    ("post", "change-email", {"new_email": "n@example.com", "password": "correct-horse-battery"}),
    ("post", "enable-2fa", {}), ("post", "disable-2fa", {"password": "correct-horse-battery"}), ("post", "test-2fa", {}),
    ("get", "sessions", None), ("delete", "sessions", None), ("delete", "sessions/{key}", None), ("post", "logout", {}),
    ("post", "resend-verification", {}),
    ("post", "register", {"email": "x@example.com", "password": "another-long-one", "role": "admin"}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "name", "body"), FOR_PEOPLE)
def test_only_people_manage_accounts(admin: User, method: str, name: str, body: Any) -> None:
    client = sends(key_of(admin))
    key = ApiKey.objects.get()
    with nothing_changes():
        answer = getattr(client, method)(f"/api/v1/auth/{name.format(key=key.pk)}", body)
        assert answer.status_code == 403, answer.content
        assert "signed in" in answer.json()["message"]


def _views(patterns: Any, prefix: str = "") -> Any:
    for pattern in patterns:
        path = f"{prefix}{pattern.pattern}"
        if hasattr(pattern, "url_patterns"):
            yield from _views(pattern.url_patterns, path)
        elif hasattr(pattern.callback, "cls"):
            yield path, pattern.callback.cls


def test_no_view_about_accounts_is_open_to_keys_by_oversight(db: None) -> None:
    """What is new has to say so: a key may read its account, an admin's the list of users."""
    found = {
        path: view for path, view in _views(get_resolver().url_patterns) if view.__module__.startswith("accounts.")
    }
    assert len(found) > 30
    open_ones = [view for view in found.values() if getattr(view, "api_keys", Keys.WHOLE) is not Keys.NONE]
    assert {view.__name__ for view in open_ones} <= {"MeView", "UsersView", "UsersOfRoleView", "RegistrationModeView"}
    assert not [view for view in open_ones if {"post", "put", "patch", "delete"} & set(dir(view))], (
        "none changes anything"
    )


def test_a_key_has_its_owners_rights_and_no_more(shop: Any, member: User, admin: User) -> None:
    mine, theirs = sends(key_of(member)), sends(key_of(admin))
    assert mine.get(path("posts", "one")).status_code == 200
    with nothing_changes():
        assert mine.get(path("vault", "gold")).status_code == 403
        assert mine.post(path("vault"), {"title": "x"}).status_code == 403
    assert theirs.get(path("vault", "gold")).status_code == 200
    assert theirs.get("/api/v1/collections/vault").json()["view_rule"]


def test_a_key_to_read_changes_nothing(shop: Any, admin: User) -> None:
    client = sends(key_of(admin, access="read"))
    assert client.get(path("vault", "gold")).status_code == 200
    writes: list[tuple[str, str, Any]] = [
        ("post", path("posts"), {"title": "x"}), ("patch", path("posts", "one"), {"title": "x"}),
        ("put", path("posts", "one"), {"title": "x"}), ("delete", path("posts", "one"), None),
        ("patch", path("posts", "nothing"), {"title": "x"}), ("post", path("posts", "bulk-delete"), {"record_ids": ["one"]}),
        ("post", path("posts", "bulk-update"), {"record_ids": ["one"], "data": {"title": "x"}}),
        ("post", "/api/v1/batch", {"requests": [{"method": "POST", "collection": "posts", "data": {"title": "x"}}]}),
        ("post", "/api/v1/collections", {"name": "more"}), ("patch", "/api/v1/collections/posts", {"list_rule": "1=2"}),
        ("delete", "/api/v1/collections/posts", None),
    ]  # fmt: skip
    with nothing_changes():
        for method, url, body in writes:
            answer = getattr(client, method)(url, body)
            assert answer.status_code == 403, (method, url, answer.content)


@pytest.mark.parametrize("who", ["member", "admin"])
def test_other_collections_are_closed_to_a_key_for_one(shop: Any, who: str, request: pytest.FixtureRequest) -> None:
    client = scoped(request.getfixturevalue(who), shop["posts"])
    assert client.get(path("posts")).json()["total"] == 1
    assert client.patch(path("posts", "one"), {"title": "Two"}).status_code == 200
    refused: list[tuple[str, str, Any]] = [
        ("get", path("authors"), None), ("get", path("authors", "ann"), None), ("post", path("authors"), {"name": "x"}),
        ("patch", path("authors", "ann"), {"name": "x"}), ("delete", path("authors", "ann"), None),
        ("get", path("vault"), None), ("get", "/api/v1/collections", None), ("get", "/api/v1/collections/posts", None),
        ("post", "/api/v1/collections", {"name": "more"}), ("patch", "/api/v1/collections/posts", {"list_rule": "1=2"}),
        ("post", "/api/v1/batch", {"requests": [{"method": "POST", "collection": "posts", "data": {"title": "x"}},
                                               {"method": "POST", "collection": "authors", "data": {"name": "x"}}]}),
        ("get", "/api/schema", None),
    ]  # fmt: skip
    with nothing_changes():
        for method, url, body in refused:
            answer = getattr(client, method)(url, body)
            assert answer.status_code == 403, (method, url, answer.content)


@pytest.mark.parametrize("who", ["member", "admin"])
@pytest.mark.parametrize(
    "query",
    [
        "expand=author", "filter=author.name='Ann'", "filter=author.name~'A'", "sort=author.name", "cursor=&sort=author.name",
        "filter=@collection.authors.name?='Ann'", "filter=@collection.vault.title?='Gold'", "fields=expand.author.name&expand=author",
        "filter=author.posts_via_author.title?='One'",
    ],
)  # fmt: skip
def test_nothing_leads_out_of_a_keys_collections(
    shop: Any, who: str, query: str, request: pytest.FixtureRequest
) -> None:
    user = request.getfixturevalue(who)
    wide, narrow = sends(key_of(user)), scoped(user, shop["posts"])
    if not ("vault" in query and who == "member"):
        assert get(wide, f"{path('posts')}?{query}").status_code == 200, "else the refusal would prove nothing"
    found = get(narrow, f"{path('posts')}?{query}")
    assert found.status_code == 400, found.content
    other = get(narrow, f"{path('posts')}?{query.replace('Ann', 'Bob').replace('Gold', 'Tin').replace('One', 'Two')}")
    assert other.status_code == 400


def test_the_way_back_is_closed_as_well(shop: Any, admin: User) -> None:
    narrow = scoped(admin, shop["authors"])
    for query in ("expand=posts_via_author", "filter=posts_via_author.title?='One'"):
        assert get(narrow, f"{path('authors')}?{query}").status_code == 400
    assert "One" not in narrow.get(path("authors")).content.decode()


def test_a_refusal_names_no_record_of_another_collection(make_collection: Any, records: Any, admin: User) -> None:
    authors = make_collection("authors", name="text", **PUBLIC)
    needed = {
        "type": "relation", "relation": {"collection_id": "authors", "type": "many-to-one"},
        "validation": {"required": True},
    }  # fmt: skip
    make_collection("posts", author=needed, **PUBLIC)
    records("authors").create(id="ann", name="Ann")
    records("posts").create(id="secret-post", author="ann")
    answer = scoped(admin, authors).delete(path("authors", "ann"))
    assert answer.status_code == 409 and b"secret-post" not in answer.content and b"posts" not in answer.content


def test_a_collection_made_again_under_its_name_is_another_one(
    shop: Any, make_collection: Any, admin: User, as_user: Any
) -> None:
    client = scoped(admin, shop["vault"])
    assert client.get(path("vault")).status_code == 200
    assert as_user(admin).delete("/api/v1/collections/vault").status_code == 204
    make_collection("vault", title="text")
    assert client.get(path("vault")).status_code == 403
    assert as_user(admin).get(KEYS).json()["items"][0]["collections"] == [shop["vault"].id]


def test_what_the_owner_was_answered_is_not_repeated_to_a_key(shop: Any, member: User, as_user: Any) -> None:
    body = {"title": "Three"}
    made = as_user(member).post(path("posts"), body, HTTP_IDEMPOTENCY_KEY="k")
    again = sends(key_of(member)).post(path("posts"), body, HTTP_IDEMPOTENCY_KEY="k")
    assert made.status_code == again.status_code == 201 and made.json()["id"] != again.json()["id"]


# --- last used --------------------------------------------------------------------------------


def test_a_use_is_told_at_once_and_written_later(member: User, as_user: Any) -> None:
    client = sends(key_of(member))
    with nothing_changes():
        assert client.get("/api/v1/auth/me").status_code == 200
    shown = as_user(member).get(KEYS).json()["items"][0]["last_used_at"]
    assert shown and ApiKey.objects.get().last_used_at is None
    key_uses.uses.flush()
    assert clock.isoformat(ApiKey.objects.get().last_used_at) == shown
    with nothing_changes():
        key_uses.uses.flush()


def test_a_key_without_its_right_is_no_use(member: User) -> None:
    assert sends("fcms_" + "x" * 40).get("/api/v1/auth/me").status_code == 401
    key_uses.uses.flush()
    assert not ApiKey.objects.exists()


def test_a_thread_writes_uses_by_itself(committed_db: None, make_user: Callable[..., User]) -> None:
    uses = key_uses.Uses(every=0.01)
    api_keys.make(make_user("ann"), name="x", access="read")
    uses.note(str(ApiKey.objects.get().pk))
    timer = uses._timer
    if timer is not None:
        timer.join(10)
    assert ApiKey.objects.get().last_used_at is not None
