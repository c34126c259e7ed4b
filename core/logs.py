"""How log records are written: with the id of their request, as text or as JSON, and without secrets.

:func:`redact` is the one place that knows what a secret looks like. Both formatters send all
they write through it, tracebacks too; whoever logs need not think of it, and should all the same
log no values that somebody sent.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Any

from core import clock, json, request_id

HIDDEN = "***"
MAX_CHARACTERS = 32_768  # of one message or traceback: the patterns below read all of it, while everybody waits
_NAMES = (
    r"(?:(?:new|old|current)_?)?password\w*|passwd|secret\w*|client_secret|\w*token|token_key|ticket|api_?key|"
    r"challenge|code|recovery_codes?|otp|signature|x-webhook-signature|webhook-signature|sessionid|csrftoken|"
    r"authorization|proxy-authorization|cookie|set-cookie|x-api-key|http_authorization|http_cookie|http_x_api_key"
)
_PATTERNS = (
    # Headers: all that follows, to the end of the line or of the quotes.
    (
        re.compile(
            r"(?i)\b((?:http_)?(?:proxy[-_])?(?:authorization|(?:set[-_])?cookie|x[-_]api[-_]key))"
            r"(\"|')?(\s*[:=,]\s*)(b?[\"'])?((?:(?!\4)[^\r\n])+)"
        ),
        rf"\1\2\3\4{HIDDEN}",
    ),
    # In data: "name": "value", 'name': 'value', name="value", name=value; also in query strings and forms.
    (
        re.compile(rf"(?i)([\"'])({_NAMES})\1(\s*[:,]\s*)(b?)([\"'])(?:\\.|(?!\5)[^\\])*\5"),
        rf"\1\2\1\3\4\5{HIDDEN}\5",
    ),
    (re.compile(rf"(?i)(?<![\w\"'])({_NAMES})=(b?[\"'])(?:\\.|(?!\2)[^\\])*\2"), rf"\1=\2{HIDDEN}\2"),
    (re.compile(rf"(?i)(?<![\w\"'])({_NAMES})=[^\s&;,\"'<>)]+"), rf"\1={HIDDEN}"),
    # By their looks, wherever they stand.
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]++\.[\w-]*"), HIDDEN),  # each run of characters is tried once
    (re.compile(r"\bfcms_[\w-]{8,}"), f"fcms_{HIDDEN}"),
    (re.compile(r"\bwhsec_[\w+/=-]{8,}"), f"whsec_{HIDDEN}"),
    (re.compile(r"(?:\b(?:argon2|pbkdf2_\w+|bcrypt\w*|scrypt))?\$(?:argon2\w*|2[abxy])\$[^\s\"']+"), HIDDEN),
    (re.compile(r"\bpbkdf2_\w+\$[^\s\"']+"), HIDDEN),
    (re.compile(r"(?<=://)([^\s/@:\"']*):[^\s/@\"']+@"), rf"\1:{HIDDEN}@"),
)


def redact(text: str) -> str:
    """The text with ``***`` for what may be a secret; of a very long one, the beginning."""
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]} … ({len(text) - MAX_CHARACTERS:,} more characters)"
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


class TextFormatter(logging.Formatter):
    """``2026-01-15 10:00:00,000 INFO name [request id] message``, and tracebacks below it."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JSONFormatter(logging.Formatter):
    """One object a line: ``time level logger request_id message``, and ``exception`` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": clock.isoformat(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
            "request_id": getattr(record, "request_id", None) or "-",
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line).decode()


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.peek() or "-"
        return True


class NoQueryFilter(logging.Filter):
    """For the lines of ``runserver``, which name a request by a mapping with its ``path``."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, dict) and "path" in record.args:
            record.args = {**record.args, "path": str(record.args["path"]).partition("?")[0]}
        return True
