"""A small installation that is backed up, changed, restored and killed, by the program ``other_process``."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, connections

from accounts import tokens
from accounts.models import SignIn, User
from accounts.principals import SYSTEM
from backups import services, storage
from backups.restoring import applying, by_hand, preparing, staging
from collections_app.files import facts, removal
from collections_app.files import storage as files
from collections_app.files.staging import uploaded
from collections_app.models import Event, StoredFile
from collections_app.records import operations
from collections_app.records.operations import Call
from collections_app.restored import RESTORED
from collections_app.schema import registry, service
from core import database, restored
from core.errors import NotFound
from core.restored import Restoration

PARENT_DIES = 1  # prctl's PR_SET_PDEATHSIG


def build() -> dict[str, Any]:
    """An installation with a backup by an earlier version, and changes since: ``{"backup", "then", "now"}``."""
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("chief@example.com", "correct-horse-battery")
    schema = [{"name": "amount", "type": "integer"}, {"name": "proof", "type": "file"}]
    service.collection_create(actor=SYSTEM, payload={"name": "ledger", "schema": schema, "list_rule": None})
    made = [_enter(amount) for amount in (1, 2, 3)]
    sign_in()
    then = state()
    call_command("migrate", "collections_app", "0005", verbosity=0)
    backup = services.create()
    call_command("migrate", verbosity=0)
    for amount in (100, 200):
        _enter(amount)
    operations.record_delete(Call(principal=SYSTEM, method="DELETE", path="ledger"), "ledger", made[0])
    removal.remove_due()
    connections.close_all()
    return {"backup": backup.filename, "then": then, "now": state()}


def _enter(amount: int) -> str:
    proof = SimpleUploadedFile(f"{amount}.txt", f"proof of {amount} ".encode() * 500)
    call = Call(principal=SYSTEM, method="POST", path="ledger")
    fields = {"proof": registry.latest().get("ledger").by_name["proof"]}
    with uploaded({"amount": amount, "proof": proof}, fields, SYSTEM.key) as data:
        body = operations.record_create(call, "ledger", data).body
    return str(json.loads(body)["id"])


def sign_in() -> str:
    return tokens.issue(User.objects.get()).access


def state() -> dict[str, Any]:
    """What the ledger says, and whether each file that it names is there as it was."""
    call = Call(principal=SYSTEM, method="GET", path="ledger")
    items = json.loads(operations.record_list(call, "ledger").body)["items"]
    whole = []
    for row in StoredFile.objects.filter(state=StoredFile.State.KEPT):
        content = b"".join(files.current().pieces(facts.path_of(row.name), 0, row.size + 1))
        assert hashlib.sha256(content).hexdigest() == row.sha256, row.name
        whole.append(row.name)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            assert cursor.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert cursor.execute("PRAGMA foreign_key_check").fetchall() == []
    return {"amounts": sorted(item["amount"] for item in items), "files": sorted(whole)}


def start() -> dict[str, Any]:
    """What ``serve`` does before it serves; then the state, and what there is besides."""
    by_hand.look()
    told = ""
    try:
        with quick():
            applying.apply(at_start=True)
    except NotFound:
        pass
    except applying.Failed as fault:
        told = fault.message
    call_command("migrate", verbosity=0)
    by_hand.settle()
    return {
        **state(),
        "told": told,
        "restores": Event.objects.filter(type=RESTORED).count(),
        "sign_ins": SignIn.objects.count(),
        "stored": sorted(path for path, _ in files.current().walk()),
        "left": sorted(path.name for path in storage.folder().iterdir() if not path.name.endswith(".zip")),
    }


def restore(
    archive: str, *, now: bool = True, die_at: int = 0, room: int = 0, die_in: str = "", interrupt_in: str = ""
) -> dict[str, Any]:
    """Restore, and die by SIGKILL at the n-th line; answers how many there were, and that of the commit."""
    lines = _Lines(die_at, die_in, interrupt_in)
    if room:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    with quick(), storage.fetched(archive) as path:
        sys.settrace(lines.trace)
        try:
            if now:
                applying.now(path, archive, SYSTEM.key)
            else:
                staging.stage(path, archive, SYSTEM.key)
        except KeyboardInterrupt:
            if not interrupt_in:
                raise
        finally:
            sys.settrace(None)
    return {"lines": lines.count, "commit": lines.commit}


def back_up() -> str:
    """A backup of the present state; its file name."""
    made = services.create().filename
    connections.close_all()
    return made


class _Lines:
    """Counts what is executed of ``backups.restoring``, and dies at one of them."""

    def __init__(self, die_at: int, die_in: str, interrupt_in: str) -> None:
        self.count, self.commit, self._die_at = 0, 0, die_at
        self._die_in, self._interrupt_in = die_in, interrupt_in

    def trace(self, frame: Any, event: str, arg: Any) -> Any:
        if "/backups/restoring/" not in frame.f_code.co_filename:
            return None
        if frame.f_code.co_name == self._interrupt_in:
            raise KeyboardInterrupt
        if event == "line":
            self.count += 1
            if frame.f_code.co_name == self._die_in:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.count == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        elif event == "return" and frame.f_code.co_name == "swap":
            self.commit = self.count
        return self.trace


@contextmanager
def quick() -> Iterator[None]:
    """The process that prepares the copy is a fork of this one, which has Django loaded."""
    real = preparing.prepare
    preparing.prepare = _forked  # type: ignore[assignment]
    try:
        yield
    finally:
        preparing.prepare = real


def _forked(target: str, restoration: Restoration) -> None:
    connections.close_all()
    child = os.fork()
    if not child:
        code = 1
        try:
            ctypes.CDLL(None).prctl(PARENT_DIES, signal.SIGKILL)
            sys.settrace(None)
            os.environ["DATABASE_TARGET"] = json.dumps(preparing._database())
            for wrapper in connections.all(initialized_only=True):
                del connections[wrapper.alias]
            database._here.__dict__.clear()
            registry.forget()
            preparing._point_at(target)
            call_command("migrate", verbosity=0, interactive=False)
            restored.settle(restoration)
            restored.check()
            connections.close_all()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        raise preparing.NotReady("The copy could not be made ready.")


def leave_a_wal() -> None:
    """Write, and die before SQLite has put that into the database."""
    _enter(999)
    os.kill(os.getpid(), signal.SIGKILL)
