"""A large file over a running server that is killed: what came in is what the job says, and nothing is there twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts import tokens
from accounts.models import User
from collections_app.jobs.models import Job
from core import clock
from tests.server import SECRET_KEY, Server, server

pytestmark = [pytest.mark.engine, pytest.mark.slow]
ROWS = 12_000


@pytest.fixture
def boss(settings: Any, admin: User) -> dict[str, str]:
    settings.SECRET_KEY = SECRET_KEY
    return {"Authorization": f"Bearer {tokens.issue(admin).access}"}


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := found():
            return seen
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def table() -> bytes:
    rows = (f"t{n},{'x' if n % 1000 == 0 else n},s{n}" for n in range(1, ROWS + 1))
    return ("title,price,sku\n" + "\n".join(rows) + "\n").encode()


def test_a_server_that_dies_in_an_import_goes_on_with_it(
    make_collection: Any, boss: dict[str, str], tmp_path: Path
) -> None:
    make_collection(
        "things", title="text", price="number", sku={"type": "text", "validation": {"unique": True}}, list_rule=None
    )

    def job_of(running: Server, place: str) -> dict[str, Any]:
        answer = httpx.get(f"{running.url}{place}", headers=boss, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def total(running: Server) -> int:
        answer = httpx.get(f"{running.url}/api/v1/collections/things/records", headers=boss, timeout=30)
        return int(answer.json()["total"])

    with server(tmp_path, RATE_LIMIT_ENABLED="false") as running:
        answer = httpx.post(
            f"{running.url}/api/v1/collections/things/records/import/csv",
            headers=boss,
            files={"file": ("things.csv", table())},
            timeout=60,
        )
        assert answer.status_code == 202, answer.text
        place = answer.headers["Location"]
        until(lambda: job_of(running, place)["done"] >= 2000)
        running.kill()
        Job.objects.filter(state="running").update(lease_until=clock.now())  # its time is over
        running.start()
        told = until(lambda: (seen := job_of(running, place))["state"] not in ("queued", "running") and seen)
        assert (told["state"], told["total"], told["done"]) == ("done", ROWS, ROWS)
        assert (told["imported"], told["failed"]) == (ROWS - 12, 12)
        assert [error["row"] for error in told["errors"]] == [1000 * n + 1 for n in range(1, 13)]
        assert total(running) == ROWS - 12
        exported = httpx.get(
            f"{running.url}/api/v1/collections/things/records/export/csv?fields=sku", headers=boss, timeout=60
        )
        skus = [line.split(b",")[1] for line in exported.content.splitlines()[1:]]
        assert len(skus) == len(set(skus)) == ROWS - 12
        assert not list((tmp_path / "jobs").iterdir())
