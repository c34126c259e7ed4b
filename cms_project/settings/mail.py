"""How mail leaves: by SMTP, by a provider's API, or, for development, to the console and a folder."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from cms_project.settings.base import PROJECT_NAME
from cms_project.settings.environment import DATA_DIR, flag, read, whole


def address(raw: str) -> str:
    if not re.fullmatch(r"[!-~]+@[!-~]+", raw) or set(raw) & set('<>",;'):
        raise ValueError("expected an e-mail address, such as noreply@example.com (the name goes to SMTP_FROM_NAME)")
    return raw


def provider(raw: str) -> str:
    if raw.lower() not in _BACKENDS:
        raise ValueError(f"expected one of {', '.join(_BACKENDS)}")
    return raw.lower()


def needed(value: str, name: str) -> str:
    if not value:
        raise ImproperlyConfigured(f"EMAIL_PROVIDER={EMAIL_PROVIDER} needs {name}.")
    return value


_BACKENDS = {
    "console": "core.mail.ConsoleAndFileBackend",
    "smtp": "django.core.mail.backends.smtp.EmailBackend",
    "sendgrid": "anymail.backends.sendgrid.EmailBackend",
    "mailgun": "anymail.backends.mailgun.EmailBackend",
    "ses": "anymail.backends.amazon_ses.EmailBackend",
}

EMAIL_HOST = read(str, "", "SMTP_HOST")
EMAIL_PROVIDER = read(provider, "smtp" if EMAIL_HOST else "console", "EMAIL_PROVIDER")
EMAIL_BACKEND = _BACKENDS[EMAIL_PROVIDER]
EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_TIMEOUT = 10  # seconds, for each step of a conversation
_from_name = " ".join(read(str, PROJECT_NAME, "SMTP_FROM_NAME").split()).replace("\\", "").replace('"', "'")
_from_email = read(address, "noreply@localhost", "SMTP_FROM_EMAIL", "EMAILS_FROM_EMAIL")
DEFAULT_FROM_EMAIL = f'"{_from_name}" <{_from_email}>'
SERVER_EMAIL = DEFAULT_FROM_EMAIL

EMAIL_PORT = read(whole, 587, "SMTP_PORT")
EMAIL_HOST_USER = read(str, "", "SMTP_USER")
EMAIL_HOST_PASSWORD = read(str, "", "SMTP_PASSWORD")
EMAIL_USE_SSL = EMAIL_PORT == 465  # TLS from the first byte; elsewhere it begins by STARTTLS
EMAIL_USE_TLS = read(flag, True, "SMTP_TLS") and not EMAIL_USE_SSL

# A mail server that a setting names (smtp_host) is on the public internet; with this it may be anywhere.
SMTP_ALLOW_PRIVATE = read(flag, False, "SMTP_ALLOW_PRIVATE")

# Links in our mails are secrets, which a provider's click tracking would rewrite.
_UNTRACKED = {"track_clicks": False, "track_opens": False}
ANYMAIL: dict[str, Any] = {"REQUESTS_TIMEOUT": EMAIL_TIMEOUT}

match EMAIL_PROVIDER:
    case "smtp":
        needed(EMAIL_HOST, "SMTP_HOST")
    case "sendgrid":
        ANYMAIL |= {
            "SENDGRID_API_KEY": needed(read(str, "", "SENDGRID_API_KEY"), "SENDGRID_API_KEY"),
            "SENDGRID_API_URL": read(str, "https://api.sendgrid.com/v3/", "SENDGRID_API_URL"),
            "SEND_DEFAULTS": _UNTRACKED,
        }
    case "mailgun":
        ANYMAIL |= {
            "MAILGUN_API_KEY": needed(read(str, "", "MAILGUN_API_KEY"), "MAILGUN_API_KEY"),
            "MAILGUN_API_URL": read(str, "https://api.mailgun.net/v3", "MAILGUN_API_URL"),
            "SEND_DEFAULTS": _UNTRACKED,
        }
        _domain = read(str, "", "MAILGUN_SENDER_DOMAIN", "MAILGUN_DOMAIN")
        if _domain:  # else that of the sender's address
            ANYMAIL["MAILGUN_SENDER_DOMAIN"] = _domain
    case "ses":
        if find_spec("boto3") is None:
            raise ImproperlyConfigured("EMAIL_PROVIDER=ses needs boto3: pip install -r requirements-ses.txt")
        # Keys come from the environment, a profile or the machine's role, as everywhere with AWS.
        _region = read(str, "", "AWS_REGION", "AWS_DEFAULT_REGION")
        ANYMAIL["AMAZON_SES_CLIENT_PARAMS"] = {
            "region_name": needed(_region, "AWS_REGION"),
            "endpoint_url": read(str, "", "AWS_ENDPOINT_URL_SESV2") or None,
            "config": {
                "connect_timeout": EMAIL_TIMEOUT,
                "read_timeout": EMAIL_TIMEOUT,
                "retries": {"total_max_attempts": 1},  # we have a schedule
            },
        }
