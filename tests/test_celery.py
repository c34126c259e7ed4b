"""Celery's workers on a real Redis: they send the mails, whatever happens to Redis or to them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from accounts import mailing
from accounts.models import Mail
from accounts.tests import mail_servers
from collections_app.tests.other_process import ROOT, environment
from core import background, clock
from tests.server import SECRET_KEY, server
from tests.test_mail_delivery import addresses, by_smtp, register

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("committed_db")]


@pytest.fixture
def redis_url(redis_url: str) -> str:
    redis.Redis.from_url(redis_url).delete(*background.tasks, "celery", "unacked", "unacked_index")
    return redis_url


class Relay:
    """A Redis that can be away: a port in front of the real one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._behind = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self.port = mail_servers.free_port()
        self.url = f"redis://127.0.0.1:{self.port}{parts.path}"
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def come(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def go(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in self._open:
            with suppress(OSError):  # closed by now
                connection.shutdown(socket.SHUT_RDWR)  # which wakes the thread that reads it, and it closes both
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self._behind)
            except OSError:
                return
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
        except OSError:
            pass  # one of the two is gone, so the other goes
        for end in (source, sink):
            end.close()


@pytest.fixture
def relay(redis_url: str) -> Iterator[Relay]:
    made = Relay(redis_url)
    made.come()
    yield made
    made.go()


class Celery:
    """``celery -A cms_project worker``, with beat where asked for."""

    def __init__(self, data_dir: Path, *options: str, **environ: str) -> None:
        data_dir.mkdir(exist_ok=True)
        self.log = data_dir / "celery.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "cms_project", "worker", "-l", "INFO", "-c", "2",
                 "--without-gossip", "--without-mingle", *options],
                cwd=ROOT, env=environment(data_dir, SECRET_KEY=SECRET_KEY, **environ), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while " ready." not in self.log.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def leave(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def celery(data_dir: Path, *options: str, **environ: str) -> Iterator[Celery]:
    made = Celery(data_dir, *options, **environ)
    try:
        made.wait_until_ready()
        yield made
    finally:
        if made.process.poll() is None:
            made.kill()


def beat(data_dir: Path) -> list[str]:
    return ["-B", "-s", str(data_dir / "beat")]


def test_a_worker_sends_the_mail_of_a_registration_at_once(tmp_path: Path, redis_url: str) -> None:
    with mail_servers.smtp() as box:
        environ = by_smtp(box.port, REDIS_URL=redis_url)
        with server(tmp_path, **environ) as running:
            assert register(running, "ann").status_code == register(running, "bea").status_code == 201
            queue, deadline = redis.Redis.from_url(redis_url), time.monotonic() + 60
            while not queue.llen(mailing.TASK) and time.monotonic() < deadline:
                time.sleep(0.05)  # a thread of the server imports Celery first
            time.sleep(0.5)
            assert queue.llen(mailing.TASK) == 1  # for both
            assert not box.taken  # the server leaves it to the workers
            with celery(tmp_path / "worker", **environ) as worker:
                assert sorted(mail.to for mail in box.wait_for(2)) == [["ann@example.com"], ["bea@example.com"]]
                assert register(running, "bob").status_code == 201
                box.wait_for(3, seconds=60)  # there is no beat: it was called
                assert worker.leave() == 0
    assert not Mail.objects.exists()
    assert "token=" not in worker.log.read_text() and "ann@example.com" not in worker.log.read_text()


def test_while_redis_is_away_people_register_and_their_mail_comes_later(tmp_path: Path, relay: Relay) -> None:
    with mail_servers.smtp() as box:
        environ = by_smtp(box.port, REDIS_URL=relay.url)
        with server(tmp_path, **environ) as running, celery(tmp_path / "w", *beat(tmp_path), **environ):
            assert register(running, "warm").status_code == 201
            box.wait_for(1)
            relay.go()
            for name in ("ann", "bob"):
                assert register(running, name).status_code == 201  # Redis does not come before they are answered
            time.sleep(1)
            assert len(box.taken) == 1 and Mail.objects.count() == 2
            relay.come()
            box.wait_for(3, seconds=90)
            assert addresses(box) == ["ann@example.com", "bob@example.com", "warm@example.com"]


def test_a_redis_that_says_nothing_holds_nobody_up(tmp_path: Path, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, mail_servers.smtp() as box:
        environ = by_smtp(box.port, CELERY_BROKER_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with server(tmp_path, **environ) as running:
            for name in ("ann", "bob"):
                assert register(running, name).status_code == 201  # it says nothing to the end
            assert running.leave() == 0
    assert Mail.objects.count() == 2


def test_a_worker_that_dies_in_the_middle_loses_no_mail(tmp_path: Path, redis_url: str) -> None:
    under_way = threading.Event()

    def hold(connection: socket.socket) -> None:
        under_way.set()
        connection.settimeout(60)
        while connection.recv(1000):
            pass

    with mail_servers.raw_server(hold) as silent_port:
        environ = by_smtp(silent_port, REDIS_URL=redis_url)
        with server(tmp_path, **environ) as running, celery(tmp_path / "w", **environ) as worker:
            assert register(running, "ann").status_code == 201
            assert under_way.wait(60)
            worker.kill()
    Mail.objects.update(due=clock.now())  # as if the lease of the dead were over
    with mail_servers.smtp() as box:
        environ = by_smtp(box.port, REDIS_URL=redis_url)
        with celery(tmp_path / "v", *beat(tmp_path), **environ):
            assert box.wait_for(1, seconds=60)[0].to == ["ann@example.com"]


def test_several_workers_send_each_mail_once(tmp_path: Path, redis_url: str) -> None:
    with mail_servers.smtp() as box:
        environ = by_smtp(box.port, REDIS_URL=redis_url)
        with server(tmp_path, **environ) as running:
            names = [f"user{number}" for number in range(10)]
            with celery(tmp_path / "v", **environ), celery(tmp_path / "w", *beat(tmp_path), **environ):
                for name in names:
                    assert register(running, name).status_code == 201
                box.wait_for(10, seconds=60)
                time.sleep(2)
    assert addresses(box) == sorted(f"{name}@example.com" for name in names)
