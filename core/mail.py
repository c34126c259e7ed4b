"""Mail where no SMTP server is configured: seen on the console, kept as a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.console import EmailBackend as ConsoleBackend
from django.core.mail.backends.filebased import EmailBackend as FileBackend


class ConsoleAndFileBackend(BaseEmailBackend):
    """Sends to both; files go to ``EMAIL_FILE_PATH``."""

    def __init__(self, fail_silently: bool = False, **kwargs: Any) -> None:
        super().__init__(fail_silently=fail_silently)
        self._backends = [
            ConsoleBackend(fail_silently=fail_silently),
            FileBackend(fail_silently=fail_silently),
        ]

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        return min(backend.send_messages(email_messages) or 0 for backend in self._backends)
