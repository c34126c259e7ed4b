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

from accounts import mailing


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
        way = _way()
        self.stdout.write(f"Sending to {address} by {way}, from {settings.DEFAULT_FROM_EMAIL} …")
        self.stdout.flush()
        message = mailing.compose("test", address, {"way": way, "sender": settings.DEFAULT_FROM_EMAIL})
        try:
            message.send()
        except Exception as fault:
            raise CommandError(f"{type(fault).__name__}: {fault}\n{hint(fault)}".rstrip()) from fault
        if settings.EMAIL_PROVIDER == "console":
            self.stdout.write("No mail server is set (SMTP_HOST, or EMAIL_PROVIDER), so nobody gets this mail.")
        else:
            self.stdout.write("Sent: the server has taken it. If it does not arrive, look into the spam folder.")


def _way() -> str:
    match settings.EMAIL_PROVIDER:
        case "smtp":
            tls = "TLS" if settings.EMAIL_USE_SSL else "STARTTLS" if settings.EMAIL_USE_TLS else "no encryption"
            user = f" as {settings.EMAIL_HOST_USER}" if settings.EMAIL_HOST_USER else ""
            return f"SMTP to {settings.EMAIL_HOST}:{settings.EMAIL_PORT} ({tls}){user}"
        case "console":
            return f"the console and {settings.EMAIL_FILE_PATH}"
        case provider:
            return f"the API of {provider}"


def hint(fault: Exception) -> str:
    """What to do about it, in words; empty where we know no better than the error."""
    host, port = settings.EMAIL_HOST, settings.EMAIL_PORT
    match fault:
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
                f"The server does not take mail from {settings.DEFAULT_FROM_EMAIL}: check SMTP_FROM_EMAIL. It may "
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
