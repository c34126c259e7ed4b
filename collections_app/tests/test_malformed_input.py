"""Whatever is sent gets a 4xx that says why, the same on both engines, and changes nothing."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from rest_framework.test import APIClient

from collections_app.tests.web import BATCH, COLLECTIONS, attempt, get, nothing_changes, path

pytestmark = pytest.mark.engine

EVERY_TYPE: dict[str, Any] = {
    "text": "text", "number": "number", "integer": "integer", "decimal": "decimal", "bool": "bool", "email": "email",
    "url": "url", "date": "date", "datetime": "datetime", "time": "time", "json": "json", "editor": "editor",
    "markdown": "markdown", "uuid": "uuid", "slug": "slug", "phone": "phone", "color": "color", "ip": "ip",
    "password": "password", "autodate": "autodate", "geo_point": "geo_point", "file": "file",
    "files": {"type": "file", "file": {"max_files": 3}},
    "select": {"type": "select", "select": {"values": ["a", "b"]}},
    "selects": {"type": "select", "select": {"values": ["a", "b"], "max_select": 2}},
    "relation": {"type": "relation", "relation": {"collection_id": "targets"}},
    "only": {"type": "relation", "relation": {"collection_id": "targets", "type": "one-to-one"}},
    "relations": {"type": "relation", "relation": {"collection_id": "targets", "type": "many-to-many"}},
}  # fmt: skip
RULES = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


@pytest.fixture
def things(make_collection: Any, records: Any) -> str:
    """A public collection with a field of every type, named like it, and one record; answers its id."""
    make_collection("targets", name="text", **RULES)
    make_collection("things", **{f"a_{name}": field for name, field in EVERY_TYPE.items()}, **RULES)
    return str(records("things").create(a_text="x", a_number=1, a_integer=-(2**63), a_time="10:00")["id"])


@pytest.fixture
def client(anonymous: APIClient) -> APIClient:
    anonymous.raise_request_exception = False
    return anonymous


def statuses(client: APIClient, table: dict[str, int], url: str) -> dict[str, int]:
    return {query: get(client, f"{url}?{query}").status_code for query in table}


def same(answers: dict[Any, int], expected: dict[Any, int]) -> None:
    """Fails with a line for each case that was answered otherwise."""
    lines = [f"{str(k)[:120]}: {answers[k]}, not {expected[k]}" for k in expected if answers[k] != expected[k]]
    assert not lines, "\n".join(lines)


LIST_QUERIES = {
    **dict.fromkeys((
        "", "page=", "page=1000000", "per_page=500", "per_page=1", "page=01", "search=", "search=%25", "search=😀",
        "search=_", "search=%5C", "filter=", "sort=", "fields=", "expand=", "cursor=", "skip_total=true",
        "skip_total=0",
        "fields=*", "fields=a_text:excerpt(99999)", "sort=@random",
    ), 200),
    **dict.fromkeys((
        "page=0", "page=-1", "page=abc", "page=1.5", "page=1000000000", "page=1000001", "page=1e3", "page=%20",
        "page=%EF%BC%91", "page=99999999999999999999999999", "per_page=501", "per_page=0", "per_page=-1",
        "per_page=abc",
        "per_page=30.0", "skip_total=maybe", "search=" + "x" * 201,
    ), 422),
    **dict.fromkeys((
        "unknown=1", "page=1&page=2", "filter=a_text=1&filter=a_text=2", "Page=1", "=", "=1", "sort[]=a_text",
        "search=%00", "filter=a_text='%00'", "%00=1", "search=%FF", "search=%ED%A0%80", "filter=%C0%80", "%FF=1",
        "page=1&cursor=", "cursor=&sort=@random", "search=" + "x" * 20_000, "&".join(f"p{n}=1" for n in range(200)),
        "limit=1", "offset=3", "format=json", "per-page=3", "filter=a_text=1;page=2",
    ), 400),
}  # fmt: skip


def test_query_parameters_of_a_list(things: str, client: APIClient) -> None:
    same(statuses(client, LIST_QUERIES, path("things")), LIST_QUERIES)


FILTERS = {
    **dict.fromkeys((
        "a_integer=9223372036854775807", "a_integer=-9223372036854775808", "a_integer=9223372036854775808",
        "a_integer>1e300", "a_integer=1.5", "a_number=9223372036854775808", "a_number<-1e308", "a_number=5e-324",
        "a_decimal=1e40", "a_decimal=0.1234567890123456789", "a_decimal=-0", "a_decimal>'12.50'",
        "a_date>'0001-01-01'",
        "a_date<'9999-12-31T23:59:59.999999Z'", "a_time='10:00'", "a_time>10:00:00.123456", "a_json.a.b.c='x'",
        "a_json=null", "a_json:length>9223372036854775808", "a_geo_point.lon>1e308", "a_geo_point=null", "a_text~5",
        "a_text:length>99999999999999999999", "a_selects?='a'", "a_selects='zzz'", "a_relations='nope'",
        "a_relation.name~'%25'", "a_relation.name~'_'", "a_text~'\\\\'", "a_text='😀'", "a_text='\\''", "1=1",
        "'a'='b'",
        "@request.auth.id=''", "@request.query.filter!=''", "a_bool='true'", "a_text=" + "9" * 500,
        "id='" + "x" * 3000 + "'",
        "||".join(["a_text=1"] * 200), "(" * 19 + "a_text=1" + ")" * 19, "!(" * 19 + "a_text=1" + ")" * 19,
        "a_relations.name?='x'", "@collection.targets.name='x'", "a_integer!=0",
    ), 200),
    **dict.fromkeys((
        "a_number=1e400", "a_number=" + "9" * 400, "a_integer='abc'", "a_integer=0x10", "a_number=NaN",
        "a_number='Infinity'",
        "a_decimal=1_000", "a_decimal='nan'", "a_bool=maybe", "a_date='yesterday'", "a_date='2026-02-30'",
        "a_date>'9999-12-31T23:59:59-14:00'", "a_date<'0001-01-01T00:00:00+14:00'", "a_time='25:00'",
        "a_time='10:00Z'",
        "a_json='x'", "a_json>1", "a_geo_point.alt=1", "a_geo_point='x'", "a_text:each='x'", "a_integer:lower=1",
        "a_text:nothing=1", "a_day=1", "a_text=@now", "a_date=@nothing", "@request.headers.x='1'",
        "@collection.nothing.x=1",
        "@collection.things", "a_password!=''", "a_integer~1", "a_bool~'t'", "a_text", "=", "a_text=", "=1", "&&",
        "||",
        "a_text='x", 'a_text="x', "(a_text=1", "a_text=1)", "a_text=1 a_text=2", "a_text==1", "a_text=1&&",
        "!a_text=1",
        "a_text=1|a_text=2", "a_text<>1", "||".join(["a_text=1"] * 201), "||".join(["a_text=1"] * 10_000),
        "(" * 21 + "a_text=1" + ")" * 21, "!(" * 21 + "a_text=1" + ")" * 21, "(" * 3000 + "a_text=1",
        "a_text='" + "x" * 4000 + "'",
        "a_relation.nothing=1", "a_relation.name.x=1", "a_text.x=1", "a_json..x=1", "a_relation.=1",
        "a_file.x=1", ".".join(["a_relation"] * 50) + "=1", "a_text ?? 1", "a_text='x'; DROP TABLE users",
        "things_via_x.id=1",
    ), 400),
}  # fmt: skip


def test_filters(things: str, client: APIClient) -> None:
    from urllib.parse import quote

    answers = {text: get(client, f"{path('things')}?filter={quote(text)}").status_code for text in FILTERS}
    same(answers, FILTERS)


CHOICES = {
    **dict.fromkeys((
        "sort=-a_text,a_integer", "sort=+a_text", "sort=a_relation.name", "sort=id", "sort=-updated",
        "sort=a_geo_point.lon",
        "expand=a_relation", "expand=a_relations,a_relation", "fields=id,a_text",
        "expand=a_relation.things_via_a_relation",
    ), 200),
    **dict.fromkeys((
        "sort=nothing", "sort=,", "sort=a_text,", "sort=a_text,a_text", "sort=a_text,-a_text", "sort=--a_text",
        "sort=-",
        "sort=a_json", "sort=a_selects", "sort=a_relations", "sort=a_relations.name", "sort=a_geo_point",
        "sort=a_password",
        "sort=@random,a_text", "sort=a_text%20desc", "sort=a_text;", "sort=a_text:lower", "sort=" + "x" * 5000,
        "sort=@now",
        "sort=a_text,a_integer,a_number,a_decimal,a_bool,a_date,a_time,a_url,a_ip", "sort=things_via_a_relation.id",
        "fields=nothing", "fields=a_text:excerpt(1000000)", "fields=a_text:excerpt(-1)", "fields=a_text:excerpt(",
        "fields=a..b",
        "fields=expand.nothing", "fields=expand.a_relation.name", "fields=" + "a_text.," * 300, "fields=a_password",
        "expand=nothing", "expand=a_text", "expand=a_relation..x", "expand=.", "expand=a_relation.nothing",
        "expand=" + ".".join(["a_relation.things_via_a_relation"] * 4), "expand=" + ",".join(["a_relation"] * 101),
        "expand=things_via_a_text", "expand=_via_", "expand=%20a_relation%20b", "expand=Things_via_a_relation",
    ), 400),
}  # fmt: skip


def test_the_largest_filters_that_are_allowed_are_answered(things: str, client: APIClient) -> None:
    """Deep paths and many comparisons: no limit of an engine may turn into a 5xx."""
    from urllib.parse import quote

    hops = "a_relations.things_via_a_relations.a_relation.things_via_a_only.a_only.name"
    for glue in ("||", "&&"):
        for comparison in (
            f"{hops}?~'x'",
            f"{hops}!='x'",
            "a_selects:length>0",
            "a_json.a.b='x'",
            "@collection.targets.name='x'",
        ):
            many = glue.join([comparison] * min(200, 3990 // (len(comparison) + 2)))
            assert get(client, f"{path('things')}?filter={quote(many)}").status_code == 200, (glue, comparison)
    for wrap in (
        "!({})",
        "!({}||a_text=2)",
        "!({}&&a_text=2)",
        "({}||a_text=2)&&a_text!=3",
        "!({}&&a_text!=2)||a_text=3",
    ):
        nested = f"{hops}='x'"
        for _ in range(19):
            nested = wrap.format(nested)
        assert get(client, f"{path('things')}?filter={quote(nested)}").status_code == 200, wrap


def test_sort_fields_and_expand(things: str, client: APIClient) -> None:
    same(statuses(client, CHOICES, path("things")), CHOICES)


def encoded(values: Any) -> str:
    raw = values if isinstance(values, bytes) else orjson.dumps(values)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_cursors_that_this_list_did_not_give(things: str, client: APIClient, records: Any) -> None:
    for number in range(3):
        records("things").create(
            a_text="x", a_number=number, a_integer=-(2**63), a_decimal="1.5", a_bool=True, a_date="2026-01-01",
            a_time=f"1{number}:00",
        )  # fmt: skip
    wrong: dict[str, int] = {}
    bad_for_all = [[], {}, {"a": 1}, [1], "\x00", "x\x00"]
    bad = {
        "a_text": [1, 1.5, True, *bad_for_all],
        "a_number": ["nan", "inf", "x", True, "1e400", *bad_for_all],
        "a_integer": ["nan", "x", True, 10**19, *bad_for_all],
        "a_decimal": ["nan", "Infinity", "x", True, "1e400", *bad_for_all],
        "a_bool": ["x", 2, 1.5, *bad_for_all],
        "a_date": ["x", 1, "2026-13-01", True, "0001-01-01T00:00:00+14:00", *bad_for_all],
        "a_time": ["x", 1, "25:00", "10:00+01:00", True, *bad_for_all],
        "a_geo_point.lon": ["x", True, "nan", *bad_for_all],
        "a_relation.name": [1, True, *bad_for_all],
    }
    for field, values in bad.items():
        for direction in ("", "-"):
            sort = f"{direction}{field}"
            url = f"{path('things')}?per_page=1&sort={sort}"
            real = get(client, f"{url}&cursor=").json()["next_cursor"]
            assert get(client, f"{url}&cursor={real}").status_code == 200
            digest, _, record_id = orjson.loads(base64.urlsafe_b64decode(real + "=="))
            for value in values:
                cursor = encoded([digest, value, record_id])
                wrong[sort, repr(value)] = get(client, f"{url}&cursor={cursor}").status_code
            other_sorts = ["created", "-created", "a_text,a_integer", "id", f"{'-' if not direction else ''}{field}"]
            for other in other_sorts:
                wrong[sort, other] = get(client, f"{path('things')}?sort={other}&cursor={real}").status_code
            for tampered in (real[:-3], real + "AAAA", real[::-1], "x", "=", "%25", "....", "_" * 5000,
            encoded(b"["), encoded(b"\xff"),
                             encoded([digest]), encoded([digest, None, None]), encoded([digest, 1, 2, 3]),
                             encoded("x"), encoded(None),
                             encoded(["other", None, record_id]), encoded(b"[" * 3000),
                             encoded(b'["a", 1e999, "x"]')):  # fmt: skip
                wrong[sort, tampered] = get(client, f"{url}&cursor={tampered}").status_code
    assert not {str(key)[:150]: status for key, status in wrong.items() if status != 400}


ODD_IDS = [
    "x" * 5000,
    "%00",
    "a%00b",
    "a%2Fb",
    "%2F",
    "..",
    "%2E%2E",
    "%FF",
    "%ED%A0%80",
    "%20",
    "😀",
    "'",
    '"',
    "%25",
    "a;b",
    "-1",
    "null",
]


def test_ids_that_cannot_be(things: str, client: APIClient) -> None:
    answers = {}
    with nothing_changes():
        for odd in ODD_IDS:
            url = path("things", odd)
            answers[odd, "GET"] = get(client, url).status_code
            answers[odd, "DELETE"] = client.generic("DELETE", url).status_code
            for method in ("PATCH", "PUT"):
                answers[odd, method] = client.generic(method, url, b"{}", "application/json").status_code
            answers[odd, "collection"] = get(client, path(odd)).status_code
            answers[odd, "definition"] = get(client, f"{COLLECTIONS}/{odd}").status_code
            for method in ("PATCH", "PUT", "DELETE"):
                request = {"method": method, "collection": "things", "id": odd[:5000], "data": {"id": "y"}}
                if method == "PUT":
                    continue
                answers[odd, "batch", method] = client.post(BATCH, {"requests": [request]}).status_code
    assert not {key: status for key, status in answers.items() if status != 404}


def test_a_record_is_not_made_under_an_impossible_id(things: str, client: APIClient) -> None:
    answers = {}
    with nothing_changes():
        for odd in [
            "bulk-delete",
            "bulk-update",
            "export",
            "x" * 65,
            "a/b",
            "a b",
            "..",
            "é",
            "'",
            5,
            True,
            ["a"],
            {"a": 1},
            "a\n",
            "a\u2028",
        ]:
            answers[repr(odd), "POST"] = client.post(path("things"), {"id": odd}).status_code
            batch = {"requests": [{"method": "POST", "collection": "things", "data": {"id": odd}}]}
            answers[repr(odd), "batch"] = client.post(BATCH, batch).status_code
            if isinstance(odd, str):
                upsert = {"requests": [{"method": "PUT", "collection": "things", "id": odd, "data": {}}]}
                answers[repr(odd), "PUT"] = client.post(BATCH, upsert).status_code
    assert not {key: status for key, status in answers.items() if status != 422}


DEEP = b'{"a_json":' + b"[" * 5000 + b"]" * 5000 + b"}"
BODIES: dict[bytes, int] = {
    **dict.fromkeys((
        b"null", b"5", b'"x"', b"true", b"[]", b"[{}]", b"{", b"}", b"{]", b"{'a': 1}", b'{"a_number":NaN}',
        b"\xff", b"\x00",
        b'{"a_number":Infinity}', b'{"a_number":-Infinity}', b'{"a_text":"\\ud800"}', b'{"a_text":"\\udc00\\ud800"}',
        b'{"a_text":"\xed\xa0\x80"}', b'{"a_text":"\xff"}', b'{"a_text":"a\\u0000b"}', b'{"a_json":{"\\u0000":1}}',
        b'{"a_json":["\\u0000"]}', b'{"a_text":"\x00"}', b'{"a_text":"a\nb"}', DEEP,
        b'{"a_json":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        b'{"a_json":' + b"[" * 70 + b"]" * 70 + b"}", '{"a_text":"x"}'.encode("utf-16"), b'{"a_text":01}',
        b'{"a_text":.5}',
        b'{"a_text":"x"} {"a_text":"y"}', b'{"a_text":"x"}x', b'{"a_text":"x",}', b'{"data":{"a_text":"\\ud800"}}',
        b"{" * 100_000,
        b'{"a_json":1e400}', b'{"a_number":1e400}', b'{"a_json":[-1e400]}',
    ), 400),
    **dict.fromkeys((
        b'{"a_integer":9223372036854775808}', b'{"a_integer":-9223372036854775809}',
        b'{"a_integer":1.5}', b'{"a_integer":1e300}', b'{"a_decimal":9223372036854775808}', b'{"nothing":1}',
        b'{"a_text ":1}', b'{"":1}',
        b'{"A_text":1}', b'{"a_text\\u202e":1}', b'{"data":{"nothing":1}}', b'{"data":5}', b'{"data":null}',
        b'{"data":{},"a_text":"x"}',
        b'{"expand":{}}', b'{"a_text++":1}', b'{"+a_text":"x"}', b'{"a_integer+":"x"}', b'{"a_integer+":1e300}',
        b'{"a_integer+":true}',
        b'{"a_number+":"1e400"}', b'{"a_number-":{}}', b'{"a_selects+":{}}', b'{"a_selects+":5}',
        b'{"a_relations+":[1]}',
        b'{"a_bool+":1}', b'{"a_json+":1}', b'{"a_text+":"x"}', b'{"a_autodate":"2026-01-01"}',
        b'{"a_file":"x.png"}', b'{"a_files":["x.png"]}',
    ), 422),
    **dict.fromkeys((
        b"{}", b'{"data":{}}', b'{"a_text":"a","a_text":"b"}', b'{"a_json":' + b"[" * 60 + b"]" * 60 + b"}",
        b'{"a_integer":-9223372036854775808}',
        b'{"a_number":5e-324}', b'{"a_number":-0.0}', b'{"a_number":1.7976931348623157e308}',
        b'{"a_json":18446744073709551615}', b'{"a_text":"\\u0001"}',
        b'{"a_json":1e30}', b' {"a_text":"\\ud83d\\ude00"} ', b'{"created":"x","updated":5,"collection":[]}',
        b'{"id":""}', b'{"id":null}',
    ), 201),
}  # fmt: skip


def test_bodies(things: str, client: APIClient) -> None:
    answers, expected = {}, {}
    for body, status in BODIES.items():
        for method, url in (("POST", path("things")), ("PATCH", path("things", things))):
            response = attempt(lambda: client.generic(method, url, body, "application/json"))  # noqa: B023
            answers[method, body] = response.status_code
            expected[method, body] = 200 if (status, method) == (201, "PATCH") else status
    expected |= {("PATCH", body): 422 for body in BODIES if body.startswith(b'{"id"')}
    same(answers, expected)


def test_a_record_of_a_thousand_keys_is_refused_before_each_is_told(things: str, client: APIClient) -> None:
    body = {f"unknown{number}": 1 for number in range(1001)}
    with nothing_changes():
        for data in (body, {"data": body}):
            assert client.post(path("things"), data).status_code == 400
            assert client.patch(path("things", things), data).status_code == 400


def test_an_integer_of_400_digits_is_refused(things: str, client: APIClient) -> None:
    for field in ("number", "integer", "decimal", "json", "text"):
        for digits in (b"9" * 400, b"-" + b"9" * 400, b"9" * 5000):
            with nothing_changes():
                body = b'{"a_%s":%s}' % (field.encode(), digits)
                status = client.generic("POST", path("things"), body, "application/json").status_code
            assert status in (400, 422), (field, digits[:3])


SCALARS = ["x", "", 5, 1.5, True, False, None]
WRONG_SHAPES: list[Any] = [
    {"a": 1},
    [[]],
    [{"a": 1}],
    [None],
    {"lon": 1},
    [["a"]],
    [1, 2],
    [True],
    ["x", "y", "z"],
    "[",
    '["a"',
    "{",
]
# field → what it takes of the above, after all
TAKES: dict[str, list[Any]] = {
    "json": WRONG_SHAPES, "text": ["[", '["a"', "{"], "editor": ["[", '["a"', "{"], "markdown": ["[", '["a"', "{"],
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY_TYPE)
def test_shapes_that_a_field_cannot_hold(things: str, client: APIClient, name: str) -> None:
    answers: dict[Any, int] = {}
    expected: dict[Any, int] = {}
    for value in WRONG_SHAPES:
        fits = value in TAKES.get(name, [])
        for method, url in (("POST", path("things")), ("PATCH", path("things", things))):
            key, body = (method, repr(value)), orjson.dumps({f"a_{name}": value})
            response = attempt(lambda: client.generic(method, url, body, "application/json"))  # noqa: B023
            answers[key] = response.status_code
            expected[key] = (201 if method == "POST" else 200) if fits else 422
    same(answers, expected)


VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    # field: (taken, refused with 422)
    "text": (["x", 5, 1.5, "", None, "😀" * 1000], [True]),
    "number": ([5, -1.5, "5", " 5 ", "1e3", None, ""], ["x", True, "1_000", "NaN", "inf", "-Infinity", "1e400",
    "0x10"]),
    "integer": ([5, 5.0, "5", "-5", 2**63 - 1, None], ["5.5", 5.5, "1e3", True, 2**63, -(2**63) - 1, "9" * 100,
    "0x10", "NaN"]),
    "decimal": ([5, "5.25", "-0.00", "1e3", 0.1, "000000000000001", None], ["x", True, "NaN", "1e15", "1e999999",
    "0.1234567890123456", "9" * 61, "sNaN"]),
    "bool": ([True, 1, "yes", "off", None], ["maybe", 2, 1.5, "truee", "2"]),
    "email": (["a@b.co", " a@b.co ", None], ["x", "a@b", "@b.co", 5, "a@b.co\n.x", "a" * 250 + "@b.co"]),
    "url": (["https://a.co/x?y#z", None], ["x", "javascript:alert(1)", "ftp://a.co", "//a.co", "http://",
    "https://[::1", "http://a b", 5]),
    "date": (["2026-01-15", "2026-01-15T10:00:00+02:00", None], ["x", "2026-02-30", "10000-01-01", "0000-01-01", 5,
    True, "2026-01-15T25:00", "9999-12-31T23:59:59-14:00"]),
    "datetime": (["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-01-15 10:00"],
    ["0001-01-01T00:00:00+14:00", "2026-01-15T10:00:60Z", "1" * 70, 1768471200]),
    "time": (["10:00", "10:00:00.5"], ["25:00", "10:00Z", "10", 5, "10:00+01:00", "x"]),
    "select": (["a", ["a"], None, ""], ["c", 5, True, "A", "a "]),
    "selects": (["a", ["a", "b"], ["a", "a"], [], '["a"]'], [["a", "c"], 5, "c", [""]]),
    "relation": ([None, "", []], ["nope", "x" * 65, 5, "a\u2028b"]),
    "only": ([None, ""], ["nope", ["nope"]]),
    "relations": ([[], None], [["nope"], "nope", ["x" * 65], [5], ["n"] * 1000 + ["m"],
    [str(n) for n in range(2000)]]),
    "uuid": (["6f1b2c3d-0000-4000-8000-000000000000", "6F1B2C3D000040008000000000000000"], ["x", 5, "6f1b2c3d"]),
    "slug": (["a-b_1", 5], ["a b", "é", "a/b", "x" * 256, ]),
    "phone": (["+49 30 123456"], ["x", "12", "+49x"]),
    "color": (["#fff", "#12ab34"], ["red", "#ggg", "#12345"]),
    "ip": (["127.0.0.1", "::1"], ["x", "256.1.1.1", "1.1.1.1/8"]),
    "password": (["long enough"], ["short", "x" * 129, 5, True]),
    "geo_point": ([{"lon": 1, "lat": 2}, '{"lon": 1, "lat": 2}', None], [{"lon": 181, "lat": 0}, {"lon": "1",
    "lat": 2}, {"lon": True, "lat": 2}, {"lon": 1, "lat": 2, "alt": 3}, "x", 5, [1, 2]]),
    "json": ([5, "x", [], {}, None, {"a": [1, {"b": None}]}, True], ["x" * 1_000_001]),
    "editor": (["<p>x</p>", "<b", 5], [True]),
}  # fmt: skip


def test_values_of_every_type(things: str, client: APIClient) -> None:
    answers: dict[Any, int] = {}
    expected: dict[Any, int] = {}
    for name, (taken, refused) in VALUES.items():
        for value in [*taken, *refused]:
            key = (name, repr(value)[:60])
            expected[key] = 201 if value in taken and any(value is t for t in taken) else 422
            response = attempt(lambda: client.post(path("things"), {f"a_{name}": value}))  # noqa: B023
            answers[key] = response.status_code
            if response.status_code == 422:
                assert list(response.json()["fields"]) == [f"a_{name}"], key
    same(answers, expected)


def test_types_of_content(things: str, client: APIClient, settings: Any) -> None:
    boundary = "multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="a_text"\r\n\r\nx\r\n--b--\r\n'
    table = {
        ("text/plain", b'{"a_text":"x"}'): 415, ("application/xml", b"<x/>"): 415, ("application/octet-stream",
        b"\x00"): 415,
        ("", b'{"a_text":"x"}'): 415, ("nonsense", b"{}"): 415, ("application/json; charset=utf-8",
        b'{"a_text":"x"}'): 201,
        ("application/json", b""): 201, ("application/x-www-form-urlencoded", b""): 201,
        ("application/x-www-form-urlencoded", b"a_text=x"): 201, ("application/x-www-form-urlencoded",
        b"a_text=%00"): 400,
        ("application/x-www-form-urlencoded", b"a_text=a\x00b"): 400, ("application/x-www-form-urlencoded",
        b"a_text=%FF"): 400,
        ("application/x-www-form-urlencoded", b"a_text=\xff"): 400, ("application/x-www-form-urlencoded",
        b"a_text=%ED%A0%80"): 400,
        ("application/x-www-form-urlencoded", b"a_text=1&a_text=2"): 400, ("application/x-www-form-urlencoded",
        b"nothing=1"): 422,
        ("application/x-www-form-urlencoded", b"&".join(b"f%d=1" % n for n in range(1100))): 400,
        ("application/x-www-form-urlencoded", b"a_json={"): 422, ("application/x-www-form-urlencoded",
        b"a_json=%5B1%5D"): 201,
        ("application/x-www-form-urlencoded", b"a_json=" + b"[" * 5000): 422, ("application/x-www-form-urlencoded",
        b"a_selects=a&a_selects=b"): 201,
        ("application/x-www-form-urlencoded", b"a_integer=x&a_bool=q"): 422,
        (boundary, part): 201, ("multipart/form-data", part): 400, (boundary, b"garbage"): 400,
        (boundary, part.replace(b"\r\nx\r\n", b"\r\n\x00\r\n")): 400,
        (boundary, b""): 201, ("multipart/form-data; boundary=" + "b" * 300, part): 415,
    }  # fmt: skip
    answers = {}
    for content_type, body in table:
        response = attempt(lambda: client.generic("POST", path("things"), body, content_type))  # noqa: B023
        answers[content_type, body] = response.status_code
    same(answers, table)


def test_bodies_that_are_too_large(things: str, client: APIClient, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    url = path("things")
    with nothing_changes():
        for content_type, body in (
            ("application/json", b'{"a_text":"' + b"x" * 1000 + b'"}'),
            ("application/json", b"[" * 1001),
            ("application/x-www-form-urlencoded", b"a_text=" + b"x" * 1000),
            ("multipart/form-data; boundary=b",
             b'--b\r\nContent-Disposition: form-data; name="a_text"\r\n\r\n' + b"x" * 1001 + b"\r\n--b--\r\n"),
        ):  # fmt: skip
            for method, target in (
                ("POST", url),
                ("PATCH", path("things", things)),
                ("POST", BATCH),
                ("POST", path("things", "bulk-delete")),
            ):
                refusal = client.generic(method, target, body, content_type)
                assert (refusal.status_code, refusal.json()["error_code"]) == (413, "PAYLOAD_TOO_LARGE"), (
                    content_type,
                    target,
                )


def test_methods_that_mean_nothing_here(things: str, client: APIClient) -> None:
    refused = {
        path("things"): ("PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"),
        path("things", things): ("POST", "TRACE", "MKCOL"),
        path("things", "bulk-delete"): ("GET", "PUT", "DELETE", "PATCH"),
        path("things", "bulk-update"): ("GET", "PUT", "DELETE"),
        BATCH: ("GET", "PUT", "DELETE", "PATCH"),
        COLLECTIONS: ("PUT", "PATCH", "DELETE"),
        f"{COLLECTIONS}/things": ("POST", "TRACE"),
    }
    with nothing_changes():
        for url, methods in refused.items():
            for method in methods:
                response = client.generic(method, url, b"{}", "application/json")
                assert (response.status_code, response.json()["error_code"]) == (405, "METHOD_NOT_ALLOWED"), (
                    method,
                    url,
                )
                assert "Allow" in response.headers
            for method in ("OPTIONS", "HEAD"):
                assert client.generic(method, url).status_code in (200, 204, 405), (method, url)


def test_headers_that_make_no_sense(things: str, client: APIClient) -> None:
    url = path("things", things)
    with nothing_changes():
        for value in ("x", "", '"', '"x"', "W/", ",", '"a", "b"', "é", "x" * 5000, "'*'"):
            assert client.patch(url, {"a_text": "y"}, HTTP_IF_MATCH=value).status_code == 412, value
            assert client.delete(url, HTTP_IF_MATCH=value).status_code == 412, value
            assert get(client, url, if_none_match=value).status_code == 200, value
        for value in ("", "x" * 256, "a\x7fb", "a\tb", " ", "\x00"):
            assert client.post(path("things"), {}, HTTP_IDEMPOTENCY_KEY=value).status_code == 400, repr(value)
            assert (
                client.post(
                    BATCH, {"requests": [{"method": "POST", "collection": "things"}]}, HTTP_IDEMPOTENCY_KEY=value
                ).status_code
                == 400
            )
        for value in (
            "Bearer",
            "Bearer x",
            "Bearer " + "x" * 10_000,
            "Bearer a.b.c",
            "bearer \xff",
            "Bearer " + "e30." * 3,
        ):
            assert client.get(path("things"), HTTP_AUTHORIZATION=value).status_code == 401, value


def test_bulk_bodies(things: str, client: APIClient, admin: Any, as_user: Any) -> None:
    admin_client = as_user(admin)
    admin_client.raise_request_exception = False
    shared: dict[str, int] = {
        "null": 400, "[]": 400, "5": 400, "{}": 422, '{"record_ids":[]}': 422, '{"record_ids":"x"}': 422,
        '{"record_ids":{}}': 422,
        '{"record_ids":[1]}': 422, '{"record_ids":[null]}': 422, '{"record_ids":[["x"]]}': 422,
        '{"record_ids":["x"],"more":1}': 422,
        orjson.dumps({"record_ids": ["x"] * 101}).decode(): 422, '{"data":{"record_ids":["x"]}}': 422,
        '{"record_ids":["a\\u0000"]}': 400,
    }  # fmt: skip
    for way, table in {
        "bulk-delete": {**shared, '{"record_ids":["x"],"data":{}}': 422},
        "bulk-update": {
            **shared, '{"record_ids":["x"]}': 422, '{"record_ids":["x"],"data":{}}': 422,
            '{"record_ids":["x"],"data":[]}': 422,
            '{"record_ids":["x"],"data":null}': 422, '{"record_ids":["x"],"data":"x"}': 422,
        },
    }.items():  # fmt: skip
        with nothing_changes():
            url = path("things", way)
            answers = {b: admin_client.generic("POST", url, b.encode(), "application/json").status_code for b in table}
            same(answers, table)
            assert client.generic("POST", url, b"{}", "application/json").status_code == 401
            odd = {
                "record_ids": ["x" * 5000, "", "a/b", "é"],
                **({"data": {"a_text": "x"}} if way == "bulk-update" else {}),
            }
            told = admin_client.post(url, odd)
            assert (told.status_code, told.json()["failed"]) == (200, 4)


def test_batch_bodies(things: str, client: APIClient) -> None:
    one = {"method": "POST", "collection": "things", "data": {}}
    table: dict[Any, int] = {
        "null": 400, "[]": 400, "{}": 422, '{"requests":{}}': 422, '{"requests":[]}': 422, '{"requests":[1]}': 422,
        '{"requests":[[]]}': 422,
        '{"requests":[{}]}': 422, '{"requests":[{"method":"GET","collection":"things"}]}': 422,
        '{"requests":[{"method":"post","collection":"things"}]}': 422,
        '{"requests":[{"method":["POST"],"collection":"things"}]}': 422,
        '{"requests":[{"method":{},"collection":"things"}]}': 422,
        '{"requests":[{"method":"POST","collection":["things"]}]}': 422,
        '{"requests":[{"method":"POST","collection":"nothing"}]}': 404,
        '{"requests":[{"method":"PATCH","collection":"things"}]}': 422,
        '{"requests":[{"method":"PATCH","collection":"things","id":5}]}': 422,
        '{"requests":[{"method":"POST","collection":"things","data":[]}]}': 400,
        '{"requests":[{"method":"POST","collection":"things","data":null}]}': 400,
        '{"requests":[{"method":"POST","collection":"things","body":{}}]}': 422,
        '{"requests":[{"method":"POST","collection":"things","id":5}]}': 422,
        '{"requests":[{"method":"POST","collection":"things","data":{"nothing":1}}]}': 422,
        '{"requests":[],"more":1}': 422,
        orjson.dumps({"requests": [one] * 1001}).decode(): 422, orjson.dumps({"requests": [one, {"method": "DELETE",
        "collection": "things", "id": "x"}]}).decode(): 404,
    }  # fmt: skip
    with nothing_changes():
        answers = {body: client.generic("POST", BATCH, body.encode(), "application/json").status_code for body in table}
    same(answers, table)
