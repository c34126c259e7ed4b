"""Jobs as their owners see them: made, looked at, cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any

from django.db import connection, models, transaction

from accounts.principals import Principal
from collections_app.io import imports
from collections_app.io.options import Options
from collections_app.io.report import Report
from collections_app.jobs import files
from collections_app.jobs.models import Job
from collections_app.records.operations import Call
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from core import background, clock, ids
from core.errors import Conflict, Forbidden, NotFound, ServiceUnavailable, Unauthorized, ValidationFailed
from settings_app import values
from settings_app.registry import Setting, declare

TASK = "collections.run_jobs"
MANY = 5000  # rows, beyond which an import is a job
TOGETHER = 50_000  # rows of one transaction that others on SQLite wait for, unless an admin asks for it
WAITING_BYTES = "import_waiting_bytes"
NEW_JOBS = 0x6A6F6273  # PostgreSQL's advisory lock of those who make one
MOST = 20  # unfinished jobs of one owner
UNFINISHED = (Job.State.QUEUED, Job.State.RUNNING)


def import_file(call: Call, name: str, kind: str, file: IO[bytes], chosen: Options, asked: bool | None) -> Report | Job:
    """Import the file at once, or make a job of it where it is long, or that is ``asked`` for.

    ``asked`` is what the caller wants, None where that is for us to say. What can be known without
    the rows is refused at once, as :func:`imports.run` does.
    """
    admin = call.principal.is_admin
    together = next((key for key in ("atomic", "dry_run") if getattr(chosen, key)), "")
    bounded = together and not admin and connection.vendor == "sqlite"
    most: int | None = max(0 if asked else MANY, TOGETHER if bounded else 0)
    if asked is False and admin:
        most = None
    with imports.looked(call, name, kind, file, chosen, most=most) as found:
        if bounded and found.rows.count > TOGETHER:
            raise ValidationFailed(
                fields={together: [f"Others can't write meanwhile: only admins may do this with {TOGETHER:,} rows."]}
            )
        if most is not None and asked is False and found.rows.count > MANY:
            raise Forbidden(f"Only admins may import more than {MANY:,} rows within a request.")
        if most is None or (not asked and found.rows.count <= MANY):
            return imports.run_rows(call, name, kind, found.rows, chosen)
        return _job(call, found.collection, kind, file, chosen)


def _job(call: Call, collection: CollectionDef, kind: str, file: IO[bytes], chosen: Options) -> Job:
    principal = call.principal
    if principal.is_anonymous:
        raise Unauthorized(f"Imports of more than {MANY:,} rows are done in the background, for callers who sign in.")
    job_id = ids.new_id()
    job = Job(
        id=job_id,
        kind="import",
        collection_id=collection.id,
        collection=collection.name,
        owner=principal.key,
        api_key=principal.scope.key_id if principal.scope else "",
        options={"format": kind, **asdict(chosen), "names": dict(chosen.names)},
        file=f"{job_id}.{kind}",
        created=clock.now(),
    )
    files.keep(job.file, file)
    try:
        with transaction.atomic():
            _refuse_too_much(job.owner)
            job.save(force_insert=True)
            transaction.on_commit(lambda: background.wake(TASK))
    except BaseException:
        files.drop(job.file)
        raise
    return job


def _refuse_too_much(owner: str) -> None:
    """Within the transaction of a new job, whose file is there already: that it is not one too many."""
    if connection.vendor == "postgresql":  # on SQLite there is one writer at a time
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [NEW_JOBS])
    if Job.objects.filter(owner=owner, state__in=UNFINISHED).count() >= MOST:
        raise Conflict(f"You have {MOST} imports that are not finished. Wait for one, or cancel it.")
    if files.size() > values.get(WAITING_BYTES):
        raise ServiceUnavailable(f"Too much waits to be imported ({WAITING_BYTES}).", retry_after=60)


def declare_settings() -> None:
    text = "Bytes that the files of all imports may have that are not finished."
    declare(Setting(WAITING_BYTES, "integer", 2 * 1024**3, "import", text, least=1))


def visible(principal: Principal) -> models.QuerySet[Job]:
    """An admin's are all; anybody else's their own; an API key's those that it made. Newest first."""
    if principal.is_anonymous:
        raise Unauthorized()
    found = Job.objects.order_by("-created", "-id")
    if principal.scope is not None:
        return found.filter(owner=principal.key, api_key=principal.scope.key_id)
    return found if principal.is_admin else found.filter(owner=principal.key)


def is_visible(principal: Principal, job: Job) -> bool:
    """Whether it is one of those that are :func:`visible`."""
    if principal.is_anonymous:
        return False
    if principal.scope is not None:
        return job.owner == principal.key and job.api_key == principal.scope.key_id
    return principal.is_admin or job.owner == principal.key


def get(principal: Principal, job_id: str) -> Job:
    """NotFound for one that is not theirs."""
    job = visible(principal).filter(pk=job_id).first() if "\x00" not in job_id else None
    if job is None:
        raise NotFound(f"There is no job {job_id[:40]!r}.")
    return job


def cancel(principal: Principal, job_id: str) -> Job:
    """End it; what it has imported stays. Conflict where it has ended already."""
    job = get(principal, job_id)
    ended = Job.objects.filter(pk=job.pk, state__in=UNFINISHED).update(
        state=Job.State.CANCELLED, finished=clock.now(), lease_key=""
    )
    job.refresh_from_db()
    if not ended:
        raise Conflict(f"It has ended already: {job.state}.")
    files.drop(job.file)
    return job


def as_json(job: Job, snapshot: Snapshot, *, whole: bool = True) -> dict[str, Any]:
    """As the API shows it; only the ``whole`` job has its errors."""
    report: Mapping[str, Any] = job.report
    collection = snapshot.by_id.get(job.collection_id)
    shown = {
        "id": job.id,
        "kind": job.kind,
        "collection": collection.name if collection else job.collection,
        "owner": job.owner.partition(":")[2],
        "state": job.state,
        "total": job.total,
        "done": job.done,
        "imported": report.get("imported", 0),
        "updated": report.get("updated", 0),
        "failed": job.failed,
        "message": job.message,
        "options": {
            "format": job.options["format"],
            **{key: job.options[key] for key in ("skip_validation", "dry_run", "atomic", "match")},
            "map": job.options["names"],
        },
        "created": clock.isoformat(job.created),
        "started": clock.isoformat(job.started) if job.started else None,
        "finished": clock.isoformat(job.finished) if job.finished else None,
    }
    return {**shown, "errors": report.get("errors", [])} if whole else shown
