"""Whatever fits the OpenAPI document, and whatever just does not: no 5xx, no answer outside of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.core.servers.basehttp import WSGIRequestHandler

from accounts import tokens
from accounts.models import User
from accounts.principals import SYSTEM
from collections_app.api.tests.conftest import PUBLIC
from collections_app.records import operations
from collections_app.records.operations import Call
from collections_app.schema.definition import CollectionDef

pytestmark = pytest.mark.slow

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
)
RECORDS = "/(things|people)/records|/batch$"
OTHER_RECORDS = "/records"
DEFINITIONS = "/collections(/{collection})?$"


def run(url: str, *options: str) -> tuple[int, str]:
    """Exit status and report of one bounded, repeatable run."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", "/dev/null", "run", f"{url}/api/schema",
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", "15",
        "--generation-deterministic", "--continue-on-failure", "--workers", "1",
        # The test server takes a body that nobody read for the next request.
        "--header", "Connection: close", "--warnings", "off", "--no-color", *options,
    ]  # fmt: skip
    with TemporaryDirectory() as place:  # it leaves a directory of its own
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=place)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def answers_leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Header and body are two writes; kept together by the kernel they cost 40 ms a request."""
    monkeypatch.setattr(WSGIRequestHandler, "disable_nagle_algorithm", True)


@pytest.fixture
def server(live_server: Any, things: CollectionDef, make_collection: Callable[..., CollectionDef]) -> str:
    """A server with every field type, an auth collection and some records."""
    make_collection("people", type="auth", nick="text", **PUBLIC)
    for number in range(3):
        data = {"id": str(number), "title": f"Thing {number}", "at": "10:30", "day": "2025-01-15", "price": 1.5}
        operations.record_create(Call(principal=SYSTEM, method="POST"), "things", data)
    return str(live_server.url)


@pytest.mark.parametrize(
    "which",
    [
        pytest.param(("--include-path-regex", RECORDS), id="records", marks=pytest.mark.engine),
        pytest.param(("--include-path-regex", DEFINITIONS), id="collections"),
        # Logging out, or another password, would end the token that all the others use.
        pytest.param(
            ("--exclude-path-regex", f"{OTHER_RECORDS}|/batch$|{DEFINITIONS}|/logout$|/change-password$"),
            id="all the rest",
        ),
    ],
)
def test_every_answer_to_an_admin_is_in_the_document(server: str, admin: User, which: tuple[str, ...]) -> None:
    status, report = run(server, "--header", f"Authorization: Bearer {tokens.issue(admin).access}", *which)
    assert status == 0, report


def test_every_answer_to_anybody_is_in_the_document(server: str) -> None:
    status, report = run(server, "--include-path-regex", "/things/records", "--mode", "positive")
    assert status == 0, report
