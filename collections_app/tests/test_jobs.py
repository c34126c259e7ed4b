"""Imports in the background: they go on where they stopped, tell exactly what became of each row, and end when told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from rest_framework.test import APIClient

from accounts import api_keys, tokens
from accounts.models import ApiKey, Role, User
from collections_app.jobs import files, running, services, sweeping
from collections_app.jobs.models import Job
from collections_app.models import Event
from collections_app.tests.other_process import OtherProcess, other_process, until_forgotten
from collections_app.tests.test_imports import send
from collections_app.tests.test_sudden_death import everything
from core import clock

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def place(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path / "jobs"


@pytest.fixture
def things(make_collection: Callable[..., Any]) -> Any:
    return make_collection(
        "things",
        title={"type": "text", "validation": {"required": True}},
        price="number",
        sku={"type": "text", "validation": {"unique": True}},
        list_rule=None,
        create_rule="@request.auth.id != ''",
    )


def table(count: int, wrong: int = 0, mark: str = "s") -> str:
    """``count`` rows, of which each ``wrong``-th has no number."""
    rows = (f"t{n},{'x' if wrong and n % wrong == 0 else n},{mark}{n}" for n in range(1, count + 1))
    return "title,price,sku\n" + "\n".join(rows) + "\n"


def queued(client: APIClient, raw: str, query: str = "?background=true", **more: Any) -> dict[str, Any]:
    answer = send(client, raw, query=query, **more)
    assert answer.status_code == 202, answer.content
    job: dict[str, Any] = answer.json()["job"]
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}" and job["state"] == "queued"
    return job


def seen(client: APIClient, job: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"/api/v1/jobs/{job['id']}")
    assert answer.status_code == 200, answer.content
    return answer.json()  # type: ignore[no-any-return]


@pytest.fixture
def boss(as_user: Callable[[User], APIClient], admin: User) -> APIClient:
    return as_user(admin)


@pytest.fixture
def theirs(as_user: Callable[[User], APIClient], member: User) -> APIClient:
    return as_user(member)


def test_many_rows_are_done_in_the_background_and_told_of(
    things: Any, records: Any, theirs: APIClient, boss: APIClient, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MANY", 100)
    monkeypatch.setattr(running, "ROWS", 50)
    assert send(theirs, table(100)).status_code == 201
    assert send(theirs, table(0), query="?background=true").status_code == 202
    # It would hold up all others who write for as long as it takes.
    assert send(theirs, table(101, mark="v"), query="?background=false").status_code == 403
    answer = send(boss, table(101, mark="v"), query="?background=false")
    assert (answer.status_code, answer.json()["imported"]) == (201, 101), answer.json()
    for record in records("things").items("per_page=500"):
        records("things").delete(record["id"])
    job = queued(theirs, table(130, wrong=10), query="")
    assert len(list(place.iterdir())) == 2 and (job["total"], job["done"]) == (None, 0)
    assert records("things").page()["total"] == 0
    assert running.run_due() == 2
    told = seen(theirs, job)
    assert (told["state"], told["total"], told["done"], told["imported"], told["failed"]) == ("done", 130, 130, 117, 13)
    assert [error["row"] for error in told["errors"]] == [10 * n + 1 for n in range(1, 14)]
    assert told["started"] and told["finished"] and not list(place.iterdir())
    assert records("things").page()["total"] == 117
    assert (
        Event.objects.filter(type="record.created", actor=f"users:{theirs.get('/api/v1/auth/me').json()['id']}").count()
        == 217
    )
    listed = theirs.get("/api/v1/jobs").json()
    assert listed["items"][0]["id"] == job["id"] and "errors" not in listed["items"][0]


def test_a_job_is_its_owners_affair_and_admins(
    things: Any,
    boss: APIClient,
    theirs: APIClient,
    anonymous: APIClient,
    as_user: Any,
    stranger: User,
    member: User,
    place: Path,
) -> None:
    job = queued(theirs, table(3))
    for client, status in ((anonymous, 401), (as_user(stranger), 404)):
        assert client.get(f"/api/v1/jobs/{job['id']}").status_code == status
        assert client.post(f"/api/v1/jobs/{job['id']}/cancel").status_code == status
    assert as_user(stranger).get("/api/v1/jobs").json()["items"] == []
    assert anonymous.get("/api/v1/jobs").status_code == 401
    assert seen(boss, job)["state"] == "queued" and boss.get("/api/v1/jobs").json()["total"] == 1
    _, raw = api_keys.make(member, name="k", access=ApiKey.Access.WRITE, collection_ids=[things.id])
    program = APIClient()
    program.credentials(HTTP_X_API_KEY=raw)
    assert program.get(f"/api/v1/jobs/{job['id']}").status_code == 404
    own = queued(program, table(3, mark="k"))
    assert [one["id"] for one in program.get("/api/v1/jobs").json()["items"]] == [own["id"]]
    assert theirs.get("/api/v1/jobs").json()["total"] == 2
    running.run_due()
    assert (seen(program, own)["state"], seen(theirs, job)["imported"]) == ("done", 3)


def test_what_can_be_known_is_refused_at_once(
    things: Any, make_collection: Any, theirs: APIClient, anonymous: APIClient
) -> None:
    make_collection("closed", title="text")
    make_collection("open", title="text", create_rule=None)
    for client, name, raw, query, status in (
        (theirs, "closed", "title\na\n", "?background=true", 403),
        (theirs, "things", "nothing\na\n", "?background=true", 422),
        (theirs, "things", "", "?background=true", 400),
        (theirs, "things", "title\na\n", "?background=perhaps", 422),
        (theirs, "things", "title\na\n", "?background=true&match=title", 422),
        (theirs, "things", "title\na\n", "?background=true&skip_validation=true", 403),
        (anonymous, "open", "title\na\n", "?background=true", 401),
    ):
        assert send(client, raw, query=query, name=name).status_code == status, (name, raw, query)
    assert not Job.objects.exists()


@pytest.mark.parametrize("change", ["disabled", "key revoked", "rule"])
def test_rights_are_asked_again_when_it_runs(
    things: Any, records: Any, member: User, boss: APIClient, change: str, as_user: Any
) -> None:
    key, raw = api_keys.make(member, name="k", access=ApiKey.Access.WRITE)
    program = APIClient()
    program.credentials(HTTP_X_API_KEY=raw)
    job = queued(program, table(3))
    if change == "disabled":
        User.objects.filter(pk=member.pk).update(is_active=False)
    elif change == "key revoked":
        api_keys.revoke(member, str(key.pk))
    else:
        assert (
            boss.patch(
                "/api/v1/collections/things", {"create_rule": "@request.auth.role = 'admin'"}, format="json"
            ).status_code
            == 200
        )
    running.run_due()
    told = seen(boss, job)
    assert (told["state"], told["done"], told["imported"]) == ("failed", 0, 0) and told["message"]
    assert records("things").page()["total"] == 0 and not list(files.folder().iterdir())


def test_atomic_and_dry_runs_are_one_transaction(things: Any, records: Any, theirs: APIClient) -> None:
    wrong = queued(theirs, table(30, wrong=10), query="?background=true&atomic=true")
    tried = queued(theirs, table(30, wrong=10), query="?background=true&dry_run=true")
    before = everything()["rows"]
    running.run_due()
    assert everything()["rows"] == before
    told = seen(theirs, wrong)
    assert (told["state"], told["imported"], told["failed"], len(told["errors"])) == ("failed", 0, 3, 3)
    told = seen(theirs, tried)
    assert (told["state"], told["imported"], told["failed"], told["total"]) == ("done", 27, 3, 30)
    right = queued(theirs, table(30), query="?background=true&atomic=true")
    running.run_due()
    assert seen(theirs, right)["imported"] == 30 and records("things").page()["total"] == 30


def test_a_job_can_be_cancelled_before_and_while_it_runs(
    things: Any, records: Any, theirs: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queued(theirs, table(3))
    assert theirs.post(f"/api/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert theirs.post(f"/api/v1/jobs/{job['id']}/cancel").status_code == 409
    assert running.run_due() == 0 and records("things").page()["total"] == 0
    monkeypatch.setattr(running, "ROWS", 10)
    job = queued(theirs, table(50))
    principal = running.owners.principal
    asked = []

    def cancelled_meanwhile(*given: Any) -> Any:
        asked.append(given)
        if len(asked) == 4:  # once at the start, once for each part
            assert theirs.post(f"/api/v1/jobs/{job['id']}/cancel").status_code == 200
        return principal(*given)

    monkeypatch.setattr(running.owners, "principal", cancelled_meanwhile)
    running.run_due()
    told = seen(theirs, job)
    assert (told["state"], told["done"], told["imported"]) == ("cancelled", 20, 20)
    assert records("things").page()["total"] == 20 and not list(files.folder().iterdir())


def test_a_file_that_ends_in_nonsense_fails_after_what_was_right(
    things: Any, records: Any, theirs: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "ROWS", 10)
    job = queued(theirs, table(25) + "a,b,c,d,e\n")
    running.run_due()
    told = seen(theirs, job)
    assert told["state"] == "failed" and "row 27 has 5 cells" in told["message"]
    assert told["imported"] == records("things").page()["total"]


def test_who_runs_a_job_and_vanishes_loses_it(things: Any, records: Any, theirs: APIClient) -> None:
    job = queued(theirs, table(3))
    first = running._claim()
    assert first is not None and running._claim() is None
    Job.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    assert running.run_due() == 1
    running._Run(first).run()  # comes back late, and writes nothing
    assert seen(theirs, job)["state"] == "done" and records("things").page()["total"] == 3
    lost = queued(theirs, table(3))
    Job.objects.filter(pk=lost["id"]).update(attempts=running.ATTEMPTS)
    running.run_due()
    assert seen(theirs, lost)["state"] == "failed"


def test_old_jobs_and_lost_files_are_swept(things: Any, theirs: APIClient, place: Path) -> None:
    kept, old = queued(theirs, table(1)), queued(theirs, table(1))
    Job.objects.filter(pk=old["id"]).update(finished=clock.now() - sweeping.KEPT * 2, state="done")
    (place / "lost.csv").write_text("x")
    sweeping.sweep(now=clock.now())
    assert {one.name for one in place.iterdir()} == {"lost.csv", f"{kept['id']}.csv", f"{old['id']}.csv"}
    assert not Job.objects.filter(pk=old["id"]).exists()
    sweeping.sweep(now=clock.now() + timedelta(hours=2))
    assert [one.name for one in place.iterdir()] == [f"{kept['id']}.csv"]


def test_nobody_has_too_many_at_once(things: Any, theirs: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST", 2)
    queued(theirs, table(1))
    queued(theirs, table(1))
    assert send(theirs, table(1), query="?background=true").status_code == 409
    assert Job.objects.count() == 2 == len(list(files.folder().iterdir()))


def test_the_files_of_all_jobs_are_bounded(things: Any, boss: APIClient, theirs: APIClient) -> None:
    size = len(table(3))
    for most, accepted in ((2 * size, 202), (3 * size - 1, 202), (3 * size - 1, 503)):
        answer = boss.post("/api/v1/settings", {"key": "import_waiting_bytes", "value": most}, format="json")
        assert answer.status_code < 300, answer.content
        answer = send(theirs, table(3), query="?background=true")
        assert answer.status_code == accepted, answer.content
    assert Job.objects.count() == 2 == len(list(files.folder().iterdir()))


def test_what_others_have_to_wait_for_is_for_admins_beyond_a_size(
    things: Any, records: Any, theirs: APIClient, boss: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "TOGETHER", 20)
    for option in ("atomic", "dry_run"):
        for query in (f"?{option}=true", f"?{option}=true&background=true"):
            answer = send(theirs, table(21), query=query)
            if connection.vendor == "sqlite":
                assert (answer.status_code, list(answer.json()["fields"])) == (422, [option])
            assert send(boss, table(21, mark=f"{option}{len(query)}"), query=query).status_code in (200, 201, 202)
    assert send(theirs, table(20), query="?dry_run=true").status_code == 200


def test_a_job_whose_collection_is_gone_says_so(things: Any, theirs: APIClient, boss: APIClient) -> None:
    job = queued(theirs, table(3))
    assert boss.delete("/api/v1/collections/things").status_code == 204
    running.run_due()
    told = seen(theirs, job)
    assert (told["state"], told["message"]) == ("failed", "The collection 'things' was deleted.")


@pytest.fixture
def another(schema_db: None, tmp_path: Path) -> Iterator[OtherProcess]:
    with other_process(tmp_path) as process:
        yield process


def run_in_small_parts() -> int:
    """For the other process."""
    running.ROWS = 20
    return running.run_due()


def test_a_job_whose_process_is_killed_goes_on_where_it_stopped(
    another: OtherProcess, things: Any, records: Any, theirs: APIClient
) -> None:
    job = queued(theirs, table(200, wrong=7))
    died, seen_done = 0, set()
    for number in range(15, 600, 13):  # later each time: first before anything is done, then in the middle of it
        outcome = another.run("collections_app.tests.test_jobs.run_in_small_parts", die_before=("statement", number))
        told = seen(theirs, job)
        assert records("things").page()["total"] == told["imported"] == told["done"] - told["failed"]
        assert Event.objects.filter(type="record.created").count() == told["imported"]
        if not outcome.killed:
            break
        died += 1
        seen_done.add(told["done"])
        Job.objects.filter(state="running").update(lease_until=clock.now(), attempts=0)  # its minute is over
    running.run_due()
    told = seen(theirs, job)
    assert died > 2 and len(seen_done) > 1, (died, seen_done)
    assert (told["state"], told["total"], told["imported"], told["failed"]) == ("done", 200, 172, 28)
    assert [error["row"] for error in told["errors"]] == [7 * n + 1 for n in range(1, 29)]
    assert sorted(records("things").values("sku", "per_page=500")) == sorted(f"s{n}" for n in range(1, 201) if n % 7)


def send_direct(raw: str, user_id: str) -> int:
    """For the other process."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(User.objects.get(pk=user_id)).access}")
    file = SimpleUploadedFile("f.csv", raw.encode())
    return int(
        client.post("/api/v1/collections/things/records/import/csv", {"file": file}, format="multipart").status_code
    )


def test_a_direct_import_whose_process_is_killed_leaves_nothing(
    another: OtherProcess, things: Any, records: Any, make_user: Any, seed: int
) -> None:
    boss = make_user("other", role=Role.ADMIN)
    before, number, died = everything(), 5 + seed % 5, 0
    while True:
        outcome = another.run(
            "collections_app.tests.test_jobs.send_direct",
            die_before=("statement", number), raw=table(220, wrong=20), user_id=str(boss.pk),
        )  # fmt: skip
        if not outcome.killed:
            assert outcome.get("answer") == 201, outcome
            break
        died, number = died + 1, number * 3
        until_forgotten()
        now = everything()
        if now["events"] != before["events"]:
            break  # it died with its answer on the lips
        assert now["rows"] == before["rows"], number
    assert died > 1
    assert records("things").page()["total"] == 209 == Event.objects.filter(type="record.created").count()
