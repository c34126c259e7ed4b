"""SQL and memory agree on every expression, row and caller; and the test would notice if they did not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collections_app import rules
from collections_app.rules import RuleEnv, conditions, operators, values
from collections_app.rules.prepared import prepared
from collections_app.rules.tests import world
from collections_app.schema import registry

pytestmark = pytest.mark.engine

OPERATORS = ["=", "!=", ">", ">=", "<", "<="]
ANY = ["", "?"]


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


texts = st.sampled_from(world.TEXTS).map(quoted)
numbers = st.sampled_from(["0", "1", "-1", "1.5", "0.1", "9007199254740992", "42", "''", "null"])
dynamic_texts = st.sampled_from(
    ["@request.auth.id", "@request.auth.email", "@request.auth.team", "@request.auth.level", "@request.body.name",
     "@request.query.q", "@request.method", "@request.auth.tags", "@request.body.s"]
)  # fmt: skip
text_paths = st.sampled_from(
    ["name", "owner", "@record.name", "id", "collection", "s", "teams", "team", "team.name", "teams.name", "name:lower",
     "team.people_via_team.name", "people_via_nothing"]
).filter(lambda name: name != "people_via_nothing")  # fmt: skip
number_paths = st.sampled_from(["n", "i", "d", "team.size", "teams.size", "name:length", "s:length", "teams:length",
                                "j:length", "g.lon", "g.lat", "j.k:length"])  # fmt: skip
moments = st.sampled_from(["'2025-01-15'", "'2025-01-15T00:00:00.5Z'", "@now", "@today", "@yearStart", "''", "null",
                           "'2025-01-15 00:00:00.000001'"])  # fmt: skip
any_rows = st.sampled_from(["@collection.grants.who", "@collection.grants.what", "@collection.grants:x.who"])

comparisons = st.one_of(
    st.tuples(text_paths, st.sampled_from([*OPERATORS, "~", "!~"]), texts | dynamic_texts | text_paths | any_rows),
    st.tuples(dynamic_texts, st.sampled_from([*OPERATORS, "~", "!~"]), texts | text_paths | dynamic_texts),
    st.tuples(any_rows, st.sampled_from([*OPERATORS, "~", "!~"]), texts | text_paths | dynamic_texts),
    st.tuples(number_paths, st.sampled_from(OPERATORS), numbers | st.sampled_from(["@request.body.n", "n", "i", "d", "@day"])),
    st.tuples(st.sampled_from(["day", "created"]), st.sampled_from(OPERATORS), moments | st.just("day")),
    st.tuples(st.just("at"), st.sampled_from(OPERATORS), st.sampled_from(["'10:30'", "'10:30:00.5'", "''", "null"])),
    st.tuples(st.just("b"), st.sampled_from(["=", "!="]), st.sampled_from(["true", "false", "null", "@request.body.b"])),
    st.tuples(
        st.sampled_from(["j.k", "j.k.n"]), st.sampled_from([*OPERATORS, "~", "!~"]),
        st.sampled_from(["1", "'1'", "'É'", "''", "null", "'x'", "@request.auth.level", "@request.body.b"]),
    ),
    st.tuples(st.sampled_from(["j.k"]), st.sampled_from(["=", "!="]), st.sampled_from(["true", "false"])),
    st.tuples(st.sampled_from(["j", "g"]), st.sampled_from(["=", "!="]), st.sampled_from(["null", "''"])),
    st.tuples(st.sampled_from(["@request.body.name:isset", "@request.body.name:changed"]), st.just("="), st.sampled_from(["true", "false"])),
)  # fmt: skip


@st.composite
def expressions(draw: Any, depth: int = 2) -> str:
    if depth and draw(st.integers(0, 2)):
        parts = [draw(expressions(depth - 1)) for _ in range(draw(st.integers(1, 3)))]
        glue = draw(st.sampled_from([" && ", " || "]))
        negation = draw(st.sampled_from(["", "!"]))
        return f"{negation}({glue.join(parts)})"
    left, op, right = draw(comparisons)
    return f"{left} {draw(st.sampled_from(ANY))}{op} {right}"


people = st.fixed_dictionaries(
    {
        "name": st.sampled_from([None, *world.TEXTS]), "owner": st.sampled_from([None, "", "a", "É"]),
        "n": st.sampled_from(world.NUMBERS), "i": st.sampled_from(world.INTEGERS), "d": st.sampled_from(world.DECIMALS),
        "b": st.booleans(), "day": st.sampled_from(world.MOMENTS), "at": st.sampled_from(world.TIMES),
        "j": st.sampled_from(world.JSON), "g": st.sampled_from(world.PLACES),
        "s": st.lists(st.sampled_from(["a", "É", "%"]), unique=True, max_size=3),
        "team": st.sampled_from([None, "t0", "t1", "t2"]),
        "teams": st.lists(st.sampled_from(["t0", "t1", "t2"]), unique=True, max_size=3),
    }
)  # fmt: skip
worlds = st.tuples(
    st.lists(people, min_size=1, max_size=8),
    st.lists(st.sampled_from(world.TEXTS), min_size=3, max_size=3),
    st.lists(st.sampled_from([0, 1, None]), min_size=3, max_size=3),
    st.lists(st.tuples(st.sampled_from(world.TEXTS), st.sampled_from(world.TEXTS)), max_size=3),
)


def populate(data: Any) -> None:
    rows, names, sizes, grants = data
    world.clear()
    world.put(
        "teams",
        *({"id": f"t{i}", "name": name, "size": size} for i, (name, size) in enumerate(zip(names, sizes, strict=True))),
    )
    world.put("people", *({"id": f"p{i}", **row} for i, row in enumerate(rows)))
    if grants:
        world.put("grants", *({"who": who, "what": what} for who, what in grants))


@pytest.fixture
def small_world(make_collection: Callable[..., Any]) -> None:
    world.build(make_collection)


QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@QUIET
@given(
    data=worlds,
    sources=st.lists(expressions(), min_size=12, max_size=12),
    who=st.integers(0, 2),
    body=st.integers(0, 4),
    as_filter=st.booleans(),
)
def test_sql_and_memory_agree(
    small_world: None, data: Any, sources: list[str], who: int, body: int, as_filter: bool
) -> None:
    populate(data)
    snapshot = registry.latest()
    collection = snapshot.get("people")
    memory = world.Memory(snapshot)
    rows = memory.rows[collection.id]
    principal = world.PRINCIPALS[who]
    env = RuleEnv(principal=principal, query={"q": "É"}, body=world.BODIES[body], before={"name": "a"})
    for source in sources:
        try:
            if as_filter:
                rule = rules.compile_filter(source, collection, snapshot, principal)
            else:
                rule = rules.compile_rule(source, collection, snapshot)
        except rules.RuleError:
            continue
        for _ in range(2):  # the second time from the cache of shapes
            found = world.by_memory(rule, env, rows, memory)
            assert world.by_sql(rule, env, collection.table) == found, source
        if rule.local:
            decision = prepared(rule, env)
            assert sorted(row["id"] for row in rows if decision(row)) == found, source


# -- the test would notice ----------------------------------------------------------
CORPUS = [
    "name = 'a'", "name != 'a'", "name ~ 'é'", "name ~ '_'", "name ~ '%'", "name ~ 'ς'", "name = ''", "name != ''",
    "name < 'b'", "s = 'a'", "s ?= 'a'", "s != 'a'", "s = ''", "teams.name ~ 'a'", "owner = @request.auth.id",
    "owner != @request.auth.id", "!(owner = @request.auth.id)", "team.name = name", "n < 1", "s ?!= 'a'",
    "day > '2025-01-15'", "j.k = 1", "name ~ 'ss'",
]  # fmt: skip


def disagreements() -> int:
    snapshot = registry.latest()
    collection = snapshot.get("people")
    memory = world.Memory(snapshot)
    rows = memory.rows[collection.id]
    count = 0
    for source in CORPUS:
        rule = rules.compile_rule(source, collection, snapshot)
        for principal in world.PRINCIPALS:
            env = RuleEnv(principal=principal)
            count += world.by_sql(rule, env, collection.table) != world.by_memory(rule, env, rows, memory)
    return count


def _compare_with(**changes: Callable[[Any, Any], bool]) -> Callable[[str, Any, Any], bool]:
    original = values.compare

    def mutant(op: str, left: Any, right: Any) -> bool:
        return changes[op](left, right) if op in changes else original(op, left, right)

    return mutant


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "lower instead of fold": lambda p: p.setattr(values, "fold", str.lower),
    "no folding": lambda p: p.setattr(values, "fold", str),
    "underscore is a wildcard": lambda p: p.setattr(
        operators, "compare", _compare_with(**{"~": lambda a, b: bool(a and b) and (b == "_" or values.fold(b) in values.fold(a))})
    ),
    "empty sorts as a value": lambda p: p.setattr(
        operators, "compare", _compare_with(**{"<": lambda a, b: (a or 0 if not isinstance(b, str) else a or "") < b})
    ),
    "null is not ''": lambda p: p.setattr(values, "is_empty", lambda v: v is None),
    "all becomes any": lambda p: p.setattr(conditions, "_over", lambda op, any_of, results: any(results)),
    "an empty list satisfies all": lambda p: p.setattr(
        conditions, "_over",
        lambda op, any_of, results: any(results) if any_of else not any(results) if op in ("!=", "!~") else all(results),
    ),
    "nobody owns what has no owner": lambda p: p.setattr(
        conditions.Comparison, "constant", lambda self, env: None
    ),
    "negation forgotten": lambda p: p.setattr(
        conditions.Negation, "check", lambda self, row, env, related: self.part.check(row, env, related)
    ),
    "equal ignores case": lambda p: p.setattr(
        operators, "compare",
        _compare_with(**{"=": lambda a, b: a == b or (isinstance(a, str) and isinstance(b, str) and a.lower() == b.lower())}),
    ),
}  # fmt: skip


@pytest.fixture
def full_world(small_world: None) -> None:
    rows = [
        {"name": text, "owner": [None, "", "a"][i % 3], "n": world.NUMBERS[i % len(world.NUMBERS)],
         "s": [["a"], ["a", "É"], [], ["%"]][i % 4], "team": [None, "t0", "t1"][i % 3], "teams": [[], ["t0", "t1"], ["t2"]][i % 3],
         "day": world.MOMENTS[i % len(world.MOMENTS)], "j": world.JSON[i % len(world.JSON)]}
        for i, text in enumerate([None, *world.TEXTS])
    ]  # fmt: skip
    populate((rows, ["a", "", "É"], [1, 0, None], []))


def test_the_corpus_agrees_unmutated(full_world: None) -> None:
    assert disagreements() == 0


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_of_the_memory_back_end_is_killed(
    full_world: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # The SQL is compiled before the mutation, so only memory is changed.
    snapshot = registry.latest()
    collection = snapshot.get("people")
    memory = world.Memory(snapshot)
    expected = {}
    for source in CORPUS:
        rule = rules.compile_rule(source, collection, snapshot)
        for who, principal in enumerate(world.PRINCIPALS):
            expected[source, who] = world.by_sql(rule, RuleEnv(principal=principal), collection.table)
    killed = False
    with monkeypatch.context() as patch:
        MUTANTS[name](patch)
        for (source, who), ids in expected.items():
            rule = rules.compile_rule(source, collection, snapshot)
            env = RuleEnv(principal=world.PRINCIPALS[who])
            try:
                killed = killed or world.by_memory(rule, env, memory.rows[collection.id], memory) != ids
            except (TypeError, AssertionError):
                killed = True
    assert killed
