"""What the front answers is noted, with who asked and without what they sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import User
from cms_project.front import Front
from cms_project.handler import DjangoHandler
from core import access_log, clock
from core.access_log import Keeper
from monitoring import request_log
from monitoring.models import LoggedRequest
from tests.asgi_client import call


@pytest.fixture
def kept() -> Iterator[None]:
    access_log.keep(Keeper("table", request_log.write, request_log.MOST))
    yield
    access_log.let_go("table")


@pytest.mark.engine
def test_requests_are_noted_with_who_asked_and_without_what_they_sent(
    committed_db: None, kept: None, settings: Any, admin: User, as_user: Any
) -> None:
    settings.ACCESS_LOG = False
    token = as_user(admin)._credentials["HTTP_AUTHORIZATION"]
    django = DjangoHandler(1)
    front = Front(django)

    async def ask() -> None:
        for path in ("/api/v1/auth/me?token=s3cret", "/health/live", "/static/nothing.css"):
            await call(front, "GET", path, [("Authorization", token), ("X-Request-ID", "r-7")], b"")
        await front.close()

    asyncio.run(ask())
    django.close()
    noted = LoggedRequest.objects.get()
    assert (noted.method, noted.path, noted.status) == ("GET", "/api/v1/auth/me", 400)
    assert (noted.who, noted.request_id) == (f"users/{admin.pk}", "r-7")
    assert noted.ms > 0 and abs(noted.at - clock.now()) < timedelta(minutes=5)
