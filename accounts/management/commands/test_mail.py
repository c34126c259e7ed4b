"""``manage.py test_mail ADDRESS``: send a mail here and now, and say what stands in its way."""

from __future__ import annotations

import smtplib
import socket
import ssl
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError
from django.core.validators import validate_email

from accounts import mail_server, mailing
from accounts.mail_server import Server
from core.networks import NotPublic


class Command(BaseCommand):
    help = "Send a test mail to an address, the way all mail leaves, and explain what goes wrong."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address")

    def handle(self, *args: Any, address: str, **options: Any) -> None:
        try:
            validate_email(address)
        except ValidationError as fault:
            raise CommandError(f"{address!r} is not an e-mail address.") from fault
        server, sender = mail_server.server(), mail_server.sender()
        way = _way(server)
        self.stdout.write(f"Sending to {address} by {way}, from {sender} …")
        self.stdout.flush()
        message = mailing.compose("test", address, {"way": way, "sender": sender})
        try:
            message.send()
        except Exception as fault:
            raise CommandError(f"{type(fault).__name__}: {fault}\n{hint(fault, server, sender)}".rstrip()) from fault
        if server.provider == "console":
            self.stdout.write("No mail server is set (SMTP_HOST, or EMAIL_PROVIDER), so nobody gets this mail.")
        else:
            self.stdout.write("Sent: the server has taken it. If it does not arrive, look into the spam folder.")


def _way(server: Server) -> str:
    match server.provider:
        case "smtp":
            tls = "TLS" if server.is_smtps else "STARTTLS" if server.tls else "no encryption"
            user = f" as {server.user}" if server.user else ""
            return f"SMTP to {server.host}:{server.port} ({tls}){user}"
        case "console":
            return f"the console and {settings.EMAIL_FILE_PATH}"
        case provider:
            return f"the API of {provider}"


def hint(fault: Exception, server: Server, sender: str) -> str:
    """What to do about it, in words; empty where we know no better than the error."""
    host, port = server.host, server.port
    match fault:
        case NotPublic():
            return (
                "The environment may name any server (SMTP_HOST); a setting one that everybody can reach, unless "
                "SMTP_ALLOW_PRIVATE=true."
            )
        case socket.gaierror():
            return f"There is no server called {host!r}: check SMTP_HOST."
        case ssl.SSLCertVerificationError():
            return f"The certificate of {host} is not to be trusted, or is for another name: SMTP_HOST must be in it."
        case ssl.SSLError():
            return f"{host}:{port} does not speak TLS from the start. Port 465 does; 587 and 25 begin with STARTTLS."
        case TimeoutError():
            return (
                f"{host}:{port} does not answer. A firewall may be in the way: many hosters block port 25, and some "
                "587. On port 465 the server expects TLS from the start, which we do there only."
            )
        case ConnectionRefusedError():
            return f"Nobody listens at {host}:{port}: check SMTP_HOST and SMTP_PORT (587 with STARTTLS, 465 with TLS)."
        case smtplib.SMTPAuthenticationError():
            return (
                "SMTP_USER or SMTP_PASSWORD is wrong. Some services want a password made for apps (Gmail does), or the"
                " word 'apikey' as the user."
            )
        case smtplib.SMTPNotSupportedError():
            return (
                "The server does not offer what is set. No STARTTLS: use another port, or SMTP_TLS=false for a server "
                "on this machine. No AUTH: leave SMTP_USER and SMTP_PASSWORD empty."
            )
        case smtplib.SMTPSenderRefused():
            return (
                f"The server does not take mail from {sender}: check SMTP_FROM_EMAIL. It may "
                "want SMTP_USER and SMTP_PASSWORD first, or STARTTLS (SMTP_TLS=true)."
            )
        case smtplib.SMTPRecipientsRefused():
            return "The server does not take mail for this address. It may want SMTP_USER and SMTP_PASSWORD first."
        case smtplib.SMTPServerDisconnected():
            return (
                f"{host}:{port} takes the connection and does not answer as a mail server does. Either it is none, or "
                "it expects TLS from the start, which we do on port 465 only."
            )
        case _ if getattr(fault, "status_code", None) in (401, 403):
            return (
                "The provider refuses the key, or the sender: check the key, and whether SMTP_FROM_EMAIL is verified."
            )
        case OSError():
            return "The mail server could not be reached."
    return ""
