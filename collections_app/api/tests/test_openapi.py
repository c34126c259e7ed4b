"""The OpenAPI document: valid, of what is there now, for whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from drf_spectacular.drainage import GENERATOR_STATS
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient

from accounts.models import User
from accounts.principals import ANONYMOUS, SYSTEM
from collections_app.api.openapi import document as documents
from collections_app.api.openapi.audience import Audience, audience_of
from collections_app.api.openapi.document import document
from collections_app.api.openapi.fixed import FixedGenerator
from collections_app.api.tests.conftest import PUBLIC
from collections_app.schema import fields, registry
from collections_app.schema.definition import CollectionDef

Make = Callable[..., CollectionDef]
As = Callable[[User], APIClient]


def read(client: APIClient) -> dict[str, Any]:
    answer = client.get("/api/schema")
    assert answer.status_code == 200
    return answer.json()  # type: ignore[no-any-return]


def operations(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in content["paths"].values():
        for method, operation in item.items():
            if method != "parameters":
                yield operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_it_is_openapi_3_1_with_sound_schemas_and_no_loose_ends(
    things: CollectionDef, admin: User, as_user: As
) -> None:
    content = read(as_user(admin))
    assert content["openapi"] == "3.1.0" and content["info"]["title"] == "FastCMS"
    for name, schema in content["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert name
    for reference in references(content):
        node = content
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    ids = [operation["operationId"] for operation in operations(content)]
    assert len(ids) == len(set(ids))
    for operation in operations(content):
        assert any(status.startswith(("2", "302")) for status in operation["responses"])
        assert {"400", "404", "503"} <= set(operation["responses"])


def test_every_collection_has_its_own_paths_with_typed_answers(things: CollectionDef, admin: User, as_user: As) -> None:
    content = read(as_user(admin))
    base = "/api/v1/collections/things/records"
    assert {base, f"{base}/{{record_id}}", f"{base}/bulk-update", f"{base}/bulk-delete"} <= set(content["paths"])
    properties = content["components"]["schemas"]["Record_things"]["properties"]
    assert properties["price"]["type"] == ["number", "null"]
    assert properties["title"]["type"] == "string"
    assert properties["state"] == {"type": ["string", "null"], "enum": ["new", "used", None]}
    assert properties["tags"]["type"] == "array" and properties["tags"]["items"]["enum"] == ["a", "b", "c, d"]
    assert properties["active"]["type"] == "boolean"
    assert properties["related"]["type"] == "array"
    assert properties["stamp"]["readOnly"] and properties["created"]["readOnly"]
    assert "pin" not in properties
    sent = content["components"]["schemas"]["RecordInput_things"]
    assert sent["properties"]["pin"]["writeOnly"] and sent["required"] == ["title"]
    assert "stamp" not in sent["properties"]


def test_every_field_type_is_described(things: CollectionDef, admin: User, as_user: As) -> None:
    properties = read(as_user(admin))["components"]["schemas"]["Record_things"]["properties"]
    types = {field.type for field in things.fields if field.name in properties}
    assert types == set(fields.names()) - {"password"}


def test_the_list_has_every_parameter_with_its_limits(things: CollectionDef, anonymous: APIClient) -> None:
    content = read(anonymous)
    found = {}
    for parameter in content["paths"]["/api/v1/collections/things/records"]["get"]["parameters"]:
        if "$ref" in parameter:
            parameter = content["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
        found[parameter["name"]] = parameter
        assert parameter["description"]
    assert set(found) == {
        "page", "per_page", "sort", "filter", "search", "fields", "expand", "skip_total", "cursor",
    }  # fmt: skip
    assert found["per_page"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 500, "default": 30}


def test_names_that_look_alike_do_not_collide(make_collection: Make, admin: User, as_user: As) -> None:
    for name in ("a1b", "a1_b", "a_1b", "a"):
        make_collection(name, **{f"only_in_{name}": {"type": "select", "select": {"values": ["x"]}}}, **PUBLIC)
    content = read(as_user(admin))
    for name in ("a1b", "a1_b", "a_1b", "a"):
        properties = content["components"]["schemas"][f"Record_{name}"]["properties"]
        assert [key for key in properties if key.startswith("only_in_")] == [f"only_in_{name}"]
    ids = [operation["operationId"] for operation in operations(content)]
    assert len(ids) == len(set(ids))


def test_hidden_fields_are_for_admins_only(things: CollectionDef, admin: User, member: User, as_user: As) -> None:
    assert "cost_price" in as_user(admin).get("/api/schema").content.decode()
    for client in (as_user(member), APIClient()):
        assert "cost_price" not in client.get("/api/schema").content.decode()


def test_a_caller_sees_the_collections_that_they_may_list(
    make_collection: Make, admin: User, member: User, as_user: As
) -> None:
    make_collection("open", title="text", **PUBLIC)
    make_collection("closed", title="text", owner={"type": "relation", "relation": {"collection_id": "open"}})
    make_collection("half_open", **PUBLIC, secret_way={"type": "relation", "relation": {"collection_id": "closed"}})
    assert "/api/v1/collections/closed/records" in read(as_user(admin))["paths"]
    for client in (as_user(member), APIClient()):
        answer = client.get("/api/schema").content.decode()
        assert "/api/v1/collections/open/records" in answer and "Record_half_open" in answer
        assert "closed" not in answer


def test_rules_are_not_shown(make_collection: Make, admin: User, as_user: As) -> None:
    make_collection("posts", title="text", **{**PUBLIC, "update_rule": "title = 'unlikely-words'"})
    assert "unlikely-words" not in as_user(admin).get("/api/schema").content.decode()


def test_a_new_collection_is_there_at_the_next_request(make_collection: Make, anonymous: APIClient) -> None:
    before = anonymous.get("/api/schema")
    make_collection("brand_new", title="text", **PUBLIC)
    after = anonymous.get("/api/schema")
    assert b"brand_new" not in before.content and b"brand_new" in after.content
    assert before["ETag"] != after["ETag"]


def test_it_is_kept_with_the_snapshot_for_each_audience(things: CollectionDef) -> None:
    snapshot = registry.latest()
    everyone, admins = audience_of(ANONYMOUS, snapshot), audience_of(SYSTEM, snapshot)
    assert document(snapshot, everyone) is document(snapshot, everyone)
    assert document(snapshot, everyone) is not document(snapshot, admins)
    assert document(snapshot, everyone, "yaml").body != document(snapshot, everyone).body


def test_audiences_without_end_do_not_fill_the_memory(things: CollectionDef, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = registry.latest()
    one = len(document(snapshot, Audience(admin=False, listable=frozenset({"0"}))).body)
    monkeypatch.setattr(documents, "MAX_KEPT_BYTES", 3 * one + 10)
    for number in range(10):
        document(snapshot, Audience(admin=False, listable=frozenset({str(number)})))
    assert [sorted(audience.listable) for audience, *_ in snapshot.memo["openapi"]] == [["7"], ["8"], ["9"]]


def test_an_etag_that_still_holds_is_304(things: CollectionDef, anonymous: APIClient) -> None:
    etag = anonymous.get("/api/schema")["ETag"]
    again = anonymous.get("/api/schema", headers={"If-None-Match": etag})
    assert again.status_code == 304 and not again.content


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", "*/*", "application/json"),
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("", "application/json", "application/json"),
        ("", "application/vnd.oai.openapi+json", "application/vnd.oai.openapi+json"),
        ("", "application/yaml", "application/yaml"),
        ("", "application/vnd.oai.openapi", "application/vnd.oai.openapi"),
        ("?format=yaml", "*/*", "application/yaml"),
        ("?format=json", "application/yaml", "application/json"),
    ],
)
def test_json_by_default_and_yaml_on_request(
    things: CollectionDef, anonymous: APIClient, query: str, accept: str, media_type: str
) -> None:
    answer = anonymous.get(f"/api/schema{query}", headers={"Accept": accept})
    assert answer.status_code == 200 and answer["Content-Type"].partition(";")[0] == media_type
    assert yaml.safe_load(answer.content)["openapi"] == "3.1.0"


@pytest.mark.parametrize("query", ["?format=xml", "?lang=de", "?format=json&format=yaml"])
def test_unknown_parameters_are_400(things: CollectionDef, anonymous: APIClient, query: str) -> None:
    assert anonymous.get(f"/api/schema{query}").status_code == 400


def test_the_other_apps_views_are_in_it_once(schema_db: None, anonymous: APIClient) -> None:
    content = read(anonymous)
    assert {"/api/v1/auth/login", "/api/v1/auth/register", "/api/v1/auth/me"} <= set(content["paths"])
    assert not any(path.startswith("/api/auth") or path.endswith("/") for path in content["paths"])


def test_the_account_paths_of_auth_collections_are_about_their_records(make_collection, anonymous: APIClient) -> None:
    make_collection("customers", type="auth", plan="text")
    paths = read(anonymous)["paths"]
    root = "/api/v1/collections/{collection}/auth/"
    ours = {path: item for path, item in paths.items() if path.startswith(root)}
    assert {f"{root}{name}" for name in ("register", "login", "verify-2fa", "refresh", "me", "sessions")} <= ours.keys()
    assert f"{root}api-keys" not in ours and "/api/v1/auth/api-keys" in paths
    for item in ours.values():
        assert all(operation["parameters"][0]["name"] == "collection" for operation in item.values())
    body = {"email": "ann@example.com", "password": "correct-horse-9", "plan": "gold"}
    login = {"email": "ann@example.com", "password": "correct-horse-9"}
    registered = anonymous.post("/api/v1/collections/customers/auth/register", body)
    _holds(ours[f"{root}register"]["post"], registered)
    _holds(ours[f"{root}login"]["post"], anonymous.post("/api/v1/collections/customers/auth/login", login))
    bearer = {"Authorization": f"Bearer {registered.json()['access_token']}"}
    _holds(ours[f"{root}me"]["get"], anonymous.get("/api/v1/collections/customers/auth/me", headers=bearer))


def _holds(operation: Any, answer: Any) -> None:
    schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
    assert answer.status_code < 300
    Draft202012Validator(schema).validate(answer.json())


def test_drf_spectacular_has_nothing_to_complain_about(schema_db: None) -> None:
    GENERATOR_STATS.reset()
    FixedGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS, GENERATOR_STATS.emit_summary()


def test_the_command_line_gets_the_same_document(things: CollectionDef, tmp_path: Path) -> None:
    file = tmp_path / "schema.yaml"
    call_command("spectacular", file=str(file))
    assert "Record_things" in yaml.safe_load(file.read_text())["components"]["schemas"]


def test_the_error_body_is_one_component(schema_db: None, anonymous: APIClient) -> None:
    content = read(anonymous)
    schema = content["components"]["schemas"]["Error"]
    for url in ("/api/v1/collections/nope/records", "/api/v1/auth/me", "/api/schema?x=1"):
        Draft202012Validator(schema).validate(anonymous.get(url).json())
    assert content["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/", "/api/docs", "/api/docs/", "/api/redoc", "/api/redoc/", "/api/schema/"]
)
def test_the_pages_answer_with_and_without_a_slash(schema_db: None, anonymous: APIClient, path: str) -> None:
    assert anonymous.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/api/redoc"])
def test_the_pages_ask_no_other_host(schema_db: None, anonymous: APIClient, path: str) -> None:
    answer = anonymous.get(path)
    assert "http://" not in answer.content.decode() and "https://" not in answer.content.decode()
    assert "default-src 'self'" in answer["Content-Security-Policy"]


def test_the_example_of_a_new_record_can_be_sent_as_it_is(things: CollectionDef, anonymous: APIClient) -> None:
    example = read(anonymous)["components"]["schemas"]["RecordInput_things"]["example"]
    assert len(example) > 15
    answer = anonymous.post("/api/v1/collections/things/records", example)
    assert answer.status_code == 201, answer.content
