"""A receiver never learns what was hidden, whatever names fields have had."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.principals import SYSTEM
from collections_app.schema import registry, service
from webhooks import sending
from webhooks.tests.receivers import Receiver

pytestmark = pytest.mark.engine


def change(name: str, **fields: Any) -> None:
    """Give the collection's fields, by their names, other entries (``{"name": …}``); None takes one away."""
    collection = registry.latest().by_name[name]
    entries = []
    for field in collection.own_fields:
        new = fields.get(field.name, {})
        if new is not None:
            entries.append({**field.as_json(), **new})
    service.collection_update(actor=SYSTEM, name_or_id=name, payload={"schema": entries}, allow_data_loss=True)


@pytest.fixture
def told(make_collection: Any, records: Any, make_webhook: Any, receiver: Receiver) -> Any:
    """What is said of a record that was written before ``change``; the record too."""
    make_collection("notes", title="text", secret={"type": "text", "hidden": True}, more="text")
    make_webhook("notes", receiver.url)

    def tell(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        made = records("notes").create(title="open", secret="hidden!", more="also")
        change("notes", **changes)
        assert sending.send_due() == 1
        (taken,) = receiver.taken
        assert b"hidden!" not in taken.body
        return taken.json["data"], made

    return tell


def test_a_field_renamed_since_comes_under_its_name_of_now(told: Any) -> None:
    data, made = told(title={"name": "headline"})
    assert data == {
        **{name: made[name] for name in ("id", "collection", "created", "updated", "more")}, "headline": "open",
    }  # fmt: skip


def test_a_hidden_field_whose_name_was_swapped_with_a_public_one_stays_hidden(told: Any) -> None:
    data, _ = told(title={"name": "secret"}, secret={"name": "title"})
    assert data["secret"] == "open" and "title" not in data


def test_what_was_hidden_when_it_was_written_stays_so_when_the_field_is_shown(told: Any) -> None:
    data, _ = told(secret={"hidden": False})
    assert data["title"] == "open" and "secret" not in data


def test_what_is_hidden_now_is_not_told(told: Any) -> None:
    data, _ = told(title={"hidden": True})
    assert "title" not in data and data["more"] == "also"


def test_a_field_that_is_gone_is_not_told(told: Any) -> None:
    data, _ = told(more=None)
    assert "more" not in data and data["title"] == "open"


def test_several_changes_one_after_the_other_are_seen_through(
    told: Any, make_collection: Any, records: Any, receiver: Receiver
) -> None:
    made = records("notes").create(title="first", secret="hidden!", more="m")
    change("notes", title={"name": "a"}, secret={"name": "b"})
    second = records("notes").create(a="second", b="hidden!", more="m")
    change("notes", a={"name": "x"}, b={"name": "a"})
    change("notes", a={"name": "title", "hidden": False}, x={"name": "secret"})
    assert sending.send_due() == 2
    data = {taken.json["record_id"]: taken.json["data"] for taken in receiver.taken}
    assert data[made["id"]]["secret"] == "first" and data[second["id"]]["secret"] == "second"
    assert all("title" not in one for one in data.values())
    assert not any(b"hidden!" in taken.body for taken in receiver.taken)


def test_a_change_of_rules_alone_leaves_everything_told(
    make_collection: Any, records: Any, make_webhook: Any, receiver: Receiver
) -> None:
    make_collection("notes", title="text")
    make_webhook("notes", receiver.url)
    made = records("notes").create(title="a")
    service.collection_update(actor=SYSTEM, name_or_id="notes", payload={"list_rule": None, "name": "papers"})
    assert sending.send_due() == 1
    (taken,) = receiver.taken
    assert taken.json["collection"] == "papers"
    assert taken.json["data"] == {**made, "collection": "papers"}


def test_accounts_are_told_of_without_their_passwords(
    make_collection: Any, records: Any, make_webhook: Any, receiver: Receiver
) -> None:
    make_collection("clients", type="auth", nick="text")
    make_webhook("clients", receiver.url)
    records("clients").create(email="a@example.com", password="correct-horse-battery", nick="a")
    assert sending.send_due() == 1
    (taken,) = receiver.taken
    assert {"email", "nick", "verified", "role"} < taken.json["data"].keys()
    assert not {"password", "token_key"} & taken.json["data"].keys()
    assert b"horse" not in taken.body
