"""Whatever fits the OpenAPI document, and whatever just does not: no 5xx, no answer outside of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
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
from collections_app.tests.threads import STRESS
from tests.server import SECRET_KEY, server

pytestmark = pytest.mark.slow

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
)
RECORDS = "/things/records|/batch$"
ACCOUNTS = "/people/records"
DEFINITIONS = "/collections(/{collection})?$"


def run(url: str, *options: str, phases: str = "examples,coverage,fuzzing", examples: int = 10) -> tuple[int, str]:
    """Exit status and report of one bounded, repeatable run; ``examples`` are those of the fuzzing."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", "/dev/null", "run", f"{url}/api/schema",
        "--checks", ",".join(CHECKS), "--phases", phases, "--max-examples", str(examples * STRESS),
        "--generation-deterministic", "--continue-on-failure", "--workers", "1",
        "--warnings", "off", "--no-color", *options,
    ]  # fmt: skip
    with TemporaryDirectory() as place:  # it leaves a directory of its own
        done = subprocess.run(command, capture_output=True, text=True, timeout=240 * STRESS, check=False, cwd=place)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def content(things: CollectionDef, make_collection: Callable[..., CollectionDef]) -> None:
    """Every field type, an auth collection and some records."""
    make_collection("people", type="auth", nick="text", **PUBLIC)
    for number in range(3):
        data = {"id": str(number), "title": f"Thing {number}", "at": "10:30", "day": "2025-01-15", "price": 1.5}
        operations.record_create(Call(principal=SYSTEM, method="POST"), "things", data)


@pytest.fixture
def served(content: None, tmp_path: Path, settings: Any) -> Iterator[str]:
    """The URL of ``manage.py serve``, whose lane answers for records."""
    settings.SECRET_KEY = SECRET_KEY  # of tokens that the server takes
    with server(tmp_path) as running:
        yield running.url


def admins(admin: User) -> tuple[str, str]:
    return "--header", f"Authorization: Bearer {tokens.issue(admin).access}"


@pytest.mark.parametrize(
    "paths", [pytest.param(RECORDS, id="records", marks=pytest.mark.engine), pytest.param(ACCOUNTS, id="accounts")]
)
def test_every_answer_about_records_is_in_the_document(served: str, admin: User, paths: str) -> None:
    status, report = run(served, *admins(admin), "--include-path-regex", paths)
    assert status == 0, report


def test_every_answer_to_anybody_is_in_the_document(served: str) -> None:
    """What is covered for the admin above is not gone through a second time."""
    status, report = run(
        served, "--include-path-regex", RECORDS, "--mode", "positive", phases="examples,fuzzing", examples=20
    )
    assert status == 0, report


@pytest.mark.parametrize(
    "which",
    [
        pytest.param(("--include-path-regex", DEFINITIONS), id="collections"),
        # Logging out, or another password, would end the token that all the others use.
        pytest.param(
            ("--exclude-path-regex", f"/records|/batch$|{DEFINITIONS}|/logout$|/change-password$"), id="all the rest"
        ),
    ],
)
def test_every_answer_to_an_admin_is_in_the_document(
    live_server: Any, admin: User, which: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Header and body are two writes; kept together by the kernel they cost 40 ms a request.
    monkeypatch.setattr(WSGIRequestHandler, "disable_nagle_algorithm", True)
    # This server takes a body that nobody read for the next request.
    alone = ("--header", "Connection: close")
    status, report = run(str(live_server.url), *admins(admin), *alone, *which, examples=5)
    assert status == 0, report
