"""``manage.py serve`` as a process: it migrates, answers, and leaves politely."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve(tmp_path):
    """Starts ``serve`` on an empty directory; answers (process, base url)."""
    started = []

    def start(**env):
        port = free_port()
        clean = {
            k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "PYTHONPATH", "LANG", "DJANGO_SETTINGS_MODULE")
        }
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(port)],
            cwd=ROOT,
            env=clean | {"DATA_DIR": str(tmp_path), "ENV_FILE": "", "PYTHONUNBUFFERED": "1"} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_it_answers(process, base):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return httpx.get(f"{base}/health/ready", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(process.communicate(timeout=5)[0])


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_on_nothing_answers_and_exits_cleanly(serve, sign, tmp_path):
    process, base = serve()
    wait_until_it_answers(process, base)
    wait_until(lambda: httpx.get(f"{base}/health/ready", timeout=60).json()["status"] == "ready")  # the worker too
    assert "Make the first account" in httpx.get(f"{base}/admin").text
    assert httpx.get(f"{base}/static/admin/css/base.css").status_code == 200
    made = httpx.post(
        f"{base}/api/v1/auth/register",
        json={"email": "a@example.com", "password": "correct-horse-battery"},
        timeout=20,
    )
    assert made.status_code == 201 and made.json()["role"] == "superadmin"
    process.send_signal(sign)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    assert f"listens on {base}" in output and "/admin" in output
    assert "Traceback" not in output and "correct-horse" not in output
    assert (tmp_path / "app.db").exists()


@pytest.mark.slow
def test_production_refuses_to_serve_and_names_every_reason(serve, tmp_path):
    process, _ = serve(ENV="production", DEBUG="true", ALLOWED_HOSTS="*", SECRET_KEY="short", WORKERS="2")
    output = process.communicate(timeout=30)[0]
    assert process.returncode != 0
    for word in ("SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "cache", "channel layer"):
        assert word in output
    assert "Traceback" not in output
    assert not (tmp_path / "app.db").exists()


@pytest.mark.slow
def test_production_without_a_key_says_so_in_words(serve, tmp_path):
    process, _ = serve(ENV="production", SECRET_KEY="")
    output = process.communicate(timeout=30)[0]
    assert process.returncode != 0 and "SECRET_KEY is not set." in output and "Traceback" not in output
    assert not (tmp_path / "app.db").exists()


@pytest.mark.slow
def test_production_prints_the_one_time_token_that_opens_the_set_up(serve):
    process, base = serve(ENV="production", SECRET_KEY=os.urandom(32).hex())
    wait_until_it_answers(process, base)
    account = {"email": "a@example.com", "password": "correct-horse-battery"}
    assert httpx.post(f"{base}/api/v1/auth/register", json=account).status_code == 403
    process_output = []
    while not process_output or "set-up token" not in process_output[-1]:
        process_output.append(process.stdout.readline())
    assert any("No mail server is set" in line for line in process_output)
    token = process_output[-1].split(": ", 1)[1].strip()
    time.sleep(1.1)  # one registration a second
    made = httpx.post(f"{base}/api/v1/auth/register", json={**account, "setup_token": token}, timeout=20)
    assert made.status_code == 201, made.text
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


@pytest.mark.slow
def test_several_workers_start_in_production_when_redis_connects_them(serve, redis_url):
    process, base = serve(
        ENV="production", SECRET_KEY=os.urandom(32).hex(), WORKERS="2", REDIS_URL=redis_url, PROJECT_NAME="2"
    )
    wait_until_it_answers(process, base)
    answers = [httpx.get(f"{base}/api/v1/health/ready").json() for _ in range(10)]
    assert {answer["status"] for answer in answers} == {"degraded"}  # there is no worker of Celery's
    assert [answer["failed"] for answer in answers] == [["worker"]] * 10
    assert httpx.get(f"{base}/health/info").status_code == 404
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    assert output.startswith("Applying migrations") and "2 listens on" in output


def test_links_lead_to_the_port_that_is_served(serve, tmp_path):
    process, base = serve()
    wait_until_it_answers(process, base)
    answer = httpx.post(
        f"{base}/api/v1/auth/register", json={"email": "ann@example.com", "password": "correct-horse-7"}
    )
    assert answer.status_code == 201  # the first account, verified as it is made
    mate = {"email": "ben@example.com", "password": "correct-horse-7"}
    assert httpx.post(f"{base}/api/v1/auth/register", json=mate).status_code == 201
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not list((tmp_path / "mail").glob("*")):
        time.sleep(0.1)
    [mail] = (tmp_path / "mail").glob("*")
    assert f"{base}/verify?token=" in mail.read_text().replace("=\n", "").replace("=3D", "=")


@pytest.mark.slow
def test_the_first_admin_can_be_made_before_the_first_start(tmp_path):
    admin = {"EMAIL": "a@example.com", "USERNAME": "boss", "PASSWORD": "correct-horse-battery"}
    given = {f"DJANGO_SUPERUSER_{name}": value for name, value in admin.items()}
    ended = subprocess.run(
        [sys.executable, "manage.py", "createsuperuser", "--noinput"],
        cwd=ROOT, env={**os.environ, "ENV": "development", "ENV_FILE": "", "DATA_DIR": str(tmp_path), "DATABASE_URL": "", **given},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0 and "Superuser created" in ended.stdout, ended.stderr
    with closing(sqlite3.connect(tmp_path / "app.db")) as base:
        assert base.execute("SELECT email, role FROM users").fetchall() == [("a@example.com", "superadmin")]
