"""The rule language: a filter never seen before, one seen before, and the check of one record in memory.

python -m bench.rules
"""

from __future__ import annotations

from itertools import count

from bench import common
from bench.common import Row

TIMES = 5_000
FILTER = "active = true && price >= {} && title ~ 'desk'"
RULE = "@request.auth.id != '' && (active = true || stock > 10) && title ~ 'prod'"


def main() -> list[Row]:
    with common.start():
        from accounts.principals import Principal
        from bench import shop
        from collections_app import rules
        from collections_app.records.validate import clean_new
        from collections_app.rules import RuleEnv
        from collections_app.schema import registry
        from core import clock

        shop.define()
        snapshot = registry.latest()
        collection = snapshot.get(shop.NAME)
        member = Principal(id="m1", collection="users", email="member@example.com", role="user", verified=True)
        env = RuleEnv(principal=member, now=clock.now())
        record = clean_new(collection, next(shop.products(1)), admin=True, moment=clock.isoformat(env.now))
        numbers = count()

        def never_seen() -> rules.Rule:
            return rules.compile_filter(FILTER.format(next(numbers)), collection, snapshot, member)

        known = FILTER.format(-1)
        rule = rules.compile_rule(RULE, collection, snapshot)
        if rule.check(record, env) is not True:
            raise RuntimeError("the rule of this bench must hold")

        def seen() -> rules.Rule:
            return rules.compile_filter(known, collection, snapshot, member)

        return [
            Row("new filter of three comparisons: parse and compile", common.cpu_us(never_seen), "µs", 50),
            Row("  and its SQL for a caller", common.cpu_us(lambda: never_seen().sql(env, "t")), "µs"),
            Row("known filter", common.cpu_us(seen, TIMES), "µs", 2),
            Row("  its SQL for a caller", common.cpu_us(lambda: seen().sql(env, "t"), TIMES), "µs"),
            Row(
                "known rule",
                common.cpu_us(lambda: rules.compile_rule(RULE, collection, snapshot), TIMES),
                "µs",
                2,
            ),
            Row(
                "check of one record in memory",
                common.cpu_us(lambda: rule.check(record, env), TIMES),
                "µs",
                15,
            ),
        ]


if __name__ == "__main__":
    common.run(main)
