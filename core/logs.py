"""Log records know the request they belong to, and no query: what is in it may be a secret."""

from __future__ import annotations

import logging

from core import request_id


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
