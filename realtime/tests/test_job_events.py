"""Jobs on the wire: how they go on, to whose affair they are, whichever process runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from accounts.principals import ANONYMOUS, Principal
from accounts.scopes import Scope
from collections_app.jobs import services
from collections_app.jobs.models import Job
from core import clock
from tests.sse_client import Refused, Stream
from tests.wire_house import House, house


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("jobs")) as running:
        running.collection("posts", create_rule=None)
        yield running
        assert "Traceback" not in running.log and "ERROR" not in running.log


def imported(home: House, token: str, rows: int) -> dict[str, Any]:
    raw = "title\n" + "".join(f"t{number}\n" for number in range(rows))
    answer = httpx.post(
        f"{home.url}/api/v1/collections/posts/records/import/csv?background=true",
        files={"file": ("f.csv", raw)}, headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()["job"]
    return job


def to_its_end(stream: Stream, job: dict[str, Any]) -> list[dict[str, Any]]:
    """What is told of this job, and of no other."""
    told = []
    while not told or told[-1]["finished"] is None:
        event = stream.until("job.updated", timeout=20)
        assert event.data["record_id"] == job["id"] and event.data["collection"] == "jobs"
        told.append(event.data["data"])
    return told


@pytest.mark.slow
def test_a_job_is_told_of_until_its_end_to_its_owner_and_admins_alone(home: House) -> None:
    ann, ben = home.register("job_ann")["access_token"], home.register("job_ben")["access_token"]
    with pytest.raises(Refused) as refused:
        home.stream("/jobs")
    assert refused.value.status == 401
    with pytest.raises(Refused) as refused:
        home.stream("/jobs?query=done>1", ann)
    assert refused.value.status == 422
    with (
        home.stream("/jobs", ann) as hers,
        home.stream("/jobs", ben) as his,
        home.stream("/jobs", home.token) as admins,
    ):
        streams = (hers, his, admins)
        assert [one.next().type for one in streams] == ["connected"] * 3
        began = hers.last_event_id
        job = imported(home, ann, 3)
        for stream in (hers, admins):
            told = to_its_end(stream, job)
            assert [one["done"] for one in told] == sorted(one["done"] for one in told)
            shown = httpx.get(f"{home.url}/api/v1/jobs/{job['id']}", headers={"Authorization": f"Bearer {ann}"}).json()
            assert told[-1] == shown and (shown["state"], shown["imported"]) == ("done", 3)
        assert hers.last_event_id == began
        assert his.quiet()
        own = imported(home, ben, 2)
        assert to_its_end(his, own)[-1]["imported"] == 2
        assert hers.quiet()
    with home.stream("/jobs", ann) as again:
        assert to_its_end(again, job)[-1]["state"] == "done"


@pytest.mark.slow
def test_a_socket_carries_jobs_beside_collections(home: House) -> None:
    token = home.register("job_cat")["access_token"]
    with home.socket(f"?token={token}") as socket:
        assert socket.next()["type"] == "connected"
        assert socket.ask(type="subscribe", collection="jobs", query="x=1")["status"] == 422
        answer = socket.ask(type="subscribe", id="mine", collection="jobs")
        assert (answer["type"], answer["collection"]) == ("subscribed", "jobs")
        job = imported(home, token, 2)
        while True:
            frame = socket.until("job.updated", timeout=20)
            assert (frame["id"], frame["subscription"], frame["record_id"]) == (None, "mine", job["id"])
            if frame["data"]["finished"]:
                break
        assert isinstance(socket.ask(type="ping")["position"], int)
        assert socket.ask(type="unsubscribe", id="mine")["type"] == "unsubscribed"


@pytest.mark.engine
@pytest.mark.django_db
def test_who_may_be_told_is_who_may_look() -> None:
    keys = [Scope("k1"), Scope("k2"), None]
    people = [
        Principal(id=name, collection=realm, role=role, verified=True, scope=scope)
        for name in ("ann", "ben")
        for realm, role in (("users", "user"), ("users", "admin"), ("members", "user"))
        for scope in keys
    ]
    for owner in ("users:ann", "users:ben", "members:ann"):
        for key in ("", "k1"):
            Job.objects.create(
                id=f"{owner}{key}".replace(":", ""), kind="import", owner=owner, api_key=key, created=clock.now()
            )
    for principal in people:
        seen = {job.pk for job in services.visible(principal)}
        assert {job.pk for job in Job.objects.all() if services.is_visible(principal, job)} == seen
    assert not any(services.is_visible(ANONYMOUS, job) for job in Job.objects.all())
