"""``manage.py doctor``: a healthy house passes, each fault is found and told with what to do, no secret is."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from accounts.models import User
from backups.models import Backup
from cms_project import checks, doctor
from cms_project.doctor import Check, Level, Verdict
from core import background, clock, consistency
from core.consistency import Problem
from core.errors import ServiceUnavailable
from monitoring import heartbeat
from monitoring.models import Heartbeat

pytestmark = pytest.mark.engine
SECRET = "k3y-" * 20
NOBODY_LISTENS = "127.0.0.1:1"


def run(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def told(check: Callable[[], Any]) -> list[tuple[str, str]]:
    """Levels and sentences of one check, as the command looks at it."""
    name = check.__name__.lstrip("_")
    return [(str(verdict.level), verdict.sentence) for verdict in doctor._looked(Check(name, check))]


@pytest.fixture
def house(committed_db: None, settings: Any, tmp_path: Path) -> Any:
    settings.DATA_DIR, settings.BACKUP_DIR = tmp_path, tmp_path / "backups"
    settings.MEDIA_ROOT = str(tmp_path / "files")
    return settings


@pytest.fixture
def production(house: Any) -> Iterator[Any]:
    house.PRODUCTION, house.ENV, house.SECRET_KEY_IS_SET = True, "production", True
    house.SECRET_KEY = "f3a91c7d5be2408896ab01ce43d7f25e"
    house.BASE_URL, house.ALLOWED_HOSTS = "https://cms.example.com", ["cms.example.com"]
    house.TRUSTED_PROXIES = [ip_network("10.0.0.7/32")]
    return house


def test_a_healthy_house_at_a_desk_exits_with_0(house: Any) -> None:
    User.objects.create_superuser("boss@example.com", "correct-horse-7")
    heartbeat.beat()
    code, output = run()
    assert code == 0, output
    lines = output.splitlines()
    assert {line.split(":")[0].split()[1] for line in lines} == {check.name for check in doctor.CHECKS}
    assert all(line.startswith(("OK   ", "WARN ")) for line in lines) and "\x1b" not in output
    assert all(" – " in line for line in lines if line.startswith("WARN"))
    assert "OK   worker: Background tasks are run." in lines and "OK   checkdb: What is stored fits together." in lines


def test_as_json_it_says_the_same(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", [Check("one", lambda: [doctor.ok("Well.")])])
    code, output = run("--json")
    well = {"name": "one", "level": "OK", "sentence": "Well.", "remedy": ""}
    assert (code, json.loads(output)) == (0, {"ok": True, "checks": [well]})
    monkeypatch.setattr(doctor, "CHECKS", [Check("one", lambda: [doctor.fail("Ill.", "Heal.")])])
    code, output = run("--json")
    assert (code, json.loads(output)["ok"]) == (1, False)
    assert run() == (1, "FAIL one: Ill. – Heal.\n")


def test_a_check_that_hangs_costs_its_seconds(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    def hang() -> Iterator[Verdict]:
        never.wait()
        yield doctor.ok("At last.")

    monkeypatch.setattr(
        doctor, "CHECKS", [Check("slow", hang, seconds=0.05), Check("next", lambda: [doctor.ok("Well.")])]
    )
    code, output = run()
    never.set()
    assert code == 1 and "FAIL slow: No answer within 0.05 s." in output and "OK   next: Well." in output


def test_without_the_database_the_rest_is_looked_at(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> bool:
        raise ServiceUnavailable("gone")

    monkeypatch.setattr(checks.MIGRATIONS, "ask", away)
    code, output = run()
    assert code == 1 and "FAIL migrations: It could not be looked at: gone" in output
    assert "WARN superadmin: Not looked at" in output and "OK   data_dir" in output
    monkeypatch.setattr(checks.MIGRATIONS, "ask", lambda: False)
    assert told(doctor._migrations) == [("FAIL", "The database is not of this version.")]


def test_no_secret_is_in_what_faults_say(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.REDIS_URL = f"redis://:{SECRET}@{NOBODY_LISTENS}/0"
    house.CELERY_BROKER_URL, house.EMAIL_HOST_PASSWORD = house.REDIS_URL, SECRET + "mail"

    def say() -> Iterator[Verdict]:
        raise OSError(f"could not use {house.REDIS_URL} with {house.EMAIL_HOST_PASSWORD} and {house.SECRET_KEY}")
        yield

    monkeypatch.setattr(doctor, "CHECKS", [Check("redis", doctor._redis), Check("leak", say)])
    _, output = run()
    assert "FAIL leak: It could not be looked at: could not use" in output
    assert SECRET not in output and house.SECRET_KEY not in output


@pytest.mark.parametrize(
    ("check", "given", "level", "says"),
    [
        (doctor._settings, {"DEBUG": True}, "FAIL", "DEBUG is on"),
        (doctor._settings, {"RATE_LIMIT_ENABLED": False}, "WARN", "not limited"),
        (doctor._settings, {"PRODUCTION": False}, "WARN", "strangers may become superadmin"),
        (doctor._secret_key, {"SECRET_KEY_IS_SET": False}, "FAIL", "SECRET_KEY is not set"),
        (doctor._allowed_hosts, {"ALLOWED_HOSTS": ["other.example.com"]}, "FAIL", "ALLOWED_HOSTS does not serve"),
        (doctor._allowed_hosts, {"ALLOWED_HOSTS": ["*"]}, "FAIL", "'*'"),
        (doctor._base_url, {"BASE_URL": "http://127.0.0.1:8000"}, "FAIL", "reader's own machine"),
        (doctor._base_url, {"BASE_URL": "http://cms.example.com"}, "WARN", "in the clear"),
        (doctor._base_url, {"BASE_URL": "cms.example.com"}, "FAIL", "no address"),
        (doctor._proxies, {"TRUSTED_PROXIES": []}, "WARN", "counted as one"),
        (doctor._proxies, {"TRUSTED_PROXIES": [ip_network("0.0.0.0/0")]}, "FAIL", "pretend"),
        (doctor._data_dir, {"DATA_DIR": Path("/nowhere/at/all")}, "FAIL", "can't be written"),
        (doctor._data_dir, {"HEALTH_MIN_DISK_MB": 10**9}, "FAIL", "less than HEALTH_MIN_DISK_MB"),
        (doctor._redis, {"REDIS_URL": f"redis://{NOBODY_LISTENS}/0"}, "FAIL", "Redis does not answer"),
        (doctor._redis, {"REDIS_URL": "", "WORKERS": 2}, "FAIL", "WORKERS is 2"),
        (doctor._mail, {"EMAIL_PROVIDER": "console"}, "WARN", "to nobody else"),
        (
            doctor._mail,
            {"EMAIL_PROVIDER": "smtp", "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": 1},
            "FAIL",
            "127.0.0.1:1 can't be reached",
        ),
        (doctor._backups, {}, "WARN", "There is no backup"),
        (doctor._backups, {"BACKUP_S3_BUCKET": ""}, "WARN", "on the disk that they are of"),
        (doctor._superadmin, {}, "FAIL", "No superadmin"),
    ],
)
def test_each_fault_is_found(
    production: Any, check: Callable[[], Any], given: dict[str, Any], level: str, says: str
) -> None:
    for name, value in given.items():
        setattr(production, name, value)
    assert [one for one in told(check) if one[0] == level and says in one[1]], told(check)


@pytest.mark.parametrize(
    "check", [doctor._settings, doctor._secret_key, doctor._allowed_hosts, doctor._base_url, doctor._proxies]
)
def test_what_is_set_well_is_said_to_be(production: Any, check: Callable[[], Any]) -> None:
    production.RATE_LIMIT_ENABLED = True
    assert [level for level, _ in told(check)] == [Level.OK]


def test_a_key_that_others_can_read_is_told(production: Any) -> None:
    (production.DATA_DIR / "secret_key").write_text("x")
    (production.DATA_DIR / "secret_key").chmod(0o644)
    assert told(doctor._secret_key)[-1][0] == "FAIL"
    (production.DATA_DIR / "secret_key").chmod(0o600)
    assert [level for level, _ in told(doctor._secret_key)] == ["OK"]


def test_what_does_not_fit_together_is_told_in_brief(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Problem("The index of b is missing.", repair=int), Problem("The file c is gone.")]
    monkeypatch.setattr(consistency, "find", lambda: found)
    (verdict,) = doctor._consistency()
    assert verdict.level is Level.FAIL and "2 things" in verdict.sentence and "index of b" in verdict.sentence
    assert "--fix repairs 1" in verdict.remedy


def test_a_worker_that_is_silent_is_told(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cms_project.celery import app

    assert told(doctor._worker)[0][0] == "WARN"  # no server runs, which is no fault of a desk
    house.CELERY_BROKER_URL = "redis://somewhere"
    answers: list[Any] = []
    monkeypatch.setattr(type(app.control), "ping", lambda self, timeout: answers)
    assert "no worker answers" in told(doctor._worker)[0][1] and told(doctor._worker)[0][0] == "FAIL"
    answers.append({"one": "pong"})
    (verdict,) = doctor._worker()
    assert "nobody calls them" in verdict.sentence and "beat" in verdict.remedy
    assert background.has_broker()
    heartbeat.beat()
    assert told(doctor._worker) == [("OK", "Background tasks are run.")]
    Heartbeat.objects.update(at=clock.now() - timedelta(hours=1))
    assert told(doctor._worker)[0][0] == "FAIL"


def test_a_clock_that_was_set_back_is_told(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(doctor._clock)[0][0] == "OK"
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now - timedelta(days=3000))
    assert told(doctor._clock)[0][0] == "FAIL"


def test_backups_that_fail_or_are_old_are_told(production: Any) -> None:
    made = {"status": Backup.Status.COMPLETED, "origin": Backup.Origin.COMMAND}
    newest = Backup.objects.create(filename="b.zip", **made)
    assert told(doctor._backups)[-1][0] == "OK"
    Backup.objects.filter(pk=newest.pk).update(created=clock.now() - timedelta(days=30))
    assert told(doctor._backups)[-1][0] == "WARN"
    Backup.objects.create(filename="c.zip", status=Backup.Status.FAILED, origin=made["origin"], error="no room")
    assert ("FAIL", "The last backup failed: no room") in told(doctor._backups)


def test_admins_with_a_password_alone_are_counted(production: Any) -> None:
    User.objects.create_superuser("boss@example.com", "correct-horse-7")
    assert told(doctor._second_factor) == [("WARN", "1 of 1 admins sign in with a password alone.")]
    User.objects.update(two_fa_enabled=True)
    assert told(doctor._second_factor)[0][0] == "OK"


def test_folders_that_can_not_be_written_are_told(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(doctor._files)[0][0] == "OK"
    Path(house.MEDIA_ROOT).mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tester may be root, who may everything
    assert told(doctor._files)[0][0] == "FAIL"
