"""Tokens of auth collections: for whom they speak, to rules too, and that they open nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from rest_framework.test import APIClient

from accounts import realms, tokens
from accounts.models import SignIn
from accounts.principals import ANONYMOUS, SYSTEM
from cms_project.front import Front
from collections_app.api.lane import Lane
from collections_app.auth.realm import AuthCollection
from collections_app.dialects import quote
from collections_app.models import Event
from collections_app.schema import service
from collections_app.schema.definition import CollectionDef
from collections_app.tests.threads import at_once
from collections_app.tests.web import nothing_changes, path
from core import database
from core.errors import Conflict, Forbidden, Unauthorized, ValidationFailed
from tests.asgi_client import Answer, call

pytestmark = pytest.mark.engine

PASSWORD = "correct-horse-9"
EMAIL = "ann@example.com"
ANN = {"email": EMAIL, "password": PASSWORD}


def at(where: str, collection: str = "customers") -> str:
    return f"/api/v1/collections/{collection}/auth/{where}"


def bearer(token: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


@pytest.fixture
def houses(make_collection: Callable[..., CollectionDef]) -> dict[str, CollectionDef]:
    """Two auth collections with an account of the same id, address and password, and what they may see."""
    made = {
        name: make_collection(
            name, type="auth", plan="text", seats="integer", secret_plan={"type": "text", "hidden": True}
        )
        for name in ("customers", "vendors")
    }
    theirs = "@request.auth.collection = 'customers' && owner = @request.auth.id"
    rules = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"), theirs)
    made["orders"] = make_collection("orders", owner="text", text="text", **rules)
    made["gold"] = make_collection("gold", text="text", **dict.fromkeys(rules, "@request.auth.plan = 'gold'"))
    made["admins"] = make_collection("admins", text="text")
    return made


@pytest.fixture
def pairs(houses: dict[str, CollectionDef], records: Any, anonymous: APIClient) -> dict[str, dict[str, Any]]:
    """What a login of each of the two answers."""
    found = {}
    for name in ("customers", "vendors"):
        records(name).create(id="ann", **ANN, plan="gold" if name == "customers" else "tin")
        found[name] = anonymous.post(at("login", name), ANN).json()
        assert found[name]["user"]["id"] == "ann"
    return found


class Asker:
    """The lane with nothing behind it: what it answers, it has answered itself."""

    def __init__(self) -> None:
        async def nobody(scope: Any, receive: Any, send: Any) -> None:
            raise AssertionError(f"not answered by the lane: {scope['path']}")

        self._lane = Lane(nobody)
        self._front = Front(self._lane)
        self._runner = asyncio.Runner()

    def __call__(self, method: str, url: str, token: str, data: Any = None) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = b"" if data is None else orjson.dumps(data)
        return self._runner.run(call(self._front, method, url, headers, body))

    def close(self) -> None:
        self._runner.run(self._front.close())
        self._runner.close()
        self._lane.close()


@pytest.fixture
def lane(settings: Any) -> Iterator[Asker]:
    settings.ACCESS_LOG = False
    asker = Asker()
    yield asker
    asker.close()


# --- they never cross ----------------------------------------------------------------------------


def test_a_token_is_good_in_its_own_realm_only(pairs, anonymous, member, superadmin):
    access = {name: pair["access_token"] for name, pair in pairs.items()}
    access |= {"users": tokens.issue(member).access, "admin": tokens.issue(superadmin).access}
    refresh = {name: pair["refresh_token"] for name, pair in pairs.items()} | {"users": tokens.issue(member).refresh}
    staff = "/api/v1/auth/"
    own = {"customers": at(""), "vendors": at("", "vendors"), "users": staff, "admin": staff}
    with nothing_changes():
        for whose, token in access.items():
            for where, base in own.items():
                if base == own[whose]:
                    continue
                for method, name, body in (
                    ("get", "me", None), ("get", "sessions", None), ("delete", "sessions", None),
                    ("post", "change-password", {"current_password": PASSWORD, "new_password": "another-staple-7"}),
                    ("post", "change-email", {"new_email": "new@example.com", "password": PASSWORD}),
                    ("post", "enable-2fa", {}), ("post", "disable-2fa", {"password": PASSWORD}), ("post", "test-2fa", {}),
                    ("post", "resend-verification", {}), ("post", "logout", {}),
                ):  # fmt: skip
                    answer = getattr(anonymous, method)(base + name, body, **bearer(token))
                    assert answer.status_code == 401, (whose, where, name, answer.content)
        for whose, token in refresh.items():
            for where, base in own.items():
                if base != own[whose]:
                    answer = anonymous.post(base + "refresh", {"refresh_token": token})
                    assert answer.status_code == 401, (whose, where)
                assert anonymous.get(base + "me", **bearer(token)).status_code == 401
            assert anonymous.get(path("orders"), **bearer(token)).status_code == 401
    for whose, token in access.items():
        assert anonymous.get(own[whose] + "me", **bearer(token)).status_code == 200


def test_a_logout_elsewhere_does_not_end_a_sign_in(pairs, anonymous):
    """Another realm's token in the body of a logout is of no use there."""
    body = {"refresh_token": pairs["customers"]["refresh_token"]}
    access = pairs["vendors"]["access_token"]
    assert anonymous.post(at("logout", "vendors"), body, **bearer(access)).status_code == 200
    assert anonymous.get(at("me"), **bearer(pairs["customers"]["access_token"])).status_code == 200
    assert anonymous.get(at("me", "vendors"), **bearer(access)).status_code == 401


def test_a_challenge_of_one_collection_is_none_of_another(pairs, anonymous, houses):
    realm = realms.get("customers")
    realm.set_two_fa(realm.get("ann"), True)
    challenge = anonymous.post(at("login"), ANN).json()["challenge"]
    for where in (at("verify-2fa", "vendors"), "/api/v1/auth/verify-2fa"):
        for body in ({"challenge": challenge}, {"user_id": "ann"}):
            assert anonymous.post(where, {**body, "code": "123456"}).status_code == 401
    assert "access_token" in anonymous.post(at("login", "vendors"), ANN).json()  # of the same id


@pytest.mark.parametrize(
    "audience", ["record:", "record:nope", "record", "users:x", "records:x", "", 5, None, ["users"]]
)
def test_a_token_of_no_audience_there_is_is_401(pairs, anonymous, audience):
    import jwt

    claims = jwt.decode(pairs["customers"]["access_token"], options={"verify_signature": False})
    forged = jwt.encode({**claims, "aud": audience} if audience != 5 else claims, "x" * 40, algorithm="HS256")
    for url in (at("me"), path("orders"), "/api/v1/auth/me"):
        assert anonymous.get(url, **bearer(forged)).status_code == 401


# --- to rules --------------------------------------------------------------------------------------


def test_rules_see_the_collection_and_the_fields_of_who_is_signed_in(pairs, anonymous, lane, records, admin, as_user):
    records("orders").create(id="one", owner="ann", text="hers")
    records("gold").create(id="bar", text="of gold")
    for ask in (lane, lambda method, url, token: anonymous.generic(method, url, **bearer(token))):
        seen = {}
        for name, pair in pairs.items():
            for what in ("orders", "gold", "admins", "customers", "vendors"):
                answer = ask("GET", path(what), pair["access_token"])
                seen[name, what] = (
                    [item["id"] for item in answer.json()["items"]]
                    if answer_status(answer) == 200
                    else answer_status(answer)
                )
        assert seen == {
            ("customers", "orders"): ["one"], ("vendors", "orders"): 403,
            ("customers", "gold"): ["bar"], ("vendors", "gold"): 403,
            ("customers", "admins"): 403, ("vendors", "admins"): 403,
            ("customers", "customers"): ["ann"], ("vendors", "customers"): [],
            ("customers", "vendors"): [], ("vendors", "vendors"): ["ann"],
        }  # fmt: skip


def answer_status(answer: Any) -> int:
    return int(getattr(answer, "status", 0) or answer.status_code)


def test_what_a_record_becomes_counts_from_the_next_request_on(pairs, lane, records):
    """The plan is changed by an admin; what was answered before is not remembered for it."""
    token = pairs["customers"]["access_token"]
    assert lane("GET", path("gold"), token).status == 200
    records("customers").update("ann", {"plan": "tin"})
    assert lane("GET", path("gold"), token).status == 403
    records("customers").update("ann", {"plan": "gold"})
    assert lane("GET", path("gold"), token).status == 200
    assert lane("POST", path("orders"), token, {"owner": "ann", "text": "new"}).status == 201
    assert Event.objects.order_by("-id").first().actor == f"{realms.get('customers').key}:ann"


def test_a_role_that_is_called_admin_is_nobodys(pairs, lane, houses, admin, as_user):
    refused = as_user(admin).patch(path("customers", "ann"), {"role": "admin"}, format="json")
    assert refused.status_code == 422
    database.execute(f"UPDATE {quote(houses['customers'].table)} SET role = 'superadmin'")
    account = realms.get("customers").get("ann")
    access = tokens.issue(account).access
    principal = tokens.principal_from_token(access)
    assert principal.role == "superadmin" and not principal.is_admin and not principal.is_superadmin
    assert lane("GET", path("admins"), access).status == 403
    assert lane("GET", path("customers"), access).json()["total"] == 1


def test_a_principal_holds_what_its_owner_may_read_and_no_secret(pairs):
    principal = tokens.principal_from_token(pairs["customers"]["access_token"])
    assert principal.fields["plan"] == "gold" and principal.fields.keys() == {"plan", "seats", "created", "updated"}
    assert tokens.principal_from_token(pairs["customers"]["access_token"]) is principal


# --- what ends them ----------------------------------------------------------------------------------


def patch(where: str, data: dict[str, Any]) -> Callable[[APIClient], Any]:
    return lambda client: client.patch(where, data, format="json")


@pytest.mark.parametrize(
    "end",
    [
        patch(path("customers", "ann"), {"password": "another-staple-7"}),
        patch(path("customers", "ann"), {"email": "new@example.com"}),
        patch(path("customers", "ann"), {"role": "vip"}),
        lambda client: client.delete(path("customers", "ann")),
        lambda client: client.delete("/api/v1/collections/customers"),
        lambda client: SignIn.objects.filter(account_id="ann").update(revoked="2026-01-01T00:00:00Z"),
        lambda client: database.execute("UPDATE sign_ins SET account_id = 'bob'"),
    ],
)
def test_what_changes_an_account_ends_its_tokens_with_the_next_request(pairs, lane, anonymous, admin, as_user, end):
    pair, staff = pairs["customers"], as_user(admin)
    assert lane("GET", path("orders"), pair["access_token"]).status == 200
    end(staff)
    assert lane("GET", path("orders"), pair["access_token"]).status == 401
    assert lane("POST", path("orders"), pair["access_token"], {"owner": "ann"}).status == 401
    assert anonymous.get(path("orders"), **bearer(pair["access_token"])).status_code == 401
    assert anonymous.post(at("refresh"), {"refresh_token": pair["refresh_token"]}).status_code in (401, 404)


def test_a_token_of_a_deleted_record_opens_none_that_is_made_anew_with_its_id(pairs, lane, anonymous, admin, as_user):
    pair, client = pairs["customers"], as_user(admin)
    assert lane("GET", path("orders"), pair["access_token"]).status == 200
    client.delete(path("customers", "ann"))
    assert client.post(path("customers"), {"id": "ann", **ANN}, format="json").status_code == 201
    # Even if the sign-in were still there.
    realm = realms.get("customers")
    SignIn.objects.create(
        id=tokens.access_claims(pair["access_token"], realm.audience)["sid"], realm=realm.key, account_id="ann",
        refresh_id="x", expires="2099-01-01T00:00:00Z",
    )  # fmt: skip
    assert lane("GET", path("orders"), pair["access_token"]).status == 401
    assert anonymous.get(at("me"), **bearer(pair["access_token"])).status_code == 401
    assert anonymous.post(at("refresh"), {"refresh_token": pair["refresh_token"]}).status_code == 401


def test_a_collection_keeps_its_tokens_through_a_change_of_its_schema(pairs, lane, houses):
    token = pairs["customers"]["access_token"]
    assert lane("GET", path("gold"), token).status == 200
    schema = service.as_json(houses["customers"])["schema"]
    renamed = [{**field, "name": "tier"} if field["name"] == "plan" else field for field in schema]
    service.collection_update(actor=SYSTEM, name_or_id="customers", payload={"name": "clients", "schema": renamed})
    assert lane("GET", path("gold"), token).status == 403  # @request.auth.plan is nothing any more
    principal = tokens.principal_from_token(token)
    assert principal.collection == "clients" and principal.fields["tier"] == "gold"
    hidden = [{**field, "hidden": True} if field["name"] == "tier" else field for field in renamed]
    service.collection_update(actor=SYSTEM, name_or_id="clients", payload={"schema": hidden})
    assert "tier" not in tokens.principal_from_token(token).fields


# --- the records API of an auth collection ---------------------------------------------------------------


def test_an_account_made_through_the_records_api_can_sign_in(houses, anonymous):
    made = anonymous.post(path("customers"), {**ANN, "plan": "tin"}, format="json")
    assert made.status_code == 201 and not {"password", "token_key", "secret_plan"} & made.json().keys()
    assert anonymous.post(at("login"), ANN).status_code == 200
    assert (
        anonymous.post(path("customers"), {**ANN, "email": "b@example.com", "password": "password1"}).status_code == 422
    )


@pytest.mark.parametrize("way", ["post", "batch", "put"])
def test_nobody_makes_an_account_with_the_id_of_another(houses, anonymous, member, records, way):
    """A rule that compares ids would take them for one."""
    taken = str(member.id)
    with nothing_changes():
        if way == "post":
            answer = anonymous.post(path("customers"), {**ANN, "id": taken}, format="json")
        else:
            asked = {
                "method": way.replace("batch", "post").upper(),
                "collection": "customers",
                "id": taken,
                "data": ANN,
            }
            answer = anonymous.post("/api/v1/batch", {"requests": [asked]}, format="json")
    assert answer.status_code == 422 and "id" in answer.json()["fields"]
    assert records("customers").create(id=taken, **ANN)["id"] == taken  # an admin may


def test_rules_see_many_to_many_fields_of_the_account(make_collection, records, anonymous):
    make_collection("teams", name="text")
    make_collection(
        "players", type="auth",
        teams={"type": "relation", "relation": {"collection_id": "teams", "type": "many-to-many"}},
    )  # fmt: skip
    make_collection("plans", team="text", list_rule="team ?= @request.auth.teams")
    for name in ("red", "blue"):
        records("teams").create(id=name)
        records("plans").create(id=name, team=name)
    records("players").create(id="ann", **ANN, teams=["red"])
    token = anonymous.post(at("login", "players"), ANN).json()["access_token"]

    def seen() -> set[str]:
        return {item["id"] for item in anonymous.get(path("plans"), **bearer(token)).json()["items"]}

    assert seen() == {"red"}
    records("players").update("ann", {"teams+": "blue"})
    assert seen() == {"red", "blue"}
    records("teams").delete("red")
    assert seen() == {"blue"}


def test_secrets_are_neither_read_nor_filtered_sorted_chosen_or_sent(pairs, anonymous, admin, as_user):
    for client, headers in ((as_user(admin), {}), (anonymous, bearer(pairs["customers"]["access_token"]))):
        for name in ("password", "token_key"):
            for query in (f"filter={name}!=''", f"sort={name}", f"fields=id,{name}"):
                answer = client.get(f"{path('customers')}?{query}", **headers)
                unknown = client.get(f"{path('customers')}?{query.replace(name, 'nonsense')}", **headers)
                assert (answer.status_code, name in str(answer.json().get("items"))) == (unknown.status_code, False)
            assert name not in client.get(path("customers", "ann"), **headers).json()
        answer = client.patch(path("customers", "ann"), {"token_key": "mine"}, format="json", **headers)
        assert answer.status_code == 422


def test_an_owner_does_not_set_what_admins_set_and_keeps_the_address_by_sending_it(
    pairs, anonymous, records, admin, as_user
):
    records("customers").update("ann", {"verified": True})
    headers = bearer(pairs["customers"]["access_token"])
    for body in ({"verified": True}, {"role": "vip"}):
        assert anonymous.patch(path("customers", "ann"), body, format="json", **headers).status_code == 422
    same = anonymous.patch(path("customers", "ann"), {"email": "ANN@example.com"}, format="json", **headers)
    assert same.status_code == 200 and same.json()["verified"] is True
    kept = as_user(admin).patch(path("customers", "ann"), {"verified": True, "email": EMAIL}, format="json")
    assert kept.json()["verified"] is True


def test_nobody_makes_more_than_one_account_by_a_batch(houses, anonymous, admin, as_user, records):
    def batch(client, method, count):
        requests = [
            {"method": method, "collection": ("customers", "vendors")[number % 2]}
            | ({"id": f"new-{number}"} if method == "PUT" else {})
            | {"data": {"email": f"new{number}@example.com", "password": PASSWORD}}
            for number in range(count)
        ]
        return client.post("/api/v1/batch", {"requests": requests}, format="json")

    for method, count in (("POST", 2), ("POST", 50), ("PUT", 2)):
        answer = batch(anonymous, method, count)
        assert answer.status_code in (401, 403, 422), answer.json()
        assert not records("customers").items() and not records("vendors").items()
    assert "At most 1 may" in str(batch(anonymous, "POST", 2).json())
    assert batch(anonymous, "POST", 1).status_code == 200
    records("customers").delete(records("customers").items()[0]["id"])
    assert batch(as_user(admin), "POST", 50).status_code == 200
    assert len(records("customers").items()) == 25


@pytest.mark.parametrize("name", ["password", "email"])
def test_a_stolen_access_token_changes_neither_password_nor_address(pairs, anonymous, records, name):
    stolen = pairs["customers"]["access_token"]
    data = {name: {"password": "another-staple-7", "email": "thief@example.com"}[name]}
    url, before = path("customers", "ann"), records("customers").get("ann")
    one = {"collection": "customers", "id": "ann", "data": data}
    answers = [
        anonymous.patch(url, data, format="json", **bearer(stolen)),
        anonymous.put(url, {**ANN, **data}, format="json", **bearer(stolen)),
        anonymous.patch(url, data, format="multipart", **bearer(stolen)),
        anonymous.post(path("customers", "bulk-update"), {"record_ids": ["ann"], "data": data}, **bearer(stolen)),
        anonymous.post("/api/v1/batch", {"requests": [{"method": "PATCH", **one}]}, **bearer(stolen)),
        anonymous.post("/api/v1/batch", {"requests": [{"method": "PUT", **one}]}, **bearer(stolen)),
    ]
    for answer in answers:
        told = str(answer.json())
        assert f"change your own by auth/change-{name}" in told, told
        assert answer.status_code == 422 or answer.json()["success"] == 0, told
    assert records("customers").get("ann") == before
    assert anonymous.get(at("me"), **bearer(stolen)).status_code == 200


def test_no_update_rule_lets_anybody_but_admins_set_a_password(pairs, anonymous, admin, as_user):
    chief = as_user(admin)
    assert chief.patch("/api/v1/collections/customers", {"update_rule": None}, format="json").status_code == 200
    for headers in ({}, bearer(pairs["vendors"]["access_token"])):
        answer = anonymous.patch(path("customers", "ann"), {"password": "another-staple-7"}, format="json", **headers)
        assert answer.status_code == 422 and answer.json()["fields"].keys() == {"password"}
    assert anonymous.post(at("login"), ANN).status_code == 200
    answer = chief.patch(path("customers", "ann"), {"password": "another-staple-7"}, format="json")
    assert answer.status_code == 200 and "password" not in answer.json()
    assert anonymous.post(at("login"), {**ANN, "password": "another-staple-7"}).status_code == 200


@pytest.mark.usefixtures("real_hashers")
def test_a_hash_of_an_older_kind_is_renewed_whatever_the_rules_say_of_the_password(houses, anonymous, records):
    from django.contrib.auth.hashers import make_password

    records("customers").create(id="ann", **ANN)
    table = quote(houses["customers"].table)
    mark = "?" if database.connections["default"].vendor == "sqlite" else "%s"
    weak = make_password("password", hasher="pbkdf2_sha256")
    database.execute(f"UPDATE {table} SET password = {mark}", [weak])
    assert anonymous.post(at("login"), {**ANN, "password": "password"}).status_code == 200
    assert realms.get("customers").get("ann").password.startswith("argon2")


# --- accounts of people who sign in elsewhere ---------------------------------------------------------------


PROFILE = {"name": "Ann", "username": "ann", "avatar_url": "not a url"}


def test_somebody_from_elsewhere_gets_an_account_without_a_password(make_collection, anonymous):
    make_collection(
        "guests", type="auth", name="text", avatar_url="url",
        username={"type": "text", "validation": {"unique": True}},
    )  # fmt: skip
    realm = realms.get("guests")
    made = realm.adopt("Ann@example.com", verified=True, profile=PROFILE)
    assert realm.to_json(made)["name"] == "Ann" and made.verified and made.email == EMAIL
    assert realm.to_json(made)["avatar_url"] in (None, "")
    assert anonymous.post(at("login", "guests"), ANN).status_code == 401
    assert realm.to_json(realm.adopt("b@example.com", verified=False, profile=PROFILE))["username"] in (None, "")
    with nothing_changes(), pytest.raises(Conflict):
        realm.adopt(EMAIL, verified=True, profile={})


def test_an_account_from_elsewhere_needs_the_create_rule_and_no_more_fields(make_collection):
    make_collection("closed", type="auth", create_rule="@request.auth.role = 'admin'")
    make_collection("firms", type="auth", company={"type": "text", "validation": {"required": True}})
    with nothing_changes():
        with pytest.raises((Forbidden, Unauthorized)):
            realms.get("closed").adopt(EMAIL, verified=True, profile=PROFILE)
        with pytest.raises(ValidationFailed, match="company") as refused:
            realms.get("firms").adopt(EMAIL, verified=True, profile=PROFILE)
    assert refused.value.fields == {"company": ["This field is required."]}


# --- all at once -----------------------------------------------------------------------------------------


def test_of_fifty_who_register_one_address_one_gets_it(houses):
    realm = realms.get("customers")

    def register(number: int) -> Any:
        return lambda: AuthCollection(houses["customers"]).register(ANONYMOUS, {**ANN, "plan": str(number)})

    answers = at_once(*map(register, range(50)))
    assert Counter(type(answer).__name__ for answer in answers) == {"RecordAccount": 1, "Conflict": 49}
    assert Event.objects.filter(collection_id=realm.key, type="record.created").count() == 1


def test_a_refresh_token_used_many_times_at_once_works_at_most_once(pairs):
    """With two connections a thread, on PostgreSQL."""
    realm, raw = realms.get("customers"), pairs["customers"]["refresh_token"]
    answers = at_once(*[lambda: tokens.refresh(realm, raw)] * 20)
    done = [answer for answer in answers if isinstance(answer, tuple)]
    assert len(done) <= 1
    assert {type(answer) for answer in answers if answer not in done} == {Unauthorized}
    assert SignIn.objects.filter(account_id="ann", realm=realm.key, revoked=None).count() == 0
