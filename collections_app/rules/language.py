"""Rules and filters, compiled: the public face of the language."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accounts.principals import Principal
from collections_app import dialects
from collections_app.rules import syntax, values
from collections_app.rules.conditions import All, Any_, Comparison, Negation, SomeRow
from collections_app.rules.env import RuleEnv
from collections_app.rules.fragments import Builder, Slot, Sql
from collections_app.rules.names import Const, Dynamic, Mention, Moment, Operand, Path, Scope, resolve
from collections_app.rules.paths import Related, Source
from collections_app.rules.request_values import dynamic_value, raw
from collections_app.rules.syntax import RuleError, Word

if TYPE_CHECKING:
    from collections_app.schema.definition import CollectionDef
    from collections_app.schema.snapshot import Snapshot

_MAX_SHAPES = 64
_MAX_COMPILED = 2000
# Longer filters and values of requests are not worth their memory: nobody repeats them.
_MAX_KEPT = 500


# The whole SQL of a condition that no record could make a difference to.
ALWAYS, NEVER = "1 = 1", "1 = 0"


class Compiled:
    """SQL of something, kept per shape of the request's values."""

    def __init__(self, dynamics: Sequence[tuple[Dynamic | Moment, bool]], *, timeless: bool = False) -> None:
        self.dynamics = tuple(dynamics)
        self.timeless = timeless
        # Depends on nothing of the request but its caller: the same principal has the same SQL each time.
        self._by_caller = timeless and all(
            isinstance(operand, Dynamic) and operand.source == "auth" for operand, _ in dynamics
        )
        self._callers: dict[tuple[int, str], tuple[Principal, str, list[Any]]] = {}
        # A moment that decides about the text makes a text for one use.
        self._fleeting = any(isinstance(operand, Moment) and operand.kind == "datetime" for operand, _ in dynamics)
        self._cache: dict[Any, tuple[str, tuple[Any, ...], bool]] = {}

    def shape(self, env: RuleEnv) -> tuple[Any, ...]:
        """With equal shapes the SQL is the same and only late-bound parameters differ."""
        found: list[Any] = [dialects.current().name]
        for operand, late in self.dynamics:
            value = raw(operand, env) if isinstance(operand, Moment) else dynamic_value(operand, env)
            if values.is_empty(value):
                found.append(None)
            elif late and isinstance(value, str):
                found.append("text")
            else:
                found.append(repr(value))
        return tuple(found)

    def _build(self, env: RuleEnv, alias: str) -> Sql:
        raise NotImplementedError

    def sql(self, env: RuleEnv, alias: str = "t") -> tuple[str, list[Any]]:
        """SQL over the alias, and its parameters for this request; not to be changed."""
        if not self._by_caller:
            return self._sql(env, alias)
        caller = env.principal
        known = self._callers.get((id(caller), alias))
        if known is None or known[0] is not caller:
            known = caller, *self._sql(env, alias)
            if len(self._callers) >= _MAX_SHAPES:
                self._callers.clear()
            self._callers[id(caller), alias] = known
        return known[1], known[2]

    def _sql(self, env: RuleEnv, alias: str) -> tuple[str, list[Any]]:
        if self._fleeting:
            built = self._build(env, alias)
            return built.text, [param.bind(env) if isinstance(param, Slot) else param for param in built.params]
        key = (alias, *self.shape(env)) if self.dynamics else (alias, dialects.current().name)
        known = self._cache.get(key)
        if known is None:
            built = self._build(env, alias)
            known = (built.text, built.params, any(isinstance(param, Slot) for param in built.params))
            if len(self._cache) >= _MAX_SHAPES:
                self._cache.clear()
            if sum(len(part) for part in key if part) <= _MAX_KEPT:
                self._cache[key] = known
        text, params, late = known
        if not late:
            return text, list(params)
        return text, [param.bind(env) if isinstance(param, Slot) else param for param in params]


class Rule(Compiled):
    """A compiled condition. ``local``: needs nothing but the record and the request."""

    def __init__(self, node: Any, mentions: Sequence[Mention], operands: Sequence[Operand], late: set[int]) -> None:
        super().__init__(list(_dynamics(operands, late)), timeless=all(map(_is_timeless, operands)))
        self.node = node
        self.mentions = tuple(mentions)
        self.local = not any(isinstance(operand, Path) and operand.hops for operand in operands)
        # Whether it depends on the data of a request.
        self.asks_for_body = any(isinstance(one, Dynamic) and one.source == "body" for one in operands)

    def _build(self, env: RuleEnv, alias: str) -> Sql:
        built = self.node.sql(Builder(env), alias)
        if isinstance(built, bool):
            return Sql(ALWAYS if built else NEVER)
        return built

    def fold(self, env: RuleEnv) -> bool | None:
        """True or False where no record could make a difference; None otherwise."""
        text, _ = self.sql(env)
        return True if text == ALWAYS else False if text == NEVER else None

    def refuses(self, principal: Principal) -> bool:
        """Whether no record at all could satisfy it for this caller."""
        return self.fold(RuleEnv(principal=principal)) is False

    def check(self, record: Mapping[str, Any], env: RuleEnv, related: Related | None = None) -> bool:
        """Whether the record satisfies it, in memory."""
        return bool(self.node.check(record, env, related))


def _is_timeless(operand: Operand) -> bool:
    if isinstance(operand, Path):
        return all(hop.guard is None or hop.guard.timeless for hop in operand.hops)
    return not isinstance(operand, Moment)


def _dynamics(operands: Sequence[Operand], late: set[int]) -> Iterator[tuple[Dynamic | Moment, bool]]:
    """Everything that the SQL depends on, with the rules of the rows that paths lead through."""
    for operand in operands:
        if isinstance(operand, Dynamic) or (isinstance(operand, Moment) and id(operand) not in late):
            yield operand, id(operand) in late
        elif isinstance(operand, Path):
            for hop in operand.hops:
                if hop.guard is not None:
                    yield from hop.guard.dynamics


class SortPath(Compiled):
    """A path with one value, to sort by."""

    def __init__(self, path: Path) -> None:
        super().__init__(())
        self.path = path
        self.value = path.kind

    def _build(self, env: RuleEnv, alias: str) -> Sql:
        source = Source(self.path, Builder(env), alias, None)
        if self.path.kind == "text":
            return Sql(dialects.current().text(source.expr.text), source.expr.params)
        return source.expr

    def sql(self, env: RuleEnv, alias: str = "t") -> tuple[str, list[Any]]:
        # The rules of the rows on the way may depend on anything: built each time.
        built = self._build(env, alias)
        return built.text, [param.bind(env) if isinstance(param, Slot) else param for param in built.params]


def compile_rule(source: str, collection: CollectionDef, snapshot: Snapshot) -> Rule:
    """A rule, which may name everything but secrets; RuleError says what is wrong and where."""
    return _remembered(snapshot, ("rule", collection.id, source), lambda: _compile(source, collection, snapshot, None))


def compile_filter(source: str, collection: CollectionDef, snapshot: Snapshot, principal: Principal) -> Rule:
    """A caller's filter, which may name what the caller may read; RuleError (400) otherwise."""
    key = ("filter", collection.id, source, _audience(principal))
    return _remembered(snapshot, key, lambda: _compile(source, collection, snapshot, principal))


def compile_path(source: str, collection: CollectionDef, snapshot: Snapshot, principal: Principal) -> SortPath:
    """A path with one value, to sort by; RuleError for several values or none that has an order."""
    scope = Scope(source, collection, snapshot, principal, _list_rule)
    path = resolve(Word(source, 0), scope, bare=False)
    if not isinstance(path, Path) or path.multiple or path.kind in ("json", "whole"):
        raise RuleError(f"{source[:80]!r} has no order", source, 0)
    return SortPath(path)


def rename(source: str, mentions: Sequence[Mention], names: Mapping[str, str]) -> str:
    """The same rule with the new names of what it mentions."""
    for mention in sorted(set(mentions), key=lambda mention: -mention.start):
        if mention.id in names:
            source = source[: mention.start] + names[mention.id] + source[mention.end :]
    return source


def _audience(principal: Principal) -> Any:
    """Filters are shared by callers for whom the same names exist."""
    if principal.is_admin:
        return ("admin", principal.scope)
    # Whether a collection can be listed may depend on any of these, and on nothing else of the caller.
    return (
        principal.key, principal.role, principal.verified, principal.email, repr(principal.fields), principal.scope
    )  # fmt: skip


def _list_rule(collection: CollectionDef, snapshot: Snapshot) -> Rule | None:
    source = collection.list_rule
    return None if source is None else compile_rule(source, collection, snapshot)


def _remembered(snapshot: Snapshot, key: Any, make: Callable[[], Rule]) -> Rule:
    # Filters are anybody's: they may not push out the rules.
    kept: OrderedDict[Any, Rule] = snapshot.memo.setdefault(f"{key[0]}s", OrderedDict())
    found = kept.get(key)
    if found is None:
        found = make()
        if key[0] == "filter" and len(key[2]) > _MAX_KEPT:
            return found
        kept[key] = found
        if len(kept) > _MAX_COMPILED:
            try:
                kept.popitem(last=False)
            except KeyError:
                # Another thread made room first.
                return found
    return found


def _compile(source: str, collection: CollectionDef, snapshot: Snapshot, principal: Principal | None) -> Rule:
    tree = syntax.parse(source)
    scope = Scope(source, collection, snapshot, principal, _list_rule)
    operands: list[Operand] = []
    late: set[int] = set()
    node = _node(tree, scope, operands, late, bare=principal is not None)
    return Rule(node, scope.mentions, operands, late)


def _node(tree: syntax.Node, scope: Scope, operands: list[Operand], late: set[int], *, bare: bool) -> Any:
    if isinstance(tree, syntax.Not):
        return Negation(_node(tree.part, scope, operands, late, bare=bare))
    if isinstance(tree, syntax.Or):
        return Any_(tuple(_node(part, scope, operands, late, bare=bare) for part in tree.parts))
    parts = _flat(tree) if isinstance(tree, syntax.And) else (tree,)
    nodes = [_comparison(part, scope, operands, late, bare) if isinstance(part, syntax.Compare)
             else _node(part, scope, operands, late, bare=bare) for part in parts]  # fmt: skip
    nodes = _share_rows(nodes)
    return nodes[0] if len(nodes) == 1 else All(tuple(nodes))


def _flat(tree: syntax.And) -> list[syntax.Node]:
    """(a && b) && c is one group."""
    return [one for part in tree.parts for one in (_flat(part) if isinstance(part, syntax.And) else [part])]


def _share_rows(nodes: list[Any]) -> list[Any]:
    """Comparisons of one group about the same ``@collection`` speak of the same row of it."""
    rest: list[Any] = []
    groups: dict[str, list[Comparison]] = {}
    for node in nodes:
        row = _row_of(node) if isinstance(node, Comparison) else ""
        if row:
            groups.setdefault(row, []).append(node)
        else:
            rest.append(node)
    for parts in groups.values():
        path = next(side for part in parts for side in (part.left, part.right) if isinstance(side, Path) and side.row)
        rest.append(SomeRow(path.hops[0], tuple(parts)))
    return rest


def _row_of(node: Comparison) -> str:
    for side in (node.left, node.right):
        if isinstance(side, Path) and side.row:
            return side.row
    return ""


def _comparison(tree: syntax.Compare, scope: Scope, operands: list[Operand], late: set[int], bare: bool) -> Comparison:
    left = resolve(tree.left, scope, bare=False)
    right = resolve(tree.right, scope, bare=bare)
    if isinstance(left, Path) and isinstance(right, Path) and left.row and right.row and left.row != right.row:
        raise RuleError("Two different @collection rows can't be compared", scope.source, tree.position)
    for one, other in ((left, right), (right, left)):
        _check(one, other, tree, scope)
        if isinstance(other, Path) and _is_bound_late(one, other.kind):
            late.add(id(one))
    operands += [left, right]
    return Comparison(_read_as(left, right), tree.op, tree.any_of, _read_as(right, left))


def _read_as(one: Operand, other: Operand) -> Operand:
    """A literal beside a field as a value of the field's kind, once for all requests."""
    if isinstance(one, Const) and isinstance(other, Path) and other.kind not in ("json", "whole"):
        return Const(values.coerce(other.kind, one.value, written=one.written), one.written, one.position, other.kind)
    return one


def _is_bound_late(operand: Operand, kind: str) -> bool:
    """Whether only a parameter depends on the operand's value, not the text of the SQL."""
    if isinstance(operand, Moment):
        return kind == "datetime"
    return isinstance(operand, Dynamic) and operand.source == "auth" and kind == "text"


def _check(one: Operand, other: Operand, tree: syntax.Compare, scope: Scope) -> None:
    """What can be said about a comparison before any record is seen."""
    if not isinstance(one, Path):
        return
    position = tree.position
    if tree.op in ("~", "!~") and one.kind not in ("text", "json"):
        raise RuleError(f"{tree.op} looks into texts; {one.text[:60]!r} is none", scope.source, position)
    if one.kind == "whole":
        if tree.op not in ("=", "!=") or not (isinstance(other, Const) and values.is_empty(other.value)):
            raise RuleError(
                f"Only emptiness of {one.text[:60]!r} can be asked; name a key in it, such as {one.text[:40]}.key",
                scope.source, position,
            )  # fmt: skip
        return
    if isinstance(other, Path):
        if one.kind == "json" or values.family(one.kind) != values.family(other.kind):
            raise RuleError(f"{one.text[:60]!r} and {other.text[:60]!r} can't be compared", scope.source, position)
    elif isinstance(other, Const) and one.kind != "json":
        try:
            values.coerce(one.kind, other.value, written=other.written)
        except values.Unfit as error:
            raise RuleError(
                f"{one.text[:60]!r} is compared with {other.written[:60]!r}, which is not {error}",
                scope.source, other.position,
            ) from error  # fmt: skip
    elif isinstance(other, Moment) and one.kind != "json" and (values.family(one.kind) != other.kind):
        raise RuleError(f"{one.text[:60]!r} and {other.name} can't be compared", scope.source, position)
