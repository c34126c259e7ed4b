"""Mail of a running server: none is lost by sudden death, none is sent twice, none waits long."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from accounts.models import Mail, User
from accounts.tests import mail_servers
from accounts.tests.mail_servers import Mailbox
from core import clock
from tests.server import Server, server

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("committed_db")]
PASSWORD = "correct-horse-battery"


def by_smtp(port: int, **more: str) -> dict[str, str]:
    return {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "SMTP_TLS": "false", **more}


def register(running: Server, name: str) -> httpx.Response:
    if not User.objects.exists():  # the first account is verified already
        User.objects.create_user("first@example.com", PASSWORD, username="first")
    body = {"email": f"{name}@example.com", "password": PASSWORD}
    return httpx.post(f"{running.url}/api/v1/auth/register", json=body, timeout=30)


def addresses(box: Mailbox) -> list[str]:
    return sorted(taken.to[0] for taken in box.taken)


def test_the_mail_of_a_registration_arrives_at_once_and_its_link_works(tmp_path: Path) -> None:
    with mail_servers.smtp() as box, server(tmp_path, **by_smtp(box.port)) as running:
        assert register(running, "ann").status_code == 201
        (taken,) = box.wait_for(1, seconds=5)
        link = next(word for word in taken.text.split() if "/verify?token=" in word)
        page = f"{running.url}/verify?{link.partition('?')[2]}"
        for _ in range(2):  # as a scanner of mails does
            assert httpx.get(page, headers={"Accept": "text/html"}).status_code == 200
        token = link.partition("token=")[2]
        assert httpx.post(f"{running.url}/verify", data={"token": token}).status_code == 200
        assert User.objects.get(email="ann@example.com").verified
        assert token not in running.log.read_text()


def test_no_mail_is_lost_when_the_server_dies_before_it_is_sent(tmp_path: Path) -> None:
    port = mail_servers.free_port()  # nobody listens there yet
    with server(tmp_path, **by_smtp(port)) as running:
        names = [f"user{number}" for number in range(5)]
        for name in names:
            assert register(running, name).status_code == 201
        running.kill()
        assert Mail.objects.count() == 5
        Mail.objects.update(due=clock.now())  # as if the minutes of the schedule were over
        with mail_servers.smtp(port) as box:
            running.start()
            box.wait_for(5)
            time.sleep(1)
            assert addresses(box) == sorted(f"{name}@example.com" for name in names)
    assert not Mail.objects.exists()


def test_no_mail_is_lost_when_the_server_dies_while_it_is_sent(tmp_path: Path) -> None:
    under_way = threading.Event()

    def hold(connection) -> None:
        under_way.set()
        connection.settimeout(20)
        while connection.recv(1000):
            pass

    with mail_servers.raw_server(hold) as port, server(tmp_path, **by_smtp(port)) as running:
        assert register(running, "ann").status_code == 201
        assert under_way.wait(10)
        running.kill()
    row = Mail.objects.get()
    assert clock.now() < row.due < clock.now() + timedelta(minutes=2)
    Mail.objects.update(due=clock.now())  # as if the lease of the dead were over
    with mail_servers.smtp() as box, server(tmp_path, **by_smtp(box.port)):
        assert box.wait_for(1)[0].to == ["ann@example.com"]


def test_a_graceful_stop_finishes_the_mail_under_way_and_leaves_the_rest(tmp_path: Path) -> None:
    under_way, stopping = threading.Event(), threading.Event()
    with mail_servers.smtp() as box:

        def slow() -> None:
            under_way.set()
            stopping.wait(10)
            time.sleep(0.5)

        box.at_data = slow
        with server(tmp_path, **by_smtp(box.port)) as running:
            for name in ("ann", "bob", "cid"):
                assert register(running, name).status_code == 201
            assert under_way.wait(10)
            threading.Timer(0.3, stopping.set).start()
            assert running.leave() == 0
        sent = len(box.taken)
        assert sent >= 1 and Mail.objects.count() == 3 - sent  # what was sent is not kept, the rest is
        box.at_data = lambda: None
        with server(tmp_path, **by_smtp(box.port)):
            box.wait_for(3)
            assert addresses(box) == ["ann@example.com", "bob@example.com", "cid@example.com"]


def test_two_servers_send_each_mail_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with mail_servers.smtp() as box:
        environ = by_smtp(box.port)
        with server(tmp_path / "a", **environ) as one, server(tmp_path / "b", **environ) as other:
            box.at_data = lambda: time.sleep(0.1)
            names = [f"user{number}" for number in range(12)]
            for number, name in enumerate(names):
                assert register((one, other)[number % 2], name).status_code == 201
            box.wait_for(12)
            time.sleep(1)
    assert addresses(box) == sorted(f"{name}@example.com" for name in names)


def test_a_mail_server_that_hangs_holds_no_registration_up(tmp_path: Path) -> None:
    def hang(connection) -> None:
        connection.settimeout(30)
        while connection.recv(1000):
            pass

    with mail_servers.raw_server(hang) as port, server(tmp_path, **by_smtp(port)) as running:
        register(running, "warm")
        for name in ("ann", "bob"):
            began = time.monotonic()
            assert register(running, name).status_code == 201
            assert time.monotonic() - began < 2
        running.kill()


def test_a_refused_registration_mails_nobody(tmp_path: Path) -> None:
    with mail_servers.smtp() as box, server(tmp_path, **by_smtp(box.port)) as running:
        assert register(running, "ann").status_code == 201
        box.wait_for(1)
        assert register(running, "ann").status_code == 409
        assert httpx.post(f"{running.url}/api/v1/auth/register", json={"email": "x@example.com"}).status_code == 422
        time.sleep(1)
        assert len(box.taken) == 1 and not Mail.objects.exists()
