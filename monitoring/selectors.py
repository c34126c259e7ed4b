"""Which requests there were, the newest first."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from monitoring.models import LoggedRequest


def requests(
    *,
    method: str | None = None,
    status: str | None = None,
    path: str | None = None,
    address: str | None = None,
    who: str | None = None,
    request_id: str | None = None,
    slower_than: float | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> models.QuerySet[LoggedRequest]:
    """``status`` is a number (``404``) or a class (``4xx``); ``path`` stands anywhere in it; ``slower_than`` is in
    milliseconds; ``until`` is not among them."""
    found = LoggedRequest.objects.order_by("-id")
    if status is not None:
        first = int(status[0]) * 100
        is_class = status.endswith("xx")
        found = found.filter(status__gte=first, status__lt=first + 100) if is_class else found.filter(status=status)
    wanted = {
        "method": method, "path__icontains": path, "address": address, "who": who, "request_id": request_id,
        "ms__gt": slower_than, "at__gte": since, "at__lt": until,
    }  # fmt: skip
    return found.filter(**{lookup: value for lookup, value in wanted.items() if value is not None})
