"""Log records know the request they belong to."""

from __future__ import annotations

import logging

from core import request_id


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.peek() or "-"
        return True
