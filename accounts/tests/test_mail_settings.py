"""Mail leaves as the settings say from the next one on, and tells no server the password of another."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from accounts import api_keys, mail_server, mailing
from accounts.models import Mail
from accounts.tests import mail_servers
from accounts.tests.mail_servers import PASSWORD, USER, Mailbox
from core import networks
from settings_app import services, values
from settings_app.models import CmsSetting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]
SETTINGS = "/api/v1/settings"


def put(**changes: Any) -> None:
    for key, value in changes.items():
        services.put(key, value, by="")


@pytest.fixture(autouse=True)
def environment(settings: Any) -> None:
    """Says that mail goes to a server of its own, with a password; and that others may be anywhere."""
    settings.EMAIL_PROVIDER, settings.EMAIL_BACKEND = "smtp", "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "mail.invalid", 587
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "env-user", "env-password"
    settings.DEFAULT_FROM_EMAIL, settings.SMTP_ALLOW_PRIVATE = '"The CMS" <cms@sender.example>', True


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_servers.smtp() as box:
        yield box


def send(owner: Any) -> int:
    mailing.post("welcome", owner)
    return mailing.send_due()


def test_the_next_mail_leaves_by_the_server_that_is_set(box, owner):
    put(smtp_host="127.0.0.1", smtp_port=box.port, smtp_tls=False)
    assert send(owner) == 1 and box.taken[0].message["From"] == "The CMS <cms@sender.example>"
    put(smtp_from_email="hello@shop.example", smtp_from_name='The "Shop"')
    assert send(owner) == 1
    message = box.taken[1].message
    assert message["From"] == "The 'Shop' <hello@shop.example>" and message["Message-ID"].endswith("@shop.example>")
    services.remove("smtp_host")
    server = mail_server.server()
    assert (server.host, server.user, server.password) == ("mail.invalid", "env-user", "env-password")


def test_it_signs_in_there_with_what_is_set(owner):
    with mail_servers.smtp(auth=True) as box:
        put(smtp_host="127.0.0.1", smtp_port=box.port, smtp_tls=False, smtp_user=USER, smtp_password=PASSWORD)
        assert send(owner) == 1 and box.taken[0].user == USER


@pytest.mark.parametrize("backend", ["console", "sendgrid"])
def test_a_server_that_is_set_goes_before_whatever_the_environment_uses(box, owner, settings, backend):
    settings.EMAIL_PROVIDER, settings.EMAIL_BACKEND = backend, "no.such.backend"
    put(smtp_host="127.0.0.1", smtp_port=box.port, smtp_tls=False)
    assert send(owner) == 1 and len(box.taken) == 1


def test_the_environment_s_password_is_for_the_environment_s_server(box, settings):
    put(smtp_host="127.0.0.1", smtp_port=box.port)
    server = mail_server.server()
    assert (server.user, server.password) == ("", "")
    put(smtp_host="mail.invalid", smtp_port=2525)
    server = mail_server.server()
    assert (server.port, server.user, server.password) == (2525, "env-user", "env-password")


@pytest.mark.parametrize(
    "change", [{"smtp_host": "evil.example"}, {"smtp_host": "evil.example", "smtp_password": "**"}]
)
def test_another_server_does_not_get_the_password_of_the_one_before(superadmin, as_user, change):
    put(smtp_host="good.example", smtp_password="kept")
    put(smtp_host="good.example", smtp_port=25)  # the same again
    assert values.get("smtp_password") == "kept"
    assert as_user(superadmin).patch(SETTINGS, change).status_code == 200
    assert mail_server.server().password == "" and not CmsSetting.objects.filter(key="smtp_password").exists()
    both = {"smtp_host": "new.example", "smtp_password": "new"}
    assert as_user(superadmin).patch(SETTINGS, both).status_code == 200
    assert mail_server.server().password == "new"
    services.remove("smtp_host")
    assert mail_server.server().password == "env-password"


def test_a_server_that_is_set_is_on_the_public_internet_unless_the_environment_allows_others(box, owner, settings):
    settings.SMTP_ALLOW_PRIVATE = False
    for host in ("127.0.0.1", "localhost", "::1"):
        put(smtp_host=host, smtp_port=box.port, smtp_tls=False)
        assert send(owner) == 0 and "not on the public internet" in Mail.objects.get().error
        Mail.objects.all().delete()
        with pytest.raises(CommandError, match=r"not on the public internet\n.*SMTP_HOST"):
            call_command("test_mail", "me@example.com", stdout=StringIO())
    put(smtp_port=465)
    assert send(owner) == 0 and "not on the public internet" in Mail.objects.get().error
    Mail.objects.all().delete()
    put(smtp_host="127.0.0.1", smtp_port=box.port)
    settings.EMAIL_HOST, settings.EMAIL_HOST_USER = "127.0.0.1", ""  # the environment may name any
    assert send(owner) == 1 and len(box.taken) == 1


def test_what_the_name_of_a_server_says_is_judged_where_it_is_connected_to(box, owner, settings, monkeypatch):
    """Of several addresses the public ones are tried; the name is asked for once."""
    settings.SMTP_ALLOW_PRIVATE = False
    asked = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    put(smtp_host="mail.example", smtp_port=box.port, smtp_tls=False)
    monkeypatch.setattr(networks.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(networks, "is_public", lambda address: address == "127.0.0.1")
    assert send(owner) == 1 and asked.count("mail.example") == 1 and len(box.taken) == 1


def test_the_command_says_where_mail_goes_by_now(box):
    put(smtp_host="127.0.0.1", smtp_port=box.port, smtp_tls=False)
    out = StringIO()
    call_command("test_mail", "me@example.com", stdout=out)
    assert f"SMTP to 127.0.0.1:{box.port} (no encryption)" in out.getvalue() and "Sent" in out.getvalue()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("smtp_host", "mail.example:25"), ("smtp_host", "http://mail.example"), ("smtp_host", "a b"),
        ("smtp_host", "x\r\nMAIL FROM:<a@b>"), ("smtp_port", 0), ("smtp_port", 65_536), ("smtp_port", "25"),
        ("smtp_from_email", "nobody"), ("smtp_from_email", "a@b.example\nBcc: c@d.example"),
        ("smtp_from_name", "x\nBcc: c@d.example"), ("smtp_user", "a\0b"), ("smtp_tls", "yes"),
    ],
)  # fmt: skip
def test_what_no_mail_server_can_be_is_refused(superadmin, as_user, key, value):
    answer = as_user(superadmin).post(SETTINGS, {"key": key, "value": value})
    assert answer.status_code in (400, 422), answer.json()
    assert not CmsSetting.objects.exists()


def test_only_a_superadmin_says_where_mail_goes(admin, superadmin, as_user):
    """Or an admin would read the superadmin's links."""
    put(smtp_host="good.example")
    before = list(CmsSetting.objects.values())
    client = as_user(admin)
    for answer in (
        client.post(SETTINGS, {"key": "smtp_host", "value": "evil.example"}),
        client.patch(SETTINGS, {"site_name": "Shop", "smtp_host": "evil.example"}),
        client.put("/api/cms/settings/smtp_host", {"value": "evil.example"}),
        client.delete(f"{SETTINGS}/smtp_host"),
    ):
        assert answer.status_code == 403
        assert answer.json()["message"] == "Only a superadmin may change this setting, and no API key."
    key = api_keys.make(superadmin, name="k", access="write")[1]
    program = APIClient(headers={"X-API-Key": key})
    assert program.delete(f"{SETTINGS}/smtp_host").status_code == 403
    assert program.patch(SETTINGS, {"site_name": "Shop", "smtp_host": "evil.example"}).status_code == 403
    assert list(CmsSetting.objects.values()) == before
    assert as_user(superadmin).delete(f"{SETTINGS}/smtp_host").status_code == 200


def test_the_name_of_the_site_is_the_sender_s_unless_that_has_one(owner, settings):
    settings.DEFAULT_FROM_EMAIL = f'"{settings.PROJECT_NAME}" <cms@sender.example>'
    put(site_name="Söhne & Co")
    assert mail_server.sender() == '"Söhne & Co" <cms@sender.example>'
    message = mailing.compose("welcome", "a@b.example", {"account": owner})
    assert message.subject == "Welcome to Söhne & Co" and "Söhne &amp; Co" in str(message.alternatives[0][0])
    settings.DEFAULT_FROM_EMAIL = '"The CMS" <cms@sender.example>'
    assert mail_server.sender() == '"The CMS" <cms@sender.example>'
