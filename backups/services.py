"""How backups are made, taken in and deleted; the API, the commands and the schedule call these."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import SEEK_END
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import IntegrityError, transaction

from backups import archive, leasing, making, sealing, snapshots, storage, verifying, workshop
from backups.archive import PIECE
from backups.leasing import Ending, Lease
from backups.making import Made
from backups.models import Backup
from backups.restoring import postgresql
from core import background, clock, crews, database
from core.errors import Conflict, DomainError, ServiceUnavailable

TASK, TIDYING = "backups.make", "backups.tidy"
REMEMBERED = timedelta(days=90)  # what was deleted, or came to nothing
FAILED = "The backup failed; the server's log tells why."

_NAMED = re.compile(r"backup_(\d{8}_\d{6})(_\d+)?\.zip")

logger = logging.getLogger("fastcms.backups")
Origin, Status = Backup.Origin, Backup.Status


def create(
    by: str = "",
    note: str = "",
    *,
    origin: str = Origin.SAFETY,
    with_files: bool = True,
    to: Path | None = None,
    report: Callable[[int], None] | None = None,
) -> Backup:
    """Make a backup, here and now; answers its row, completed. Not inside a transaction.

    ``by`` is the id of the account that wants it, or the name of a command; ``note`` says what for. It goes to
    the storage of backups, or into the folder ``to``, where no row stays for it. ``report`` is told the percent
    that are done. Raises Conflict while another one is made, NoRoom, ServiceUnavailable; nothing is left then
    but a row that says why.
    """
    backup = _new(by, note, origin, with_files)
    backup.begun = backup.created
    leasing.claim(backup, to)
    return _make(backup, Lease(backup, yields=origin == Origin.REQUEST, report=report), to)


def create_scheduled(by: str, since: datetime) -> Backup | None:
    """Make a backup that was due, unless that has been done meanwhile: one of the schedule was begun after ``since``.

    Raises what create does.
    """
    backup = _new(by, "", Origin.SCHEDULE, with_files=True)
    backup.begun = backup.created
    leasing.claim(backup)
    if Backup.objects.filter(origin=Origin.SCHEDULE, begun__gt=since).exclude(pk=backup.pk).exists():
        backup.delete()
        return None
    return _make(backup, Lease(backup, yields=True), resumes=True)


def request(by: str, note: str = "", *, with_files: bool = True) -> Backup:
    """Have a backup made by whoever does the work in the background; answers its row. Raises what create does."""
    snapshots.check_tools()
    backup = _new(by, note, Origin.REQUEST, with_files)
    leasing.claim(backup)
    background.wake(TASK)
    return backup


def receive(file: IO[bytes], sent_name: str, by: str) -> Backup:
    """Take in an archive from elsewhere, after all that a restore would check has been checked; answers its row.

    Raises BadArchive for what could not be restored here, Conflict while a backup is being made, NoRoom.
    """
    with workshop.folder(storage.folder()) as folder:
        size = file.seek(0, SEEK_END)
        workshop.check_room(folder, size)
        file.seek(0)
        path = folder / "archive"
        with path.open("xb") as out:
            shutil.copyfileobj(file, out, PIECE)
            is_sealed = sealing.is_sealed(file)
        metadata = _verified(path, folder)
        backup = _new(by, "", Origin.UPLOAD, with_files=metadata.get("with_files") is not False)
        backup.filename = f"{_stem(sent_name) or backup.name}{'.zip.enc' if is_sealed else '.zip'}"
        backup.begun = backup.created
        told = _told_moment(metadata)
        leasing.claim(backup)
        backup.created = min(told or backup.created, backup.created)  # nothing is of a moment that is to come
        lease = Lease(backup, yields=False)
        with _answering_for(backup), leasing.held(lease):
            _finish(backup, lease, path, None)
    logger.info("backup %s was uploaded by %s: %s bytes", backup.filename, by or "nobody known", backup.size_bytes)
    return backup


def make_waiting() -> None:
    """Make the backup that waits, if there is one and nobody else does."""
    waiting = leasing.under_way()
    if waiting is None or waiting.begun is not None or not leasing.begin(waiting):
        return
    try:
        _make(waiting, Lease(waiting, yields=True), resumes=True)
    except DomainError as fault:
        logger.warning("backup %s was not made: %s", waiting.filename, fault.message)


def delete(backup: Backup, by: str) -> None:
    """Delete a backup; Conflict while it is being made."""
    if backup.status == Status.RUNNING:
        raise Conflict("This backup is being made; it can be deleted when it is done.")
    if backup.status == Status.COMPLETED:
        storage.current().remove(backup.filename)
    Backup.objects.filter(pk=backup.pk, deleted=None).update(deleted=clock.now(), deleted_by=by)
    logger.info("backup %s was deleted by %s", backup.filename, by or "nobody known")


def keep(count: int, origin: str, by: str) -> int:
    """Delete all completed backups of an origin but the newest ``count``; answers how many."""
    rows = list(Backup.objects.filter(origin=origin, status=Status.COMPLETED, deleted=None)[count:])
    for row in rows:
        delete(row, by)
    return len(rows)


def keep_in(folder: Path, count: int) -> int:
    """Delete the oldest of the archives that were made for this folder, all but ``count``; answers how many.

    Others stay, whatever their names: somebody has put them there.
    """
    found = sorted(
        (path for path in folder.iterdir() if moment_of(path.name) and _was_made_for(path, folder)),
        key=lambda path: (moment_of(path.name), path.stat().st_mtime_ns),
        reverse=True,
    )
    for path in found[count:]:
        path.unlink()
    return len(found[count:])


def _was_made_for(path: Path, folder: Path) -> bool:
    try:
        with archive.reading(path) as found:
            return found.metadata.get("folder") == str(folder.resolve())
    except (DomainError, OSError) as fault:
        logger.warning("%s can't be read, and stays: %s", path, fault)
        return False


def tidy() -> None:
    """Remove what processes left that died, and forget what is long over."""
    workshop.sweep(storage.folder())
    tidy_rows()
    old = clock.now() - REMEMBERED
    Backup.objects.filter(deleted__lt=old).delete()
    Backup.objects.filter(status=Status.FAILED, created__lt=old).delete()


def tidy_rows() -> None:
    """Have the rows say what is: which archives there are, and that nobody makes one who died over it."""
    leasing.settle()
    match_storage()


def match_storage() -> None:
    """Have the rows name what is in the storage: an archive that was put there is a backup, one that is gone none."""
    rows = set(Backup.objects.filter(status=Status.COMPLETED, deleted=None).values_list("filename", flat=True))
    stored = storage.names()  # looked at after the rows, whose archives were there before them
    Backup.objects.filter(status=Status.COMPLETED, deleted=None, filename__in=rows - stored.keys()).update(
        deleted=clock.now()
    )
    for name in sorted(stored.keys() - rows):
        size = storage.size(name)
        if size is not None:
            _take_in(name, size, stored[name])


def _take_in(name: str, size: int, written: datetime) -> None:
    """Have a row say that this archive is there; not while its backup is under way."""
    came = {"status": Status.COMPLETED, "size_bytes": size, "percent": 100, "finished": clock.now(), "error": ""}
    known = Backup.objects.filter(filename=name, deleted=None)
    if known.exclude(status=Status.RUNNING).update(**came) or known.exists():
        return
    backup = Backup(filename=name, origin=Origin.FOUND, created=moment_of(name) or written, **came)
    try:
        with transaction.atomic():
            backup.save(force_insert=True)
    except IntegrityError:
        logger.info("backup %s has its row meanwhile", name)


def _new(by: str, note: str, origin: str, with_files: bool) -> Backup:
    now = clock.now()
    suffix = ".zip.enc" if settings.BACKUP_PASSWORD else ".zip"
    name = f"backup_{now:%Y%m%d_%H%M%S}{suffix}"
    return Backup(filename=name, origin=origin, note=note, with_files=with_files, created=now, created_by=by)


def moment_of(name: str) -> datetime | None:
    """When a backup was made that has still the name which it was given."""
    found = _NAMED.match(name)
    try:
        return datetime.strptime(f"{found[1]} +0000", "%Y%m%d_%H%M%S %z") if found else None
    except ValueError:
        return None


def _stem(sent: str) -> str:
    """What an uploaded archive is called, without its suffix, where that can be a name here; else nothing."""
    name = sent.removesuffix(".enc").removesuffix(".zip")
    return name if storage.NAME.fullmatch(f"{name}.zip") else ""


def _told_moment(metadata: Mapping[str, Any]) -> datetime | None:
    """When a backup was made, by what it says of itself."""
    try:
        moment = datetime.fromisoformat(str(metadata.get("created")))
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):  # a moment that is before the first one in UTC
        return None


def _verified(path: Path, folder: Path) -> Mapping[str, Any]:
    """Check an archive as before a restore; answers its metadata. BadArchive where it is not as it says."""
    with archive.reading(path) as found:
        contents = verifying.contents(found, path.stat().st_size)
        workshop.check_room(folder, contents.database.size)
        verifying.extract(found, [contents.database], folder)
        if contents.metadata["engine"] == "sqlite":
            verifying.check_database(folder / contents.database.name)
        else:
            postgresql.check_dump(folder / contents.database.name)
        for member in contents.files:
            for _ in verifying.compared(found.pieces(member.name), member):
                pass
    return contents.metadata


def _make(backup: Backup, lease: Lease, to: Path | None = None, *, resumes: bool = False) -> Backup:
    """Make it; ``resumes`` leaves it to the next process where this one ends meanwhile."""
    place = to or storage.folder()
    with _answering_for(backup, resumes=resumes), leasing.held(lease), workshop.folder(place) as folder:
        made = _in_the_back(
            lambda: making.make(folder, backup.name, with_files=backup.with_files, progress=lease, to=to), lease
        )
        backup.created, backup.missing = made.moment, made.missing
        _finish(backup, lease, made.path, to)
    if made.missing:
        logger.warning("backup %s lacks %s files that the storage has lost", backup.filename, made.missing)
    logger.info("backup %s was made: %s bytes", backup.filename, backup.size_bytes)
    return backup


def _in_the_back(make: Callable[[], Made], lease: Lease) -> Made:
    """The long part, by a thread that leaves the processor to those that answer requests."""

    def work() -> Made:
        try:
            return make()
        finally:
            database.close()

    with crews.in_the_back(1, "backup") as crew:
        try:
            return crew.submit(work).result()
        except BaseException:  # such as Ctrl-C
            lease.give_up()
            raise


def _finish(backup: Backup, lease: Lease, path: Path, to: Path | None) -> None:
    """Give the archive its name, if the backup is still ours, and the row its end."""
    lease.renew()
    backup.size_bytes = path.stat().st_size
    if to is None:
        storage.put(path, backup.filename)
    else:
        workshop.place(path, to / backup.filename)
    backup.status, backup.percent, backup.finished, backup.lease_until = Status.COMPLETED, 100, clock.now(), None
    ours = Backup.objects.filter(pk=backup.pk, begun=backup.begun)
    if to is None:
        fields = ("status", "percent", "finished", "lease_until", "created", "missing", "size_bytes")
        ours.update(**{name: getattr(backup, name) for name in fields})
    else:
        ours.delete()


@contextmanager
def _answering_for(backup: Backup, *, resumes: bool = False) -> Iterator[None]:
    """Whatever comes of it stands in the row."""
    try:
        yield
    except DomainError as fault:
        if resumes and isinstance(fault, Ending):
            leasing.give_back(backup)
        else:
            _fail(backup, fault.message)
        raise
    except Exception as fault:
        _fail(backup, FAILED)
        logger.exception("backup %s failed", backup.filename)
        raise ServiceUnavailable(FAILED) from fault
    except BaseException:
        _fail(backup, leasing.INTERRUPTED)
        raise


def _fail(backup: Backup, why: str) -> None:
    if backup.status == Status.COMPLETED:
        return  # its archive has its name, and who finds it later will say so
    backup.status, backup.error, backup.finished, backup.lease_until = Status.FAILED, why[:500], clock.now(), None
    Backup.objects.filter(pk=backup.pk, status=Status.RUNNING, begun=backup.begun).update(
        status=backup.status, error=backup.error, finished=backup.finished, lease_until=None
    )
