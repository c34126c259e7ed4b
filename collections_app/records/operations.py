"""What a client can do with records: plain functions from a call to an answer in bytes.

Whoever speaks HTTP (DRF's views, the ASGI lane) builds a :class:`Call` and
writes the :class:`Answer`; everything in between is here and below. Refusals
are raised as :mod:`core.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dc_field
from typing import Any

from accounts.principals import ANONYMOUS, Principal
from collections_app.records import access, idempotency, passwords, query, read, write
from collections_app.records.codec import Record
from collections_app.records.unit_of_work import UnitOfWork, savepoint, unit_of_work
from collections_app.rules import RuleEnv
from collections_app.schema.definition import CollectionDef
from collections_app.schema.registry import with_schema
from collections_app.schema.service import require_writable
from collections_app.schema.snapshot import Snapshot
from core import clock, database
from core.errors import BadRequest, DomainError, Forbidden, NotFound, Unauthorized, ValidationFailed

MAX_BULK = 100
MAX_BATCH = 1000
MAX_PASSWORDS = 50  # of a batch, and 1 of nobody's: each takes as long as hundreds of records
# More than a record with every field and modifier has; each unknown one is told in the refusal.
MAX_KEYS = 1000
_METHODS = ("POST", "PATCH", "PUT", "DELETE")


@dataclass(slots=True)
class Call:
    """One request: who asks, how, and with which headers that matter here.

    ``caller`` names the caller for idempotency, an address where nobody signed in.
    """

    principal: Principal = ANONYMOUS
    method: str = "GET"
    query_string: str = ""
    if_match: str | None = None
    if_none_match: str | None = None
    idempotency_key: str | None = None
    caller: str = ""
    path: str = ""

    def wanted(self, collection: CollectionDef, known: frozenset[str]) -> query.Query:
        """The query parameters, checked; what the collection's rules ask for may be among them."""
        asked_by_rules = access.parameters(collection)
        return query.parse(self.query_string, known | asked_by_rules if asked_by_rules else known)

    def env(self, wanted: query.Query) -> RuleEnv:
        return RuleEnv(principal=self.principal, method=self.method, query=wanted.raw, now=clock.now())


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, JSON bytes (none for 204 and 304) and headers."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = dc_field(default_factory=dict)


def record_list(call: Call, name: str) -> Answer:
    """``GET …/records``."""

    def unit(snapshot: Snapshot) -> tuple[Answer, RuleEnv]:
        collection = snapshot.get(name)
        wanted = call.wanted(collection, query.LIST_PARAMETERS)
        env = call.env(wanted)
        return Answer(200, read.dump(read.list_page(collection, wanted, env, snapshot))), env

    return _read(call, ("list", name), unit)


def record_get(call: Call, name: str, record_id: str) -> Answer:
    """``GET …/records/{id}``, with ETag; 304 where If-None-Match still holds."""

    def unit(snapshot: Snapshot) -> tuple[Answer, RuleEnv]:
        collection = snapshot.get(name)
        wanted = call.wanted(collection, query.SINGLE_PARAMETERS)
        env = call.env(wanted)
        record, version = read.get(collection, record_id, wanted, env, snapshot)
        body = read.dump(record)
        return Answer(200, body, {"ETag": read.etag(version, body, wanted)}), env

    answer = _read(call, ("get", name, record_id), unit)
    if call.if_none_match and read.none_matches(call.if_none_match, answer.headers["ETag"]):
        return Answer(304, headers=answer.headers)
    return answer


def record_create(call: Call, name: str, body: Any) -> Answer:
    """``POST …/records``: 201 and the record as written."""
    data = unwrap(body)

    def work(work: UnitOfWork, collection: CollectionDef, env: RuleEnv, data: Any) -> tuple[int, Record]:
        return 201, write.record_create(work, collection, data, env)

    return _write(call, name, "create", data, work)


def record_update(call: Call, name: str, record_id: str, body: Any) -> Answer:
    """``PATCH`` and ``PUT …/records/{id}``: 200 and the record as it is now."""
    data = unwrap(body)

    def work(work: UnitOfWork, collection: CollectionDef, env: RuleEnv, data: Any) -> tuple[int, Record]:
        return 200, write.record_update(work, collection, record_id, data, env, if_match=call.if_match)

    return _write(call, name, "update", data, work)


def record_delete(call: Call, name: str, record_id: str) -> Answer:
    """``DELETE …/records/{id}``: 204."""

    def work(work: UnitOfWork, collection: CollectionDef, env: RuleEnv, data: Any) -> tuple[int, None]:
        write.record_delete(work, collection, record_id, env, if_match=call.if_match)
        return 204, None

    return _write(call, name, "delete", None, work)


def bulk_update(call: Call, name: str, body: Any) -> Answer:
    """``POST …/records/bulk-update``: each record by itself, in one transaction."""
    record_ids, data = _bulk_body(call, body, ("record_ids", "data"))
    if not isinstance(data, Mapping) or not data:
        raise ValidationFailed(fields={"data": ["Expected an object with the fields to change."]})

    def one(work: UnitOfWork, collection: CollectionDef, record_id: str, env: RuleEnv, data: Any) -> None:
        write.record_update(work, collection, record_id, data, env)

    return _bulk(call, name, record_ids, body, data, one)


def bulk_delete(call: Call, name: str, body: Any) -> Answer:
    """``POST …/records/bulk-delete``: each record by itself, in one transaction."""
    record_ids, _ = _bulk_body(call, body, ("record_ids",))

    def one(work: UnitOfWork, collection: CollectionDef, record_id: str, env: RuleEnv, data: Any) -> None:
        write.record_delete(work, collection, record_id, env)

    return _bulk(call, name, record_ids, body, None, one)


def batch(call: Call, body: Any) -> Answer:
    """``POST /batch``: all requests in one transaction, or one error with its index and nothing done."""
    if not isinstance(body, Mapping):
        raise BadRequest("Expected a JSON object.")
    requests = body.get("requests")
    if not isinstance(requests, list) or set(body) != {"requests"}:
        raise ValidationFailed(fields={"requests": ["Expected a list of requests."]})
    if not 1 <= len(requests) <= MAX_BATCH:
        raise ValidationFailed(fields={"requests": [f"Expected 1 to {MAX_BATCH} requests."]})

    def unit(snapshot: Snapshot) -> Answer:
        query.parse(call.query_string, frozenset())
        ready = _with_hashes(call, requests, snapshot)

        def effect(work: UnitOfWork) -> Answer:
            results = []
            for index, request in enumerate(ready):
                try:
                    results.append(_batch_one(work, call, request))
                except DomainError as error:
                    raise _at(error, index) from error
            return Answer(200, read.dump({"results": results}))

        return _once(call, snapshot, body, effect)

    return with_schema(unit)


def _with_hashes(call: Call, requests: Sequence[Any], snapshot: Snapshot) -> list[Any]:
    """The requests, their passwords hashed. What else is wrong with one is told when its turn comes."""
    ready, hashes = list(requests), 0
    most = 1 if call.principal.is_anonymous else MAX_PASSWORDS
    for index, request in enumerate(requests):
        data = request.get("data") if isinstance(request, Mapping) else None
        name = str(request.get("collection")) if isinstance(data, Mapping) else ""
        collection = snapshot.by_name.get(name) or snapshot.by_id.get(name)
        if not isinstance(data, Mapping) or collection is None or not passwords.names(collection):
            continue
        sent = data["data"] if len(data) == 1 and isinstance(data.get("data"), Mapping) else data
        env = RuleEnv(principal=call.principal, method=str(request.get("method")), body=sent)
        rule = "create" if request.get("method") == "POST" else "update"
        hashed = passwords.ahead(collection, rule, sent, env, snapshot)
        if hashed is not sent:
            hashes += 1
            if hashes > most:
                raise ValidationFailed(fields={"requests": [f"At most {most} may set a password."]})
            ready[index] = {**request, "data": hashed}
    return ready


def _at(error: DomainError, index: int) -> DomainError:
    """The same refusal, saying which request of the batch it is about."""
    return type(error)(
        f"Request {index}: {error.message}",
        fields=error.fields,
        headers=error.headers,
        extra={**error.extra, "index": index},
    )


def _batch_one(work: UnitOfWork, call: Call, request: Any) -> dict[str, Any]:
    if not isinstance(request, Mapping):
        raise ValidationFailed("Expected an object with method and collection.")
    unknown = sorted(set(map(str, request)) - {"method", "collection", "id", "data"})
    method, name, record_id = request.get("method"), request.get("collection"), request.get("id")
    problems: dict[str, list[str]] = {key[:50]: ["Unknown key."] for key in unknown}
    if method not in _METHODS:
        problems["method"] = [f"Must be one of {', '.join(_METHODS)}."]
    if not isinstance(name, str):
        problems["collection"] = ["Expected the name of a collection."]
    if method in ("PATCH", "PUT", "DELETE") and not isinstance(record_id, str):
        problems["id"] = ["Expected the id of a record."]
    if problems:
        raise ValidationFailed(fields=problems)
    collection = work.snapshot.get(str(name))
    env = RuleEnv(principal=call.principal, method=str(method), query={}, now=work.now)
    if method == "DELETE":
        write.record_delete(work, collection, str(record_id), env)
        return {"status": 204, "record": None}
    data = unwrap(request.get("data", {}))
    if method == "POST":
        if record_id is not None:
            data = {**data, "id": record_id}
        status, record = 201, write.record_create(work, collection, data, env)
    elif method == "PATCH":
        status, record = 200, write.record_update(work, collection, str(record_id), data, env)
    else:
        record, new = write.record_upsert(work, collection, str(record_id), data, env)
        status = 201 if new else 200
    shown = read.as_written(collection, record, query.Query(), env, work.snapshot, created=status == 201)
    return {"status": status, "record": shown}


def unwrap(body: Any) -> Mapping[str, Any]:
    """The fields of a request body, which may stand under ``data``."""
    if not isinstance(body, Mapping):
        raise BadRequest("Expected a JSON object.")
    data: Mapping[str, Any] = body
    if len(body) == 1 and isinstance(body.get("data"), Mapping):
        data = body["data"]
    if len(data) > MAX_KEYS:
        raise BadRequest(f"A record has at most {MAX_KEYS} keys.")
    return data


def _read(call: Call, what: tuple[str, ...], unit: Callable[[Snapshot], tuple[Answer, RuleEnv]]) -> Answer:
    """What the unit answers, which is the same to the same question while the data stays as it is."""
    key = (*what, call.method, call.query_string, id(call.principal))
    with database.reading() as session:
        known: tuple[Principal, Answer] | None = session.memo.get(key)
        if known is not None:
            return known[1]
        answer, env = with_schema(unit, reads=True)
        if not env.fleeting:
            # With the principal, so that no other can come to have its id.
            session.remember(key, (call.principal, answer), len(answer.body) + len(call.query_string) + 1000)
        return answer


def _write(
    call: Call,
    name: str,
    rule: str,
    data: Mapping[str, Any] | None,
    action: Callable[[UnitOfWork, CollectionDef, RuleEnv, Any], tuple[int, Record | None]],
) -> Answer:
    """One record's write in its unit of work; repeated as a whole if the schema moves."""

    def unit(snapshot: Snapshot) -> Answer:
        collection = snapshot.get(name)
        shown = frozenset[str]() if call.method == "DELETE" else query.SINGLE_PARAMETERS
        wanted = call.wanted(collection, shown)
        env = call.env(wanted)
        ready = None if data is None else passwords.ahead(collection, rule, data, replace(env, body=data), snapshot)

        def effect(work: UnitOfWork) -> Answer:
            status, record = action(work, collection, env, ready)
            if record is None:
                return Answer(status)
            # Only now: what fields there are is not told to those who may not write here.
            answer = read.as_written(collection, record, wanted, env, snapshot, created=status == 201)
            body = read.dump(answer)
            return Answer(status, body, {"ETag": read.etag(read.version(collection, record), body, wanted)})

        return _once(call, snapshot, data, effect)

    return with_schema(unit)


def _once(call: Call, snapshot: Snapshot, data: Any, effect: Callable[[UnitOfWork], Answer]) -> Answer:
    """The effect in one transaction; with an Idempotency-Key its answer too, for whoever repeats it."""
    claim = _claim(call, data)
    if isinstance(claim, idempotency.Earlier):
        return _again(claim)
    try:
        with unit_of_work(snapshot, call.principal) as work:
            answer = effect(work)
            if claim is not None:
                claim.answer(answer.status, answer.body)
    except BaseException:
        if claim is not None:
            claim.release()
        raise
    return answer


def _claim(call: Call, data: Any) -> idempotency.Claim | idempotency.Earlier | None:
    if call.idempotency_key is None or call.method != "POST":
        return None
    caller = call.principal.key or f"anonymous:{call.caller}"
    if call.principal.scope is not None:
        caller += f":{call.principal.scope.key_id}"  # what its owner was answered may be more than it may see
    target = f"{call.path}?{call.query_string}" if call.query_string else call.path
    return idempotency.claim(caller, call.idempotency_key, idempotency.fingerprint(target, data))


def _again(earlier: idempotency.Earlier) -> Answer:
    return Answer(earlier.status, earlier.body, {"Idempotency-Replayed": "true"})


def _bulk_body(call: Call, body: Any, keys: Sequence[str]) -> tuple[list[str], Any]:
    if call.principal.is_anonymous:
        raise Unauthorized()
    if not isinstance(body, Mapping):
        raise BadRequest("Expected a JSON object.")
    problems = {str(key)[:50]: ["Unknown key."] for key in body if key not in keys}
    record_ids = body.get("record_ids")
    if not isinstance(record_ids, list) or not all(isinstance(item, str) for item in record_ids):
        problems["record_ids"] = ["Expected a list of record ids."]
    elif not 1 <= len(record_ids) <= MAX_BULK:
        problems["record_ids"] = [f"Expected 1 to {MAX_BULK} ids."]
    if problems:
        raise ValidationFailed(fields=problems)
    return list(record_ids or []), body.get("data")


def _bulk(
    call: Call,
    name: str,
    record_ids: Sequence[str],
    body: Any,
    data: Mapping[str, Any] | None,
    one: Callable[[UnitOfWork, CollectionDef, str, RuleEnv, Any], None],
) -> Answer:
    def unit(snapshot: Snapshot) -> Answer:
        collection = snapshot.get(name)
        require_writable(collection)
        env = call.env(call.wanted(collection, frozenset()))
        ready = None if data is None else passwords.ahead(collection, "update", data, replace(env, body=data), snapshot)

        def effect(work: UnitOfWork) -> Answer:
            errors: list[dict[str, str]] = []
            for record_id in record_ids:
                try:
                    with savepoint(work):
                        one(work, collection, record_id, env, ready)
                except DomainError as error:
                    errors.append({"record_id": record_id, "error": _sentence(error)})
            done = len(record_ids) - len(errors)
            return Answer(200, read.dump({"success": done, "failed": len(errors), "errors": errors or None}))

        return _once(call, snapshot, body, effect)

    return with_schema(unit)


def _sentence(error: DomainError) -> str:
    if isinstance(error, NotFound):
        return "Record not found"
    if isinstance(error, Forbidden):
        return "Insufficient permissions"
    if error.fields:
        return "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.fields.items())
    return error.message
