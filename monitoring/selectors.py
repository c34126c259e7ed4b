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
    if method is not None:
        found = found.filter(method=method)
    if status is not None:
        first = int(status[0]) * 100
        is_class = status.endswith("xx")
        found = found.filter(status__gte=first, status__lt=first + 100) if is_class else found.filter(status=status)
    if path is not None:
        found = found.filter(path__icontains=path)
    if address is not None:
        found = found.filter(address=address)
    if who is not None:
        found = found.filter(who=who)
    if request_id is not None:
        found = found.filter(request_id=request_id)
    if slower_than is not None:
        found = found.filter(ms__gt=slower_than)
    if since is not None:
        found = found.filter(at__gte=since)
    if until is not None:
        found = found.filter(at__lt=until)
    return found
