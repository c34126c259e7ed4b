"""Jobs are run: leased, in transactions of some thousand rows, each of which notes how far it came.

The note and the rows are one transaction, so whoever goes on after a crash begins with the first
row that is not there, and the report is exact. Who has lost the lease, because the job was
cancelled or somebody else has taken it over, finds that out in that transaction, and undoes it.

``atomic`` imports and dry runs are one transaction, and begin anew after a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from itertools import islice
from time import monotonic
from typing import IO, Any

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, models

from collections_app.io import imports, reading
from collections_app.io.options import Options
from collections_app.io.report import Report
from collections_app.jobs import files, owners, sweeping
from collections_app.jobs.models import Job
from collections_app.records.operations import Call
from collections_app.schema import registry
from core import background, clock, ids
from core.errors import DomainError, NotFound, ServiceUnavailable

ROWS = 2000  # of one transaction
LEASE = timedelta(seconds=30)
BEAT_SECONDS = 10.0
ATTEMPTS = 5  # without anything done

logger = logging.getLogger("fastcms.jobs")


class _Lost(Exception):
    """The job is no longer ours."""


class _Ending(Exception):
    """This process is about to end."""


def run_due() -> int:
    """Run what waits, one job after another; answers how many. Several processes may do so at once."""
    sweeping.sweep()
    count = 0
    while not background.is_ending() and (job := _claim()) is not None:
        count += 1
        if not _Run(job).run():
            break
    return count


def _claim() -> Job | None:
    """The job that has waited longest, leased to us: one that is queued, or whose runner is gone."""
    now = clock.now()
    gone = models.Q(state=Job.State.RUNNING, lease_until__lte=now)
    for job in Job.objects.filter(models.Q(state=Job.State.QUEUED) | gone).order_by("created", "pk")[:50]:
        same = Job.objects.filter(pk=job.pk, state=job.state, lease_key=job.lease_key, lease_until=job.lease_until)
        if job.attempts >= ATTEMPTS:
            same.update(state=Job.State.FAILED, finished=now, message=f"Given up after {ATTEMPTS} attempts.")
            continue
        key = ids.new_id()
        if same.update(
            state=Job.State.RUNNING,
            lease_key=key,
            lease_until=now + LEASE,
            attempts=models.F("attempts") + 1,
            started=job.started or now,
        ):
            job.refresh_from_db()
            return job
    return None


class _Run:
    """One job, leased to us."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._ours = Job.objects.filter(pk=job.pk, state=Job.State.RUNNING, lease_key=job.lease_key)
        self._beats = _Beats(job)
        self._patient = False  # whether what went wrong passes by itself
        self._renewed = monotonic()

    def run(self) -> bool:
        """False where it had better wait for the next round."""
        job = self._job
        try:
            with closing(self._beats), files.path(job.file).open("rb") as file:
                self._import(file)
        except (_Lost, _Ending):
            pass
        except FileNotFoundError:
            self._end(Job.State.FAILED, message="Its file is gone.")
        except ServiceUnavailable as fault:
            return self._later(fault)
        except DomainError as fault:
            report = fault.extra if "errors" in fault.extra else job.report
            self._end(Job.State.FAILED, message=_sentence(fault), report=dict(report))
        except OperationalError as fault:  # busy or away, which passes
            return self._later(fault)
        except Exception:
            logger.exception("job %s failed", job.pk)  # and is tried again, some times
            return False
        finally:
            # Whoever comes next need not wait for the lease.
            self._release()
        return True

    def _release(self) -> None:
        try:
            again = {"attempts": 0} if self._patient else {}
            self._ours.update(lease_until=clock.now(), **again)
        except OperationalError as fault:
            logger.warning("the lease of job %s has to run out: %s", self._job.pk, fault)

    def _later(self, fault: Exception) -> bool:
        logger.warning("job %s waits for its next round: %s", self._job.pk, fault)
        self._patient = True
        return False

    def _import(self, file: IO[bytes]) -> None:
        job, form = self._job, str(self._job.options["format"])
        call = Call(principal=owners.principal(job.owner, job.api_key), method="POST")
        chosen = Options(**{key: value for key, value in job.options.items() if key != "format"})
        if job.collection_id not in registry.latest().by_id:
            raise NotFound(f"The collection {job.collection!r} was deleted.")
        if chosen.atomic or chosen.dry_run:
            self._import_at_once(call, form, file, chosen)
        else:
            self._import_in_parts(call, form, file, chosen)

    def _import_at_once(self, call: Call, form: str, file: IO[bytes], chosen: Options) -> None:
        job = self._job
        with imports.looked(call, job.collection_id, form, file, chosen, meanwhile=self._renew) as found:
            self._counted(found.rows.count)
            report = imports.run_rows(
                call, job.collection_id, form, found.rows, chosen, within=self._note_all, after_each=self._beats.beat
            )
        if not chosen.dry_run:
            files.drop(job.file)
        else:
            self._end(Job.State.DONE, report=report.stored(), done=report.total, total=report.total)

    def _import_in_parts(self, call: Call, form: str, file: IO[bytes], chosen: Options) -> None:
        job = self._job
        if job.total is None:
            self._counted(reading.count(file, form, self._renew))
        with closing(reading.rows(file, form)) as rows:
            for _ in islice(rows, job.done):
                self._renew()
            while part := list(islice(rows, ROWS)):
                # The owner may have lost a right meanwhile.
                call.principal = owners.principal(job.owner, job.api_key)
                imports.run_rows(
                    call, job.collection_id, form, part, chosen, earlier=self._earlier(), within=self._note
                )
                job.refresh_from_db()
                if background.is_ending():
                    raise _Ending
        self._end(Job.State.DONE, total=job.done)

    def _counted(self, rows: int | None) -> None:
        self._job.total = rows
        self._ours.update(total=rows, lease_until=clock.now() + LEASE)

    def _renew(self) -> None:
        """What is long, and writes nothing, keeps the lease."""
        if monotonic() > self._renewed + BEAT_SECONDS:
            self._renewed = monotonic()
            if background.is_ending():
                raise _Ending
            if not self._ours.update(lease_until=clock.now() + LEASE):
                raise _Lost

    # -- notes ---------------------------------------------------------------------------------
    def _earlier(self) -> Report:
        return Report.of(self._job.report)

    def _note(self, report: Report) -> None:
        """Within the transaction of some rows: that they are done."""
        if not self._ours.update(
            done=report.total, failed=report.failed, report=report.stored(), lease_until=clock.now() + LEASE, attempts=0
        ):
            raise _Lost

    def _note_all(self, report: Report) -> None:
        """Within the one transaction of an atomic import: that it is done."""
        if not self._ours.update(
            state=Job.State.DONE,
            finished=clock.now(),
            done=report.total,
            total=report.total,
            failed=report.failed,
            report=report.stored(),
        ):
            raise _Lost

    def _end(self, state: str, **found: Any) -> None:
        report: Mapping[str, Any] | None = found.get("report")
        if report is not None:
            found.setdefault("failed", report.get("failed", 0))
        if self._ours.update(state=state, finished=clock.now(), **found):
            files.drop(self._job.file)


def _sentence(fault: DomainError) -> str:
    if not fault.fields:
        return fault.message
    return " ".join(f"{name}: {' '.join(texts)}" for name, texts in fault.fields.items())


class _Beats:
    """Keeps the lease of what is one long transaction, on another connection.

    On SQLite nobody else can write meanwhile, so nobody can take the job over, and there is nothing to keep.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._next = job, monotonic() + BEAT_SECONDS
        self._wrapper: Any = None

    def beat(self, report: Report) -> None:
        """Raises _Lost where the job was cancelled meanwhile, _Ending where this process ends."""
        if background.is_ending():
            raise _Ending
        if connections[DEFAULT_DB_ALIAS].vendor == "sqlite" or monotonic() < self._next:
            return
        self._next = monotonic() + BEAT_SECONDS
        if self._wrapper is None:
            self._wrapper = connections[DEFAULT_DB_ALIAS].copy()
        with self._wrapper.cursor() as cursor:
            cursor.execute(
                "UPDATE jobs SET lease_until = %s, done = %s WHERE id = %s AND lease_key = %s AND state = 'running'",
                [clock.now() + LEASE, report.total, self._job.pk, self._job.lease_key],
            )
            if not cursor.rowcount:
                raise _Lost

    def close(self) -> None:
        if self._wrapper is not None:
            self._wrapper.close()
