"""The front on a real server: limits, other origins and the access log, over sockets."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.server import server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_db")]
PAGE = "https://shop.example"


def test_a_server_limits_lets_pages_in_and_tells_what_it_did(tmp_path):
    limits = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_REQUESTS": "5", "TRUSTED_PROXIES": "127.0.0.1"}
    with server(tmp_path, LOG_LEVEL="INFO", CORS_ORIGINS=PAGE, **limits) as running:
        with httpx.Client(base_url=running.url, headers={"X-Forwarded-For": "198.51.100.7", "Origin": PAGE}) as page:
            answers = [page.get("/api/v1/auth/me?token=secret-1") for _ in range(7)]
            assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
            assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == [
                "4",
                "3",
                "2",
                "1",
                "0",
                "0",
                "0",
            ]
            assert {answer.headers["Access-Control-Allow-Origin"] for answer in answers} == {PAGE}
            assert 25 <= int(answers[-1].headers["Retry-After"]) <= 30
            assert answers[-1].json()["request_id"] == answers[-1].headers["X-Request-ID"]
            asked = {"Access-Control-Request-Method": "PATCH"}
            preflight = page.options("/api/v1/auth/me", headers=asked)
            assert preflight.status_code == 200 and "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
            assert page.get("/health").status_code == page.get("/static/admin/css/base.css").status_code == 200
            # Too large a body, refused before it is read: the connection goes on.
            assert page.post("/api/v1/auth/login", content=b"x" * 300_000).status_code == 429
            assert page.get("/health/live").status_code == 200
        assert httpx.get(f"{running.url}/api/v1/auth/me").status_code == 401
        assert running.leave() == 0
        told = running.log.read_text()
    lines = [line for line in told.split("\n") if " INFO access [" in line and "/auth/me" in line]
    assert [line.split()[7] for line in lines] == ["401"] * 5 + ["429"] * 2 + ["200", "401"]
    assert [line.split()[9] for line in lines] == ["198.51.100.7"] * 8 + ["127.0.0.1"]
    assert answers[0].headers["X-Request-ID"] in lines[0] and "secret-1" not in told


def test_two_workers_count_together_in_redis(redis_url, tmp_path):
    client = {"X-Forwarded-For": f"2001:db8:{time.time_ns() >> 8 & 0xFFFF:x}:{os.getpid() & 0xFFFF:x}::1"}
    limits = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_REQUESTS": "40", "TRUSTED_PROXIES": "127.0.0.0/8"}
    with server(tmp_path, WORKERS="2", REDIS_URL=redis_url, **limits) as running:

        def ask(_):
            return httpx.get(f"{running.url}/api/v1/auth/me", headers=client).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(ask, range(100)))
    assert (statuses.count(401), statuses.count(429)) == (40, 60)
