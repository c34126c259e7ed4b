"""Ways that mail leaves by, and what it means when one fails."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from smtplib import SMTPDataError, SMTPRecipientsRefused
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.console import EmailBackend as ConsoleBackend
from django.core.mail.backends.filebased import EmailBackend as FileBackend


class ConsoleAndFileBackend(BaseEmailBackend):
    """Where no mail server is configured: seen on the console, kept as a file in ``EMAIL_FILE_PATH``."""

    def __init__(self, fail_silently: bool = False, **kwargs: Any) -> None:
        super().__init__(fail_silently=fail_silently)
        self._backends = [
            ConsoleBackend(fail_silently=fail_silently),
            FileBackend(fail_silently=fail_silently),
        ]

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        return min(backend.send_messages(email_messages) or 0 for backend in self._backends)


class Failure(Enum):
    """What a mail that could not be sent tells about the next attempt, and about other mails."""

    AWAY = "the server can't be reached, or takes nothing from us: other mails would fare alike"
    LATER = "this mail was not taken; it may be another time"
    NEVER = "this mail will never be taken"

    @classmethod
    def of(cls, fault: Exception) -> Failure:
        """Of what ``EmailMessage.send`` raised: by SMTP, or by a provider's API."""
        anymail = sys.modules.get("anymail.exceptions")  # there, if it can have raised this
        if isinstance(fault, SMTPRecipientsRefused):
            return cls._of_codes([code for code, _ in fault.recipients.values()])
        if isinstance(fault, SMTPDataError):
            return cls._of_codes([fault.smtp_code])
        if anymail is not None and isinstance(fault, anymail.AnymailError):
            return cls._of_provider(fault, anymail)
        if isinstance(fault, OSError):  # smtplib's own errors are OSErrors too
            return cls.AWAY
        # An address or a header that no mail can have.
        return cls.NEVER if isinstance(fault, ValueError) else cls.LATER

    @classmethod
    def _of_codes(cls, codes: Sequence[int]) -> Failure:
        return cls.NEVER if codes and all(500 <= code < 600 for code in codes) else cls.LATER

    @classmethod
    def _of_provider(cls, fault: Any, anymail: Any) -> Failure:
        if isinstance(fault, anymail.AnymailRecipientsRefused | ValueError):
            return cls.NEVER
        if not isinstance(fault, anymail.AnymailAPIError):
            return cls.LATER
        # 400 may be the address or the set-up; the schedule of attempts ends either way.
        return cls.LATER if _status(fault) in (400, 413, 422) else cls.AWAY


def _status(fault: Any) -> int | None:
    """Of the provider's answer, if there was one; boto3 answers a mapping."""
    if isinstance(fault.response, dict):
        status: int | None = fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status
    return getattr(fault.response, "status_code", None)
