"""Where mail leaves by now: as the settings say, else as the environment does.

The environment's user and password are for the environment's host alone, and what was set for one
host is forgotten with it: nobody learns a password by naming another server. A host that was
set while the server runs is on the public internet, unless ``SMTP_ALLOW_PRIVATE`` says otherwise.
"""

from __future__ import annotations

import re
import smtplib
import socket
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import get_connection
from django.core.mail.backends.smtp import EmailBackend
from django.utils.ipv6 import is_valid_ipv6_address

from core import networks
from core.addresses import email_address
from settings_app import values
from settings_app.declared import SITE_NAME
from settings_app.registry import Setting, declare

HOST, PORT, USER, PASSWORD, TLS = "smtp_host", "smtp_port", "smtp_user", "smtp_password", "smtp_tls"
FROM_EMAIL, FROM_NAME = "smtp_from_email", "smtp_from_name"
SMTPS, SUBMISSION = 465, 587  # TLS from the first byte; elsewhere it begins by STARTTLS
_HOST = re.compile(r"[\w.-]{0,253}")


@dataclass(frozen=True, slots=True)
class Server:
    """``provider`` is as ``EMAIL_PROVIDER``; all else is of ``smtp``. ``is_set``: not as the environment has it."""

    provider: str
    host: str
    port: int
    user: str
    password: str
    tls: bool
    is_set: bool

    @property
    def is_smtps(self) -> bool:
        return self.port == SMTPS if self.is_set else settings.EMAIL_USE_SSL

    @property
    def is_guarded(self) -> bool:
        return self.host != settings.EMAIL_HOST and not settings.SMTP_ALLOW_PRIVATE


def server() -> Server:
    """By which mail leaves now."""
    chosen = values.overrides((HOST, PORT, USER, PASSWORD, TLS))
    host = chosen.get(HOST) or settings.EMAIL_HOST
    is_same = host == settings.EMAIL_HOST
    if is_same and (settings.EMAIL_PROVIDER != "smtp" or not chosen):
        return Server(
            settings.EMAIL_PROVIDER,
            settings.EMAIL_HOST,
            settings.EMAIL_PORT,
            settings.EMAIL_HOST_USER,
            settings.EMAIL_HOST_PASSWORD,
            settings.EMAIL_USE_TLS,
            is_set=False,
        )
    return Server(
        "smtp",
        host,
        chosen.get(PORT, settings.EMAIL_PORT if is_same else SUBMISSION),
        chosen.get(USER, settings.EMAIL_HOST_USER if is_same else ""),
        chosen.get(PASSWORD, settings.EMAIL_HOST_PASSWORD if is_same else ""),
        chosen.get(TLS, settings.EMAIL_USE_TLS if is_same else True),
        is_set=True,
    )


def connection() -> Any:
    """A mail backend of Django's, not yet connected."""
    found = server()
    if not found.is_set:
        return get_connection()
    return (_Guarded if found.is_guarded else EmailBackend)(
        host=found.host,
        port=found.port,
        username=found.user,
        password=found.password,
        use_tls=found.tls and not found.is_smtps,
        use_ssl=found.is_smtps,
        timeout=settings.EMAIL_TIMEOUT,
    )


def sender() -> str:
    """What stands in ``From``: a name and an address."""
    chosen = values.overrides((FROM_EMAIL, FROM_NAME))
    name, address = parseaddr(settings.DEFAULT_FROM_EMAIL)
    own = values.get(SITE_NAME)
    if not chosen and (own == settings.PROJECT_NAME or name != _plain(settings.PROJECT_NAME)):
        return str(settings.DEFAULT_FROM_EMAIL)
    name = chosen.get(FROM_NAME) or (own if name == _plain(settings.PROJECT_NAME) else name)
    return f'"{_plain(name)}" <{chosen.get(FROM_EMAIL) or address}>'


def declare_settings() -> None:
    guarded: dict[str, Any] = {"guarded": True}
    declare(
        Setting(
            HOST,
            "string",
            lambda: settings.EMAIL_HOST,
            "email",
            "The mail server.",
            check=_host_problem,
            forgets=(PASSWORD,),
            **guarded,
        ),
        Setting(
            PORT,
            "integer",
            lambda: settings.EMAIL_PORT,
            "email",
            "Its port: 587 begins with STARTTLS, 465 is TLS from the start.",
            least=1,
            most=65_535,
            **guarded,
        ),
        Setting(USER, "string", lambda: settings.EMAIL_HOST_USER, "email", "Who signs in there.", **guarded),
        Setting(
            PASSWORD,
            "string",
            lambda: settings.EMAIL_HOST_PASSWORD,
            "email",
            "Their password; a new smtp_host forgets it.",
            secret=True,
            **guarded,
        ),
        Setting(
            TLS,
            "boolean",
            lambda: settings.EMAIL_USE_TLS,
            "email",
            "Whether STARTTLS is asked for, on ports other than 465.",
            **guarded,
        ),
        Setting(
            FROM_EMAIL,
            "string",
            lambda: parseaddr(settings.DEFAULT_FROM_EMAIL)[1],
            "email",
            "The sender's address.",
            longest=254,
            check=_address_problem,
            **guarded,
        ),
        Setting(
            FROM_NAME,
            "string",
            lambda: parseaddr(settings.DEFAULT_FROM_EMAIL)[0],
            "email",
            "The sender's name; where neither this nor SMTP_FROM_NAME is set, that of the site.",
            longest=200,
            **guarded,
        ),
    )


def _plain(name: str) -> str:
    """As it can stand between quotes in a header."""
    return " ".join(name.split()).replace("\\", "").replace('"', "'")


def _host_problem(value: str) -> str:
    if _HOST.fullmatch(value) or is_valid_ipv6_address(value):
        return ""
    return "Must be the name or the address of a host, without a port."


def _address_problem(value: str) -> str:
    try:
        email_address(value)
    except ValidationError:
        return "Must be an e-mail address."
    return ""


class _Public(smtplib.SMTP):
    """Connects to nothing but public addresses, whatever the name of the host says at that moment."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return networks.connect(host, port, timeout)


class _PublicTLS(smtplib.SMTP_SSL, _Public):
    pass


class _Guarded(EmailBackend):
    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return _PublicTLS if self.use_ssl else _Public
