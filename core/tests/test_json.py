"""What the JSON reader refuses, always as a BadRequest."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from core import json
from core.errors import BadRequest


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b"[NaN]",
        b"[Infinity]",
        b'["\\ud800"]',
        b'["\xff"]',
        b'{"a": "x\\u0000y"}',
        b'{"x\\u0000": 1}',
        b"[" * 5000 + b"]" * 5000,
        b"[" * 66 + b"]" * 66,
        b'{"a":' * 66 + b"1" + b"}" * 66,
        b"[1,]",
        b"1 2",
    ],
)
def test_unreadable_json_is_a_bad_request(raw):
    with pytest.raises(BadRequest):
        json.loads(raw)


def test_what_only_looks_suspicious_is_read():
    assert json.loads(rb'{"a": "\\u0000"}') == {"a": "\\u0000"}
    assert json.loads(b"[" + b"[],[]," * 200 + b"0]")[-1] == 0
    nested = b"[" * 64 + b"]" * 64
    assert json.loads(nested) is not None


def test_values_are_written_as_the_contract_says():
    moment = datetime(2026, 1, 15, 10, tzinfo=UTC)
    ident = uuid.UUID(int=7)
    written = json.dumps({"at": moment, "price": Decimal("1.50"), "id": ident, "tags": {"b", "a"}})
    assert json.loads(written) == {
        "at": "2026-01-15T10:00:00Z",
        "price": "1.50",
        "id": str(ident),
        "tags": ["a", "b"],
    }
