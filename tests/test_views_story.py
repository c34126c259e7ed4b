"""Views as clients meet them: the lane and Django say the same of them, and neither lets them be written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from accounts import tokens
from accounts.models import User
from accounts.principals import SYSTEM
from collections_app.schema import registry
from collections_app.sql_views.tests.conftest import SALES, shop
from core import database
from core.errors import NotFound
from realtime import sight
from tests.two_ways import TwoWays, get, send, stand_still

__all__ = ["shop"]

pytestmark = pytest.mark.engine


@pytest.fixture
def ways(
    shop: Any, make_collection: Any, admin: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[TwoWays]:
    make_collection("sales", type="view", view_query=SALES, list_rule=None, view_rule="total > 10")
    make_collection("guarded", type="view", view_query=SALES)
    every = ", ".join(f"orders AS t{n}" for n in range(24))
    make_collection("endless", type="view", view_query=f"SELECT count(*) AS n FROM {every}", list_rule=None)
    stand_still(monkeypatch)
    settings.ACCESS_LOG = False
    settings.QUERY_TIMEOUT_MS = 500
    database.close()
    made = TwoWays(tmp_path, {"admin": tokens.issue(admin).access})
    yield made
    made.close()
    database.close()


def test_both_ways_read_a_view_alike_and_write_it_never(ways: TwoWays) -> None:
    row = {"product": "Tea"}
    told = ways.differences(
        [
            get("sales"),
            get("sales?filter=total>8&sort=-total&fields=product,total"),
            get("sales?cursor=&per_page=1"),
            get("sales?search=cake"),
            get("sales?filter=nothing=1"),
            get("sales/1"),
            get("sales/2"),
            get("sales/2", "admin"),
            get("sales/none"),
            get("guarded"),
            get("guarded", "admin"),
            send("POST", "sales", row, "admin"),
            send("PATCH", "sales/1", row, "admin"),
            send("PUT", "sales/1", row, "admin"),
            send("DELETE", "sales/1", b"", "admin"),
            send(
                "POST", "/api/v1/batch", {"requests": [{"method": "POST", "collection": "sales", "data": row}]}, "admin"
            ),
        ]
    )
    assert not told, "\n".join(told)
    assert ways.by_lane(send("POST", "sales", row, "admin")).status == 405
    assert ways.by_lane(get("sales/1")).status == 200
    assert ways.by_lane(get("sales/2")).status == 404
    assert ways.by_lane(get("guarded")).status == 401


def test_a_view_without_an_end_stops_on_both_ways(ways: TwoWays) -> None:
    for ask in (ways.by_lane, ways.by_django):
        started = monotonic()
        answer = ask(get("endless"))
        assert answer.status == 400 and "longer than" in answer.json()["message"]
        assert monotonic() - started < 5
    assert ways.by_lane(get("sales")).status == 200


def test_a_view_is_where_nobody_subscribes(ways: TwoWays) -> None:
    view = registry.latest().get("sales")
    with pytest.raises(NotFound, match="is a view"):
        sight.check(view.id, "", SYSTEM, registry.latest())
