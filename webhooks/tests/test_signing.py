"""What receivers verify: the documented examples, and Standard Webhooks."""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
import subprocess
from base64 import b64decode, b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import clock, secret_box
from webhooks import sending, signing
from webhooks.models import Webhook
from webhooks.tests.receivers import Receiver, Taken

pytestmark = pytest.mark.engine

SECRET = "myWebhookSecret123"
# As the documentation has it, and around it what a program needs.
NODE = """
const crypto = require('crypto');

function verifyWebhook(body, signature, secret) {
  const expected = crypto
    .createHmac('sha256', secret)
    .update(body)
    .digest('hex');
  return crypto.timingSafeEqual(
    Buffer.from(expected),
    Buffer.from(signature)
  );
}

const [signature, secret] = process.argv.slice(1);
console.log(verifyWebhook(require('fs').readFileSync(0), signature, secret));
"""


def verify_webhook(request_body: bytes, signature: str, secret: str) -> bool:
    expected = hmac.new(
        secret.encode(),
        request_body,
        hashlib.sha256
    ).hexdigest()  # fmt: skip
    return hmac.compare_digest(expected, signature)


def standard(taken: Taken, key: bytes) -> str:
    """The signature of Standard Webhooks, as its libraries make it."""
    headers = taken.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + taken.body
    return "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@pytest.fixture
def notes(make_collection: Any, records: Any) -> Any:
    make_collection("notes", title="text")
    return records("notes")


@pytest.mark.skipif(shutil.which("node") is None and "CI" not in os.environ, reason="needs Node.js")
def test_the_documented_examples_verify_a_delivery(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    make_webhook("notes", receiver.url, secret=SECRET)
    notes.create(title="ä \u2028 é \U0001f600")
    assert sending.send_due() == 1
    (taken,) = receiver.taken
    signature = taken.headers["x-webhook-signature"]
    assert verify_webhook(taken.body, signature, SECRET)
    assert not verify_webhook(taken.body + b" ", signature, SECRET)
    assert not verify_webhook(taken.body, signature, "another")
    for secret, verdict in ((SECRET, b"true\n"), ("another", b"false\n")):
        said = subprocess.run(
            ["node", "-e", NODE, signature, secret], input=taken.body, stdout=subprocess.PIPE, check=True, timeout=60
        )
        assert said.stdout == verdict


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (SECRET, SECRET.encode()),
        ("whsec_" + b64encode(b"k" * 24).decode(), b"k" * 24),
        ("whsec_not base64", b"whsec_not base64"),
    ],
)
def test_libraries_of_standard_webhooks_verify_a_delivery(
    notes: Any, make_webhook: Any, receiver: Receiver, secret: str, key: bytes
) -> None:
    make_webhook("notes", receiver.url, secret=secret)
    notes.create(title="a")
    assert sending.send_due() == 1
    (taken,) = receiver.taken
    assert taken.headers["webhook-signature"] == standard(taken, key)
    assert abs(int(taken.headers["webhook-timestamp"]) - clock.now().timestamp()) < 60
    assert verify_webhook(taken.body, taken.headers["x-webhook-signature"], secret)


def test_a_delivery_without_a_secret_has_its_id_and_no_signature(
    notes: Any, make_webhook: Any, receiver: Receiver
) -> None:
    make_webhook("notes", receiver.url)
    notes.create(title="a")
    assert sending.send_due() == 1
    (taken,) = receiver.taken
    assert taken.id.startswith("evt_") and taken.headers["webhook-timestamp"].isdecimal()
    assert not {"x-webhook-signature", "webhook-signature"} & taken.headers.keys()


def test_while_a_rotation_lasts_both_keys_sign() -> None:
    moment = clock.now()
    webhook = Webhook(
        secret=secret_box.seal("new"),
        previous_secret=secret_box.seal("old"),
        previous_secret_until=moment + timedelta(hours=1),
    )
    one = signing.headers(webhook, b"{}", "evt_1", moment)
    taken = Taken("/", one, b"{}")
    assert one["webhook-signature"] == f"{standard(taken, b'new')} {standard(taken, b'old')}"
    assert verify_webhook(b"{}", one["X-Webhook-Signature"], "new")
    later = signing.headers(webhook, b"{}", "evt_1", moment + timedelta(hours=1))
    assert later["webhook-signature"] == standard(Taken("/", later, b"{}"), b"new")


def test_a_secret_that_is_made_has_32_random_bytes() -> None:
    made = {signing.generate_secret() for _ in range(20)}
    assert len(made) == 20
    assert all(one.startswith("whsec_") and len(b64decode(one[6:], validate=True)) == 32 for one in made)


def test_the_secret_is_nowhere_in_what_is_stored_or_sent(
    notes: Any, make_webhook: Any, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    webhook = make_webhook("notes", receiver.url, secret=SECRET)
    notes.create(title="a")
    assert sending.send_due() == 1
    (taken,) = receiver.taken
    rows = [Webhook.objects.values().get(), *webhook.deliveries.values()]
    everything = [orjson.dumps(rows, default=str), taken.body, str(taken.headers).encode(), caplog.text.encode()]
    assert not any(SECRET.encode() in text for text in everything)
