"""API keys in the lane: the same bytes as from Django and DRF, whatever the key may do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from accounts import api_keys, key_uses, tokens
from accounts.models import ApiKey, User
from core import clock
from tests.two_ways import NOW, Request, TwoWays, get, send, stand_still

pytestmark = [pytest.mark.engine, pytest.mark.slow]

BATCH = "/api/v1/batch"
PUBLIC = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
MINE = "owner = @request.auth.id"
KEYS = ("member", "member reads", "member posts", "admin", "admin reads", "admin posts", "admin reads posts", "nothing")
BAD_KEYS = ("expired", "deleted", "disabled", "renewed", "unknown", "empty", "short")


@pytest.fixture
def keys(
    make_collection: Any, records: Any, member: User, admin: User, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Keys of every scope, and one of each that is no good, on collections with rules."""
    monkeypatch.setattr(key_uses, "uses", key_uses.Uses(every=3600))
    make_collection("authors", name="text", secret={"type": "text", "hidden": True}, **PUBLIC)
    relation = {"type": "relation", "relation": {"collection_id": "authors", "type": "many-to-one"}}
    posts = make_collection(
        "posts", title="text", author=relation, owner="text", secret={"type": "text", "hidden": True}, list_rule=None,
        view_rule=None, create_rule="@request.auth.id != ''", update_rule=MINE, delete_rule=MINE,
    )  # fmt: skip
    make_collection("vault", title="text")
    records("authors").create(id="ann", name="Ann", secret="s")
    records("posts").create(id="one", title="One", author="ann", owner=str(member.pk), secret="s")
    records("posts").create(id="two", title="Two", owner="")
    records("vault").create(id="gold", title="Gold")

    def key(user: User, access: str = "write", **given: Any) -> str:
        return api_keys.make(user, name="test", access=access, **given)[1]

    only_posts = {"collection_ids": [posts.id]}
    made = {
        "member": key(member), "member reads": key(member, "read"), "member posts": key(member, **only_posts),
        "admin": key(admin), "admin reads": key(admin, "read"), "admin posts": key(admin, **only_posts),
        "admin reads posts": key(admin, "read", **only_posts), "nothing": key(admin, collection_ids=["gone"]),
        "expired": key(member, expires=clock.now() + timedelta(hours=1)), "unknown": "fcms_" + "x" * 40, "empty": "",
        "short": "fcms_",
    }  # fmt: skip
    disabled, renewed = make_user("disabled"), make_user("renewed")
    made |= {"disabled": key(disabled), "renewed": key(renewed), "deleted": key(member)}
    User.objects.filter(pk=disabled.pk).update(is_active=False)
    renewed.set_password("another-long-password")
    renewed.save()
    ApiKey.objects.filter(digest=api_keys._digest(made["deleted"])).update(revoked=clock.now())
    ApiKey.objects.filter(digest=api_keys._digest(made["expired"])).update(expires=NOW)
    stand_still(monkeypatch)
    return made


@pytest.fixture
def ways(keys: dict[str, str], tmp_path: Path, settings: Any) -> Iterator[TwoWays]:
    settings.ACCESS_LOG = False
    made = TwoWays(tmp_path, keys)  # as bearer tokens; X-API-Key is named in the request
    yield made
    made.close()


def same(ways: TwoWays, requests: list[Request]) -> None:
    told = ways.differences(requests)
    assert not told, f"{len(told)} of {len(requests)} requests:\n" + "\n".join(told)


READS = [
    "posts", "posts/one", "posts/nothing", "authors", "authors/ann", "vault", "vault/gold", "posts?expand=author",
    "posts?filter=author.name='Ann'", "posts?sort=author.name", "posts?filter=@collection.vault.title?='Gold'",
    "posts?filter=@collection.vault.title?='Tin'", "posts?fields=secret", "posts?filter=secret='s'", "authors?expand=posts_via_author",
    "authors?filter=posts_via_author.title?='One'", "nothing", "posts?page=0", "posts?cursor=&sort=author.name",
]  # fmt: skip
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "posts", {"title": "x"}), ("POST", "posts", {"title": "x", "nothing": 1}), ("POST", "posts", b"{"),
    ("PATCH", "posts/one", {"title": "x"}), ("PUT", "posts/two", {"title": "x"}), ("PATCH", "posts/nothing", {"title": "x"}),
    ("DELETE", "posts/one", b""), ("DELETE", "posts/two", b""), ("POST", "vault", {"title": "x"}),
    ("PATCH", "vault/gold", {"title": "x"}), ("DELETE", "vault/gold", b""), ("DELETE", "authors/ann", b""),
    ("POST", "posts/bulk-delete", {"record_ids": ["one", "two"]}),
    ("POST", "vault/bulk-update", {"record_ids": ["gold"], "data": {"title": "x"}}),
    ("POST", BATCH, {"requests": [{"method": "POST", "collection": "posts", "data": {"title": "x"}}]}),
    ("POST", BATCH, {"requests": [{"method": "POST", "collection": "posts", "data": {"title": "x"}},
                                  {"method": "DELETE", "collection": "vault", "id": "gold"}]}),
]  # fmt: skip


def test_reads_with_every_key(ways: TwoWays, keys: dict[str, str]) -> None:
    same(ways, [get(path, who) for path in READS for who in (*KEYS, *BAD_KEYS)])
    same(ways, [get(path, x_api_key=keys[who]) for path in READS for who in (*KEYS, *BAD_KEYS)])


def test_writes_with_every_key(ways: TwoWays, keys: dict[str, str]) -> None:
    same(ways, [send(method, path, data, x_api_key=keys[who]) for method, path, data in WRITES for who in KEYS])
    some = [write for write in WRITES if write[1] in ("posts", "posts/one", BATCH)]
    same(ways, [send(method, path, data, who) for method, path, data in some for who in (*KEYS, *BAD_KEYS)])
    same(ways, [send(method, path, data, x_api_key=keys[who]) for method, path, data in some for who in BAD_KEYS])


def test_a_key_beside_other_credentials(ways: TwoWays, keys: dict[str, str], member: User, admin: User) -> None:
    good, bad = f"Bearer {tokens.issue(admin).access}", "Bearer rubbish"
    for key, status in ((keys["member"], 403), (keys["admin"], 200), ("fcms_x", 401), ("", 401)):
        for header in (good, bad):
            request = get("vault", authorization=header, x_api_key=key)
            same(ways, [request])
            assert ways.by_lane(request).status == status
    same(ways, [get("vault", authorization="Basic eDp5", x_api_key=keys["admin"], by_lane=None)])
    twice = [("X-API-Key", keys["admin"])] * 2
    same(ways, [Request("GET", "vault", headers=twice), get("vault", x_api_key=f" {keys['admin']} ")])
    same(ways, [get("vault", x_api_key=raw) for raw in ("é", "fcms_é", "x" * 5000, "fcms_" + "x" * 5000, good)])


def test_a_read_with_a_key_is_noted_and_nothing_is_written_meanwhile(ways: TwoWays, keys: dict[str, str]) -> None:
    before = list(ApiKey.objects.order_by("pk").values())
    for _ in range(3):
        assert ways.by_lane(get("posts/one", x_api_key=keys["member"])).status == 200
    assert ways.reached_django == 0
    assert list(ApiKey.objects.order_by("pk").values()) == before
    key_uses.uses.flush()
    used = ApiKey.objects.exclude(last_used_at=None).get()
    assert used.digest == api_keys._digest(keys["member"]) and used.last_used_at == NOW


@pytest.mark.parametrize("way", ["delete", "password", "disable", "role"])
def test_a_key_that_ends_is_refused_with_the_next_request(
    ways: TwoWays, keys: dict[str, str], admin: User, way: str
) -> None:
    request = get("vault", x_api_key=keys["admin"])
    assert ways.by_lane(request).status == 200
    if way == "delete":
        ApiKey.objects.filter(user=admin).update(revoked=NOW)
    elif way == "role":
        User.objects.filter(pk=admin.pk).update(role="user")
    elif way == "disable":
        User.objects.filter(pk=admin.pk).update(is_active=False)
    else:
        admin.set_password("another-long-password")
        admin.save()
    assert ways.by_lane(request).status == 401 == ways.by_django(request).status
