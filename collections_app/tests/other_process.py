"""Work done by other processes on the test's database, and their sudden death.

As a program it reads one JSON request a line, forks a process for each (Django is
loaded once, nothing is connected before the fork) and answers how that ended:

    {"call": "update", "arguments": {…}, "die_before": {"what": "step", "number": 3}}

``die_before`` kills with SIGKILL just before the n-th logged ``step`` of a schema
change, or before the n-th ``statement`` that goes to the database.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NAME = f"other-process-{os.getpid()}"  # by which PostgreSQL knows it
ROOT = Path(__file__).resolve().parent.parent.parent


def database_url() -> str:
    """The test's own database, as ``DATABASE_URL`` of another process."""
    from django.db import connection

    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    return f"postgres://{config['USER']}:{config['PASSWORD']}@{config['HOST']}:{config['PORT']}/{config['NAME']}"


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    """Nothing of the tester's own settings but what Python needs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "cms_project.settings",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(data_dir),
        "ENV_FILE": "",
        "SECRET_KEY": "other-process-" * 4,
        "PGAPPNAME": _NAME,
        **more,
    }


def until_forgotten(seconds: float = 30) -> None:
    """Wait until PostgreSQL has ended what a process had asked for before it died: it may be a commit."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    latest = time.monotonic() + seconds
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [_NAME])
            if not cursor.fetchone()[0]:
                return
        assert time.monotonic() < latest, "PostgreSQL still works for a process that died"
        time.sleep(0.01)


class Outcome(dict[str, Any]):
    """``killed``: by our signal; else ``answer``, or ``error`` with ``status`` and ``message``."""

    @property
    def killed(self) -> bool:
        return bool(self.get("killed"))


class OtherProcess:
    """Requests to the program below; any number of threads may wait for answers, one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lock = threading.Lock()

    def run(self, call: str, *, die_before: tuple[str, int] | None = None, **arguments: Any) -> Outcome:
        request: dict[str, Any] = {"call": call, "arguments": arguments}
        if die_before:
            request["die_before"] = {"what": die_before[0], "number": die_before[1]}
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
            line = self._process.stdout.readline()  # type: ignore[union-attr]
        assert line, f"the other process ended with {self._process.wait()}"
        return Outcome(json.loads(line))


@contextmanager
def other_process(data_dir: Path, **environ: str) -> Iterator[OtherProcess]:
    process = subprocess.Popen(
        [sys.executable, "-m", "collections_app.tests.other_process"],
        cwd=ROOT,
        env=environment(data_dir, **environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield OtherProcess(process)
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]


# --- in the other process ----------------------------------------------------------------


class _Death:
    def __init__(self, number: int) -> None:
        self.left = number

    def come_closer(self, *_: Any) -> None:
        self.left -= 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _die_before(what: str, number: int) -> None:
    death = _Death(number)
    if what == "step":
        handler = logging.Handler()
        handler.emit = death.come_closer  # type: ignore[method-assign]
        log = logging.getLogger("collections_app.schema.ddl")
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
        return
    from django.db.backends.signals import connection_created

    def watch(sender: Any, connection: Any, **_: Any) -> None:
        if connection.vendor == "sqlite":
            connection.connection.set_trace_callback(death.come_closer)
            return
        raw = connection.connection
        wait = raw.wait

        def counted(*args: Any, **kwargs: Any) -> Any:
            death.come_closer()
            return wait(*args, **kwargs)

        raw.wait = counted

    connection_created.connect(watch, weak=False)


def _call(name: str, arguments: dict[str, Any]) -> Any:
    """One of the calls below, or a function by its dotted path."""
    from django.utils.module_loading import import_string

    from collections_app.records import operations
    from collections_app.records.operations import Call
    from collections_app.schema import service

    from accounts.principals import SYSTEM  # isort: skip

    def record(method: str, operation: Callable[..., Any], *path: Any, key: str | None = None) -> Any:
        call = Call(principal=SYSTEM, method=method, idempotency_key=key, path=str(path[0]))
        return operation(call, *path).body.decode()

    match name:
        case "churn":
            return churn(Path(arguments["until"]))
        case "write_many":
            return write_many(**arguments)
        case "create":
            return service.collection_create(actor=SYSTEM, payload=arguments["payload"]).id
        case "update":
            return service.collection_update(actor=SYSTEM, **arguments).id
        case "delete":
            return service.collection_delete(actor=SYSTEM, **arguments)
        case "record_create":
            return record(
                "POST",
                operations.record_create,
                arguments["name"],
                arguments["data"],
                key=arguments.get("key"),
            )
        case "record_update":
            return record("PATCH", operations.record_update, arguments["name"], arguments["id"], arguments["data"])
    return import_string(name)(**arguments)


def churn(until: Path) -> dict[str, Any]:
    """Readers and writers of the collection ``pairs``, until that file exists.

    Answers ``reads``; ``writes`` (what was acknowledged: id, left, right); ``wrong``
    (answers that should not be); ``errors`` (status and thread → how often).
    """
    from django.db import connection

    from accounts.principals import ANONYMOUS, SYSTEM, Principal
    from collections_app.records import operations
    from collections_app.records.operations import Call
    from core.error_adapter import domain_error

    told: dict[str, Any] = {"reads": 0, "writes": [], "wrong": [], "errors": {}}
    lock = threading.Lock()

    def ask(principal: Principal, method: str, query: str, operation: Callable[..., Any], *args: Any) -> Any:
        call = Call(principal=principal, method=method, query_string=query, path="pairs")
        return json.loads(operation(call, "pairs", *args).body)

    def read_all(turn: int) -> None:
        for item in ask(SYSTEM, "GET", "sort=-id&per_page=20", operations.record_list)["items"]:
            if item["left"][1:] != item["right"][1:] or item["left"][0] == item["right"][0]:
                told["wrong"].append(["two writes in one record", item])
        told["reads"] += 1

    def read_as_nobody(turn: int) -> None:
        for item in ask(ANONYMOUS, "GET", "sort=created&per_page=20", operations.record_list)["items"]:
            if "private" in item.values():
                told["wrong"].append(["a hidden field was seen", item])
        told["reads"] += 1

    def read_by_a_name_that_changes(turn: int) -> None:
        ask(SYSTEM, "GET", "filter=name='n'&sort=name&per_page=5", operations.record_list)
        told["reads"] += 1

    def write_by_a_name_that_changes(turn: int) -> None:
        data = {"name": "n", "left": f"L{turn}b", "right": f"R{turn}b"}
        keep(ask(SYSTEM, "POST", "", operations.record_create, data), data)

    def write(turn: int) -> None:
        tag = f"{turn}w"
        data = {"left": f"L{tag}", "right": f"R{tag}"}
        made = ask(SYSTEM, "POST", "", operations.record_create, data)
        keep(made, data)
        data = {"left": f"L{tag}+", "right": f"R{tag}+"}
        keep(ask(SYSTEM, "PATCH", "", operations.record_update, made["id"], data), data)

    def keep(record: dict[str, Any], data: dict[str, Any]) -> None:
        if any(record[name] != value for name, value in data.items()):
            told["wrong"].append(["answered something else than was sent", record, data])
        with lock:
            told["writes"].append([record["id"], record["left"], record["right"]])

    def work(job: Callable[[int], None]) -> None:
        turn = 0
        while not until.exists():
            turn += 1
            try:
                job(turn)
            except Exception as fault:  # noqa: BLE001  # counted by status, and told to the test
                error = domain_error(fault)
                key = f"{error.status if error else 500} {job.__name__} {'' if error else repr(fault)}".strip()
                with lock:
                    told["errors"][key] = told["errors"].get(key, 0) + 1
        connection.close()

    jobs = (read_all, read_as_nobody, read_by_a_name_that_changes, write_by_a_name_that_changes, write)
    threads = [threading.Thread(target=work, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def write_many(name: str, threads: int, turns: int) -> dict[str, Any]:
    """``threads`` writers at once, ``turns`` records each; answers ``written`` and ``errors``."""
    from accounts.principals import SYSTEM
    from collections_app.records import operations
    from collections_app.records.operations import Call
    from collections_app.tests.threads import at_once

    def write() -> int:
        for _ in range(turns):
            operations.record_create(Call(principal=SYSTEM, method="POST", path=name), name, {"title": "there"})
        return turns

    answers = at_once(*[write] * threads)
    return {
        "written": sum(answer for answer in answers if isinstance(answer, int)),
        "errors": [repr(answer) for answer in answers if not isinstance(answer, int)],
    }


def _child(request: dict[str, Any], answer: int) -> None:
    from core.errors import DomainError

    if "die_before" in request:
        _die_before(**request["die_before"])
    try:
        told = {"answer": _call(request["call"], request["arguments"])}
    except DomainError as error:
        told = {"error": error.code, "status": error.status, "message": error.message}
    except Exception as error:  # noqa: BLE001  # told to the test
        told = {"error": repr(error), "status": 500, "message": str(error)}
    os.write(answer, json.dumps(told).encode())


def _serve() -> None:
    import django

    django.setup()
    from collections_app.api import urls  # noqa: F401  # what is imported now need not be after each fork

    for line in sys.stdin:
        request = json.loads(line)
        read_end, write_end = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read_end)
            try:
                _child(request, write_end)
            finally:
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write((json.dumps({"killed": True}) if killed else told.decode()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
