"""Mail as it really leaves: by SMTP to servers of every temper, and by the providers' APIs."""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from accounts import invites, mailing, one_time
from accounts.models import Mail, User
from accounts.principals import principal_of
from accounts.tests import mail_servers
from accounts.tests.mail_servers import Mailbox
from accounts.tests.threads import together
from core import background, clock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]


@pytest.fixture
def by_smtp(settings: Any) -> Callable[..., None]:
    """``by_smtp(box.port)``: mail leaves by the server on this port, without TLS unless told."""

    def use(port: int, **more: Any) -> None:
        settings.EMAIL_PROVIDER, settings.EMAIL_BACKEND = "smtp", "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.DEFAULT_FROM_EMAIL = '"The CMS" <cms@sender.example>'
        for name, value in more.items():
            setattr(settings, name, value)

    return use


@pytest.fixture
def box(by_smtp: Callable[..., None]) -> Iterator[Mailbox]:
    with mail_servers.smtp() as box:
        by_smtp(box.port)
        yield box


def make_due(mail: Mail) -> None:
    Mail.objects.filter(pk=mail.pk).update(due=clock.now())


# --- what arrives ----------------------------------------------------------------------------


def test_a_mail_arrives_in_text_and_html(box, owner, settings):
    settings.PROJECT_NAME = 'Söhne & <b>Co</b> "日本"'
    owner.verified = False
    owner.save()
    mailing.post("verify", owner)
    assert mailing.send_due() == 1 and not Mail.objects.exists()
    (taken,) = box.taken
    message = taken.message
    assert (taken.sender, taken.to) == ("cms@sender.example", ["owner@example.com"])
    assert message["From"] == "The CMS <cms@sender.example>" and message["To"] == "owner@example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@sender.example>")
    assert message["Date"] and message["Subject"] == "Verify your e-mail address"
    assert 'Söhne & <b>Co</b> "日本"' in taken.text
    assert "<b>Co" not in taken.html and "Söhne &amp; &lt;b&gt;Co&lt;/b&gt;" in taken.html
    token = taken.text.partition("token=")[2].split()[0]
    assert one_time.peek(token, one_time.Purpose.VERIFY).account == owner
    assert all(len(line) < 998 for line in taken.content.split(b"\r\n"))


def test_nothing_in_a_name_becomes_a_header_or_a_line(box, superadmin, settings):
    settings.PROJECT_NAME = "Evil\r\nBcc: victim@example.com\r\n\r\nbody"
    superadmin.name = "Jane\r\n\r\nhttps://evil.example"
    superadmin.save()
    invites.create(principal_of(superadmin), superadmin, email="carol@example.com", expires_at=None)
    assert mailing.send_due() == 1
    (taken,) = box.taken
    assert taken.to == ["carol@example.com"]
    assert taken.message["Bcc"] is None and "Bcc: victim@example.com" in taken.message["Subject"]
    assert "\n\nhttps://evil.example" not in taken.text


@pytest.mark.parametrize("name", ["Zürich, Abt. „日本“", "A, B <c@d>", "Say 'hi'", "x" * 300, "名" * 12])
def test_any_name_can_be_the_senders(box, owner, settings, name):
    settings.DEFAULT_FROM_EMAIL = f'"{name}" <cms@sender.example>'
    mailing.post("welcome", owner)
    assert mailing.send_due() == 1
    sender = box.taken[0].message["From"].addresses[0]
    assert (sender.display_name, sender.addr_spec) == (name, "cms@sender.example")


def test_a_mail_to_a_domain_of_another_alphabet_leaves(box):
    mailing.post("change_email", to="x@bücher.example")  # no account: dropped
    assert mailing.send_due() == 0
    user = User.objects.create_user("ann@bücher.example", "correct-horse-battery", username="ann")
    mailing.post("welcome", user)
    assert mailing.send_due() == 1 and box.taken[0].to == ["ann@xn--bcher-kva.example"]


def test_nobody_is_written_to_for_what_was_rolled_back(box, owner):
    with transaction.atomic():
        mailing.post("welcome", owner)
        transaction.set_rollback(True)
    assert mailing.send_due() == 0 and not box.taken


# --- encryption, passwords -------------------------------------------------------------------


@pytest.mark.parametrize("from_the_start", [False, True], ids=["STARTTLS", "TLS"])
def test_mail_is_encrypted_to_a_server_that_is_trusted(by_smtp, owner, tmp_path, monkeypatch, from_the_start):
    context, pem = mail_servers.certificate(tmp_path)
    options = {"ssl_context": context} if from_the_start else {"tls_context": context, "require_starttls": True}
    mailing.post("welcome", owner)
    with mail_servers.smtp(**options) as box:
        by_smtp(box.port, EMAIL_USE_SSL=from_the_start, EMAIL_USE_TLS=not from_the_start)
        assert mailing.send_due() == 0 and not box.taken  # nobody knows this certificate
        assert "CERTIFICATE_VERIFY_FAILED" in Mail.objects.get().error
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        make_due(Mail.objects.get())
        assert mailing.send_due() == 1 and (box.taken[0].encrypted or from_the_start)


def test_a_server_without_starttls_gets_nothing_where_that_is_asked_for(box, by_smtp, owner):
    by_smtp(box.port, EMAIL_USE_TLS=True)
    mailing.post("welcome", owner)
    assert mailing.send_due() == 0 and not box.taken
    assert "STARTTLS" in Mail.objects.get().error


def test_the_server_is_told_who_we_are(by_smtp, owner):
    mailing.post("welcome", owner)
    with mail_servers.smtp(auth=True) as box:
        by_smtp(box.port, EMAIL_HOST_USER="cms", EMAIL_HOST_PASSWORD="wrong")
        assert mailing.send_due() == 0 and not box.taken
        row = Mail.objects.get()
        assert "535" in row.error and "wrong" not in row.error and row.attempts == 1  # to be mended, then it leaves
        by_smtp(box.port, EMAIL_HOST_USER="cms", EMAIL_HOST_PASSWORD="s3cret")
        make_due(row)
        assert mailing.send_due() == 1 and box.taken[0].user == "cms"


# --- servers that fail -----------------------------------------------------------------------


def test_an_address_that_is_refused_for_good_is_given_up_at_once(box, owner, member, caplog):
    box.answers = ["550 5.1.1 no such user"]
    mailing.post("welcome", owner)
    mailing.post("welcome", member)
    with caplog.at_level(logging.ERROR, "fastcms.mail"):
        assert mailing.send_due() == 1  # the next one is not held up
    assert [taken.to for taken in box.taken] == [["member@example.com"]]
    assert not Mail.objects.exists()
    assert "given up" in caplog.text and "no such user" in caplog.text


def test_a_refusal_for_now_is_tried_again_by_the_schedule(box, owner, member):
    box.answers = ["451 4.7.1 greylisted"]
    mailing.post("welcome", owner)
    mailing.post("welcome", member)
    before = clock.now()
    assert mailing.send_due() == 1
    row = Mail.objects.get()
    assert row.account_id == owner.account_id and row.attempts == 1 and "greylisted" in row.error
    assert timedelta(seconds=55) < row.due - before < timedelta(seconds=70)
    assert mailing.send_due() == 0  # not yet
    make_due(row)
    assert mailing.send_due() == 1 and not Mail.objects.exists()


def test_a_mail_is_given_up_after_the_last_attempt(box, owner, caplog):
    mailing.post("welcome", owner)
    waits = []
    for _ in range(len(mailing.RETRIES)):
        box.answers = ["451 later"]
        before = clock.now()
        assert mailing.send_due() == 0
        row = Mail.objects.get()
        waits.append(round((row.due - before).total_seconds() / 60))
        make_due(row)
    assert waits == [1, 5, 15, 60, 240, 720, 1440]
    box.answers = ["451 later"]
    with caplog.at_level(logging.ERROR, "fastcms.mail"):
        assert mailing.send_due() == 0
    assert not Mail.objects.exists() and "given up after 8 attempts" in caplog.text


def test_a_server_that_hangs_costs_one_timeout_a_round(by_smtp, owner, member):
    def hang(connection: socket.socket) -> None:
        connection.settimeout(20)
        while connection.recv(1000):
            pass

    for account in (owner, member, owner):
        mailing.post("welcome", account)
    with mail_servers.raw_server(hang) as port:
        by_smtp(port, EMAIL_TIMEOUT=0.5)
        began = time.monotonic()
        assert mailing.send_due() == 0
        assert time.monotonic() - began < 3
    assert sorted(Mail.objects.values_list("attempts", flat=True)) == [0, 0, 1]


def test_a_server_that_dies_in_the_middle_is_tried_again(by_smtp, owner):
    def die_at_data(connection: socket.socket) -> None:
        connection.sendall(b"220 hello\r\n")
        while line := connection.recv(1000):
            if line.upper().startswith(b"DATA"):
                return
            connection.sendall(b"250 OK\r\n")

    mailing.post("welcome", owner)
    with mail_servers.raw_server(die_at_data) as port:
        by_smtp(port)
        assert mailing.send_due() == 0
    row = Mail.objects.get()
    assert row.attempts == 1 and row.error
    with mail_servers.smtp() as box:
        by_smtp(box.port)
        make_due(row)
        assert mailing.send_due() == 1 and len(box.taken) == 1


def test_nobody_listening_leaves_the_others_untouched(by_smtp, owner, member):
    by_smtp(mail_servers.free_port())
    for account in (owner, member):
        mailing.post("welcome", account)
    assert mailing.send_due() == 0
    assert sorted(Mail.objects.values_list("attempts", flat=True)) == [0, 1]
    with mail_servers.smtp() as box:
        by_smtp(box.port)
        assert mailing.send_due() == 1 and box.taken[0].to == ["member@example.com"]


def test_a_template_that_is_broken_holds_nobody_up(box, owner, member, monkeypatch):
    def broken(draft: Any) -> Any:
        raise OSError("no disk")

    monkeypatch.setitem(mailing._contexts, "two_fa_enabled", broken)
    mailing.post("two_fa_enabled", owner)
    mailing.post("welcome", member)
    assert mailing.send_due() == 1 and "no disk" in Mail.objects.get().error


# --- several senders -------------------------------------------------------------------------


def test_many_senders_send_each_mail_once(box, make_user):
    people = [make_user(f"user{number}") for number in range(20)]
    for account in people:
        mailing.post("welcome", account)
    assert sum(together(4, lambda _: mailing.send_due())) == 20
    assert sorted(taken.to[0] for taken in box.taken) == sorted(account.email for account in people)


def test_what_a_dead_process_was_sending_is_sent_when_its_lease_is_over(box, owner):
    mailing.post("welcome", owner)
    mail = mailing._take()  # and the process dies here
    assert mail is not None and mailing.send_due() == 0
    assert Mail.objects.get().due - clock.now() < timedelta(minutes=2)
    make_due(mail)
    assert mailing.send_due() == 1 and len(box.taken) == 1


def test_whoever_is_to_end_leaves_the_rest_to_the_next(box, make_user, monkeypatch):
    for number in range(3):
        mailing.post("welcome", make_user(f"user{number}"))
    with monkeypatch.context() as here:
        box.at_data = lambda: here.setattr(background.worker, "is_ending", True)
        assert mailing.send_due() == 1 and Mail.objects.count() == 2
        box.at_data = lambda: None
    assert mailing.send_due() == 2


# --- manage.py test_mail ---------------------------------------------------------------------


def mail_to(address: str) -> str:
    out = StringIO()
    call_command("test_mail", address, stdout=out)
    return out.getvalue()


def test_the_command_sends_a_mail(box):
    said = mail_to("me@example.com")
    assert f"SMTP to 127.0.0.1:{box.port} (no encryption)" in said and "Sent" in said
    assert box.taken[0].to == ["me@example.com"] and "cms@sender.example" in box.taken[0].text


@pytest.mark.parametrize(
    ("settings_of_mail", "answers", "hint"),
    [
        ({"EMAIL_HOST": "no-such-host.invalid"}, [], "check SMTP_HOST"),
        ({"EMAIL_PORT": 1}, [], "Nobody listens at 127.0.0.1:1"),
        ({"EMAIL_USE_TLS": True}, [], "SMTP_TLS=false"),
        ({"EMAIL_USE_SSL": True}, [], "does not speak TLS from the start"),
        ({"EMAIL_HOST_USER": "cms", "EMAIL_HOST_PASSWORD": "x"}, [], "leave SMTP_USER and SMTP_PASSWORD empty"),
        ({}, ["554 relay access denied"], "does not take mail for this address"),
    ],
    ids=["no such host", "nobody there", "no STARTTLS", "no TLS", "no AUTH", "refused"],
)
def test_the_command_says_what_is_wrong(box, by_smtp, settings_of_mail, answers, hint):
    box.answers = answers
    by_smtp(box.port, EMAIL_TIMEOUT=2)
    by_smtp(settings_of_mail.pop("EMAIL_PORT", box.port), **settings_of_mail)
    with pytest.raises(CommandError, match=hint):
        mail_to("me@example.com")
    assert not box.taken


def test_the_command_knows_a_wrong_password_and_a_silent_server(by_smtp):
    with mail_servers.smtp(auth=True) as box:
        by_smtp(box.port, EMAIL_HOST_USER="cms", EMAIL_HOST_PASSWORD="wrong")
        with pytest.raises(CommandError, match="SMTP_USER or SMTP_PASSWORD is wrong"):
            mail_to("me@example.com")
    with mail_servers.raw_server(lambda connection: time.sleep(1)) as port:
        by_smtp(port, EMAIL_TIMEOUT=0.2, EMAIL_HOST_USER="", EMAIL_HOST_PASSWORD="")
        with pytest.raises(CommandError, match="takes the connection and does not answer"):
            mail_to("me@example.com")


def test_the_command_refuses_nonsense_and_knows_the_console(db, settings):
    with pytest.raises(CommandError, match="is not an e-mail address"):
        mail_to("me")
    settings.EMAIL_PROVIDER = "console"
    assert "nobody gets this mail" in mail_to("me@example.com")


# --- providers -------------------------------------------------------------------------------


@pytest.fixture
def by_provider(settings: Any) -> Callable[..., None]:
    """Settings as cms_project/settings/mail.py makes them of the environment."""

    def use(provider: str, backend: str, **anymail: Any) -> None:
        settings.EMAIL_PROVIDER = provider
        settings.EMAIL_BACKEND = f"anymail.backends.{backend}.EmailBackend"
        settings.DEFAULT_FROM_EMAIL = '"The CMS" <cms@sender.example>'
        settings.ANYMAIL = {"REQUESTS_TIMEOUT": 2, **anymail}

    return use


UNTRACKED = {"track_clicks": False, "track_opens": False}


def test_sendgrid_takes_a_mail(by_provider, owner):
    mailing.post("reset", owner)
    with mail_servers.http_api(202) as api:
        by_provider(
            "sendgrid", "sendgrid", SENDGRID_API_KEY="SG.k", SENDGRID_API_URL=f"{api.url}/v3/", SEND_DEFAULTS=UNTRACKED
        )
        assert mailing.send_due() == 1
    ((path, headers, body),) = api.requests
    sent = json.loads(body)
    assert path == "/v3/mail/send" and headers["authorization"] == "Bearer SG.k"
    assert sent["personalizations"][0]["to"] == [{"email": "owner@example.com"}]
    assert sent["from"] == {"email": "cms@sender.example", "name": "The CMS"}
    assert {part["type"] for part in sent["content"]} == {"text/plain", "text/html"}
    assert sent["headers"]["Auto-Submitted"] == "auto-generated"
    assert sent["tracking_settings"]["click_tracking"]["enable"] is False  # links are secrets


def test_mailgun_takes_a_mail(by_provider, owner):
    mailing.post("reset", owner)
    with mail_servers.http_api(200, {"id": "<1@sender.example>", "message": "Queued. Thank you."}) as api:
        by_provider(
            "mailgun", "mailgun", MAILGUN_API_KEY="key-1", MAILGUN_API_URL=f"{api.url}/v3", SEND_DEFAULTS=UNTRACKED
        )
        assert mailing.send_due() == 1
    ((path, headers, body),) = api.requests
    assert path == "/v3/sender.example/messages"
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"api:key-1"
    assert b"owner%40example.com" in body and b"o%3Atracking-clicks=no" in body


def test_amazon_ses_takes_a_mail(by_provider, owner, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    mailing.post("reset", owner)
    with mail_servers.http_api(200, {"MessageId": "m-1"}) as api:
        by_provider("ses", "amazon_ses", AMAZON_SES_CLIENT_PARAMS={"region_name": "eu-west-1", "endpoint_url": api.url})
        assert mailing.send_due() == 1
    ((path, headers, body),) = api.requests
    assert path == "/v2/email/outbound-emails" and "AKIATEST" in headers["authorization"]
    sent = json.loads(body)
    message = message_from_bytes(base64.b64decode(sent["Content"]["Raw"]["Data"]), policy=policy.default)
    assert sent["Destination"] == {"ToAddresses": ["owner@example.com"]}
    assert message["Subject"] == "Set a new password" and message["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(("status", "tried"), [(401, 1), (503, 1), (429, 1), (400, 2)])
def test_a_provider_that_refuses_is_asked_again_later(by_provider, owner, member, status, tried):
    for account in (owner, member):
        mailing.post("welcome", account)
    with mail_servers.http_api(status, {"errors": [{"message": "no"}]}) as api:
        by_provider("sendgrid", "sendgrid", SENDGRID_API_KEY="SG.secret", SENDGRID_API_URL=f"{api.url}/v3/")
        assert mailing.send_due() == 0
        assert len(api.requests) == tried  # a refused key refuses the next mail too
        if status == 401:
            with pytest.raises(CommandError, match="check the key"):
                mail_to("me@example.com")
    assert Mail.objects.count() == 2
    assert not any("SG.secret" in row.error for row in Mail.objects.all())


def test_a_provider_that_is_away_is_asked_again_later(by_provider, owner, member):
    for account in (owner, member):
        mailing.post("welcome", account)
    url = f"http://127.0.0.1:{mail_servers.free_port()}/v3/"
    by_provider("sendgrid", "sendgrid", SENDGRID_API_KEY="SG.k", SENDGRID_API_URL=url)
    assert mailing.send_due() == 0
    assert sorted(Mail.objects.values_list("attempts", flat=True)) == [0, 1]


def test_ses_that_refuses_is_asked_again_later(by_provider, owner, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    mailing.post("welcome", owner)
    with mail_servers.http_api(403, {"message": "The security token is invalid"}) as api:
        client = {"region_name": "eu-west-1", "endpoint_url": api.url, "config": {"retries": {"total_max_attempts": 1}}}
        by_provider("ses", "amazon_ses", AMAZON_SES_CLIENT_PARAMS=client)
        assert mailing.send_due() == 0
        assert len(api.requests) == 1
    assert "403" in Mail.objects.get().error or "security token" in Mail.objects.get().error
