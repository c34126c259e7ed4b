"""The environment's names, spellings and aliases."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from cms_project.settings import database, environment

ROOT = Path(__file__).resolve().parent.parent.parent
SHOW = """
import json, django.conf
s = django.conf.settings
print(json.dumps({name: getattr(s, name) for name in %r.split()}, default=str))
"""


def settings_of(tmp_path, names, **env):
    """What settings become under ``env``, read in a process of its own."""
    clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "PYTHONPATH", "LANG")}
    clean |= {"DJANGO_SETTINGS_MODULE": "cms_project.settings", "ENV_FILE": "", "DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SHOW % names],
        env=clean | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_defaults_need_nothing(tmp_path):
    found = settings_of(
        tmp_path,
        "ENV DEBUG ALLOWED_HOSTS ACCESS_TOKEN_LIFETIME REFRESH_TOKEN_LIFETIME HOST PORT RATE_LIMIT_ENABLED "
        "PASSWORD_REJECT_COMMON SECRET_KEY PROJECT_NAME SECURE_SSL_REDIRECT",
    )
    key = found.pop("SECRET_KEY")
    assert found == {
        "ENV": "development",
        "DEBUG": False,
        "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"],
        "ACCESS_TOKEN_LIFETIME": "0:15:00",
        "REFRESH_TOKEN_LIFETIME": "7 days, 0:00:00",
        "HOST": "127.0.0.1",
        "PORT": 8000,
        "RATE_LIMIT_ENABLED": False,
        "PASSWORD_REJECT_COMMON": True,
        "PROJECT_NAME": "FastCMS",
        "SECURE_SSL_REDIRECT": False,
    }
    kept = tmp_path / "secret_key"
    assert kept.read_text() == key and len(key) > 50
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert settings_of(tmp_path, "SECRET_KEY") == {"SECRET_KEY": key}


WORK = """
import django
django.setup()
from django.core.mail import send_mail
from cms_project.migrating import migrate
migrate()
send_mail("Sign in", "https://cms.example/reset-password?token=secret", None, ["ann@example.com"])
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_no_other_user_of_the_machine_reads_what_is_kept(tmp_path, is_there):
    home = tmp_path / "home"
    if is_there:
        home.mkdir(mode=0o755)
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "PYTHONPATH", "LANG")}
    env |= {"DJANGO_SETTINGS_MODULE": "cms_project.settings", "ENV_FILE": "", "DATA_DIR": str(home)}
    subprocess.run([sys.executable, "-c", WORK], env=env, cwd=ROOT, capture_output=True, check=True, umask=0o022)
    kept = [*home.rglob("*"), *([] if is_there else [home])]
    assert {"app.db", "app-ephemeral.db", "secret_key", "mail"} <= {path.name for path in kept}
    assert any(path.suffix == ".log" for path in kept)
    assert [path.name for path in kept if path.stat().st_mode & 0o077] == []


def test_every_alias_is_read(tmp_path):
    found = settings_of(
        tmp_path,
        "SECRET_KEY CORS_ALLOWED_ORIGINS DEFAULT_FROM_EMAIL EMAIL_HOST EMAIL_PORT RATE_LIMIT_REQUESTS "
        "ALLOWED_HOSTS OAUTH_PROVIDERS ACCESS_TOKEN_LIFETIME ALGORITHM DEBUG TRUSTED_PROXIES",
        JWT_SECRET="k" * 40,
        ALLOWED_ORIGINS='["http://localhost:3000", "http://localhost:8000/"]',
        EMAILS_FROM_EMAIL="cms@example.com",
        SMTP_FROM_NAME="The CMS",
        SMTP_HOST="smtp.example.com",
        SMTP_PORT="465",
        RATE_LIMIT_PER_MINUTE="60",
        TRUSTED_PROXIES="10.0.0.1, 192.168.0.0/16",
        ALLOWED_HOSTS="a.example, b.example",
        GITHUB_CLIENT_ID="id-1",
        ACCESS_TOKEN_EXPIRE_MINUTES="30",
        ALGORITHM="hs512",
        DEBUG="True",
    )
    assert found["SECRET_KEY"] == "k" * 40
    assert found["CORS_ALLOWED_ORIGINS"] == ["http://localhost:3000", "http://localhost:8000"]
    assert found["DEFAULT_FROM_EMAIL"] == '"The CMS" <cms@example.com>'
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("smtp.example.com", 465)
    assert found["RATE_LIMIT_REQUESTS"] == 60
    assert found["TRUSTED_PROXIES"] == ["10.0.0.1/32", "192.168.0.0/16"]
    assert found["ALLOWED_HOSTS"] == ["a.example", "b.example"]
    assert found["OAUTH_PROVIDERS"]["github"]["client_id"] == "id-1"
    assert found["ACCESS_TOKEN_LIFETIME"] == "0:30:00"
    assert (found["ALGORITHM"], found["DEBUG"]) == ("HS512", True)


def test_an_env_file_fills_in_what_the_environment_leaves_open(tmp_path):
    (tmp_path / "my.env").write_text("PROJECT_NAME=From the file\nPORT=9000\n")
    found = settings_of(tmp_path, "PROJECT_NAME PORT", ENV_FILE=str(tmp_path / "my.env"), PORT="9001")
    assert found == {"PROJECT_NAME": "From the file", "PORT": 9001}


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("sqlite:///./data/app.db", "sqlite3", str(ROOT / "data/app.db")),
        ("sqlite+aiosqlite:///./data/app.db", "sqlite3", str(ROOT / "data/app.db")),
        ("sqlite:////{tmp}/x.db", "sqlite3", "{tmp}/x.db"),
        ("postgres://u:p%40ss@db.example:5433/cms", "postgresql", "cms"),
        ("postgresql+asyncpg://u:p%40ss@db.example:5433/cms", "postgresql", "cms"),
    ],
)
def test_every_documented_database_url_is_understood(url, engine, name, tmp_path):
    tmp = str(tmp_path).lstrip("/")
    config = database.from_url(url.format(tmp=tmp))
    assert config["ENGINE"].endswith(engine)
    assert config["NAME"] == name.format(tmp="/" + tmp)
    if engine == "postgresql":
        assert (config["USER"], config["PASSWORD"], config["HOST"], config["PORT"]) == (
            "u",
            "p@ss",
            "db.example",
            5433,
        )


@pytest.mark.parametrize("url", ["mysql://u@h/db", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_other_databases_are_refused_in_words(url):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        database.from_url(url)


def test_a_value_of_the_wrong_kind_names_its_variable(monkeypatch):
    monkeypatch.setenv("PORT", "eighty")
    with pytest.raises(ImproperlyConfigured, match="PORT"):
        environment.read(environment.whole, 1, "PORT")


@pytest.mark.parametrize(
    ("cast", "raw"), [(environment.networks, "*"), (environment.networks, "proxy.example"), (environment.positive, "0")]
)
def test_proxies_are_addresses_and_a_limit_is_at_least_one(cast, raw, monkeypatch):
    monkeypatch.setenv("A_NAME", raw)
    with pytest.raises(ImproperlyConfigured, match="A_NAME"):
        environment.read(cast, None, "A_NAME")


@pytest.mark.parametrize("raw", ["javascript:1", "cms.example", "https://", "ftp://cms.example", "http:///path"])
def test_links_begin_with_an_address_of_the_web(raw, monkeypatch):
    monkeypatch.setenv("BASE_URL", raw)
    with pytest.raises(ImproperlyConfigured, match="BASE_URL"):
        environment.read(environment.web_address, "", "BASE_URL")
    monkeypatch.setenv("BASE_URL", "https://cms.example:8443/site/")
    assert environment.read(environment.web_address, "", "BASE_URL") == "https://cms.example:8443/site"


def test_an_address_that_is_none_of_redis_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as refused:
        settings_of(tmp_path, "REDIS_URL", REDIS_URL="redis//:hunter2@cache")
    assert "REDIS_URL: expected an address" in refused.value.stderr and "hunter2" not in refused.value.stderr


@pytest.mark.django_db
def test_sqlite_runs_with_the_settings_that_keep_every_answered_write():
    from django.db import connection

    if connection.vendor != "sqlite":
        pytest.skip("SQLite's own")
    with connection.cursor() as cursor:
        pragmas = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    assert connection.transaction_mode == "IMMEDIATE"


@pytest.mark.parametrize(
    ("env", "backend", "tls"),
    [
        ({}, "core.mail.ConsoleAndFileBackend", None),
        ({"SMTP_HOST": "mx"}, "django.core.mail.backends.smtp.EmailBackend", (False, True)),
        ({"SMTP_HOST": "mx", "SMTP_PORT": "465"}, "django.core.mail.backends.smtp.EmailBackend", (True, False)),
        ({"SMTP_HOST": "mx", "SMTP_PORT": "465", "SMTP_TLS": "false"}, "…smtp.EmailBackend", (True, False)),
        ({"SMTP_HOST": "mx", "SMTP_PORT": "25", "SMTP_TLS": "false"}, "…smtp.EmailBackend", (False, False)),
        ({"SMTP_HOST": "mx", "EMAIL_PROVIDER": "console"}, "core.mail.ConsoleAndFileBackend", None),
        ({"EMAIL_PROVIDER": "SendGrid", "SENDGRID_API_KEY": "k"}, "anymail.backends.sendgrid.EmailBackend", None),
        ({"EMAIL_PROVIDER": "mailgun", "MAILGUN_API_KEY": "k"}, "anymail.backends.mailgun.EmailBackend", None),
        (
            {"EMAIL_PROVIDER": "ses", "AWS_DEFAULT_REGION": "eu-west-1"},
            "anymail.backends.amazon_ses.EmailBackend",
            None,
        ),
    ],
)
def test_mail_leaves_as_the_environment_says(tmp_path, env, backend, tls):
    found = settings_of(tmp_path, "EMAIL_BACKEND EMAIL_USE_SSL EMAIL_USE_TLS", **env)
    assert found["EMAIL_BACKEND"].endswith(backend.lstrip("…"))
    assert tls is None or (found["EMAIL_USE_SSL"], found["EMAIL_USE_TLS"]) == tls


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"EMAIL_PROVIDER": "pigeon"}, "expected one of console, smtp, sendgrid, mailgun, ses"),
        ({"EMAIL_PROVIDER": "smtp"}, "needs SMTP_HOST"),
        ({"EMAIL_PROVIDER": "sendgrid"}, "needs SENDGRID_API_KEY"),
        ({"EMAIL_PROVIDER": "mailgun"}, "needs MAILGUN_API_KEY"),
        ({"EMAIL_PROVIDER": "ses"}, "needs AWS_REGION"),
        ({"SMTP_FROM_EMAIL": "The CMS <cms@example.com>"}, "expected an e-mail address"),
        ({"EMAILS_FROM_EMAIL": "cms"}, "expected an e-mail address"),
    ],
)
def test_what_mail_lacks_is_said_at_the_start(tmp_path, env, said):
    with pytest.raises(subprocess.CalledProcessError) as fault:
        settings_of(tmp_path, "EMAIL_BACKEND", **env)
    assert said in fault.value.stderr


def test_ses_asks_for_boto3(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'boto3' else find(name, *rest)\n"
    )
    with pytest.raises(subprocess.CalledProcessError) as fault:
        settings_of(tmp_path, "EMAIL_BACKEND", EMAIL_PROVIDER="ses", AWS_REGION="eu-west-1", PYTHONPATH=str(tmp_path))
    assert "pip install -r requirements-ses.txt" in fault.value.stderr


@pytest.mark.parametrize(
    ("name", "sender"),
    [
        ('The "CMS", Ltd.', "\"The 'CMS', Ltd.\" <cms@example.com>"),
        ("Evil\\nBcc: x@example.com", '"EvilnBcc: x@example.com" <cms@example.com>'),
        ("Zürich 日本", '"Zürich 日本" <cms@example.com>'),
    ],
)
def test_any_name_is_a_senders_name(tmp_path, name, sender):
    found = settings_of(tmp_path, "DEFAULT_FROM_EMAIL", SMTP_FROM_NAME=name, SMTP_FROM_EMAIL="cms@example.com")
    assert found["DEFAULT_FROM_EMAIL"] == sender
