"""The realm of an auth collection: accounts are its records, changed like any other record.

Who makes an account is decided by the collection's create rule. Every change goes
through the write path, so it is an event, keeps the search index right, and a new
password, e-mail or role ends what was signed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from django.contrib.auth.hashers import make_password
from django.http import QueryDict
from rest_framework import serializers

from accounts import emails
from accounts.models import SecondFactor, normalise_email
from accounts.models.owned import Account
from accounts.principals import ANONYMOUS, SYSTEM, Principal
from accounts.realms import Realm
from collections_app.api import forms
from collections_app.auth import records
from collections_app.auth.records import RecordAccount
from collections_app.records import access, operations, passwords, query, read, rows, validate, write
from collections_app.records.codec import Record
from collections_app.records.unit_of_work import unit_of_work
from collections_app.rules import RuleEnv
from collections_app.schema import password_rules, registry
from collections_app.schema.definition import CollectionDef, Field, Index
from collections_app.schema.fields import HashedPassword, InvalidValue
from collections_app.schema.snapshot import Snapshot
from core.errors import ValidationFailed

USERNAME = "username"
CONFIRM = "password_confirm"
PROFILE = ("name", "username", "avatar_url")
_MORE_NEEDED = "An account here needs more than the other side tells: {}. Please register with a password first."


class AuthCollection(Realm):
    """``key`` is the collection's id, ``name`` what it is called now."""

    def __init__(self, collection: CollectionDef) -> None:
        self.key, self.name = collection.id, collection.name

    # --- looking up -------------------------------------------------------------------------
    def find(self, identifier: str) -> RecordAccount | None:
        """By the e-mail address, or by a unique text field ``username`` if the collection has one."""
        if "\x00" in identifier or len(identifier) > 254:
            return None
        if "@" in identifier:
            return self._read(lambda collection: collection.by_id["email"], normalise_email(identifier))
        return self._read(_username, identifier.strip())

    def get(self, account_id: str) -> RecordAccount | None:
        if not read.possible_id(account_id):
            return None
        return self._read(lambda collection: collection.by_id["id"], account_id)

    def principal(self, account: Account) -> Principal:
        own = _own(account)
        return records.principal_of(own.collection, own.record)

    def to_json(self, account: Account) -> dict[str, Any]:
        return _own(account).as_json()

    def _read(self, which: Callable[[CollectionDef], Field | None], value: str) -> RecordAccount | None:
        def unit(snapshot: Snapshot) -> tuple[CollectionDef, Record] | None:
            collection = records.auth_collection(snapshot, self.key)
            field = which(collection)
            record = None if field is None else records.read(collection, field, value)
            return None if record is None else (collection, record)

        found = registry.with_schema(unit, reads=True)
        return None if found is None else RecordAccount(*found)

    # --- changing ---------------------------------------------------------------------------
    def register(self, principal: Principal, data: Any, query: str = "") -> RecordAccount:
        """The fields of a record, flat, and ``password_confirm`` if the client likes. The id is ours."""
        return self._create(principal, query, lambda collection: (_registered(collection, data), {}))

    def adopt(self, email: str, *, verified: bool, profile: Mapping[str, str], invite_code: str = "") -> RecordAccount:
        """A name, username and avatar are taken over where the collection has such text fields."""

        def prepare(collection: CollectionDef) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            nothing = HashedPassword(make_password(None))
            return {"email": email, "password": nothing, **_profile(collection, profile)}, {"verified": verified}

        try:
            return self._create(ANONYMOUS, "", prepare)
        except ValidationFailed as fault:
            raise ValidationFailed(_MORE_NEEDED.format(", ".join(fault.fields)), fields=fault.fields) from fault

    def _write_hash(self, account: Account, encoded: str) -> RecordAccount:
        return self._change(account, {"password": HashedPassword(encoded)})

    def _locked_stamp(self, account: Account) -> str | None:
        own = _own(account)

        def unit(snapshot: Snapshot) -> Record | None:
            collection = records.auth_collection(snapshot, self.key)
            with unit_of_work(snapshot, SYSTEM):  # schema first, then rows, like all who change them
                return rows.select(collection, own.account_id)

        record = registry.with_schema(unit)
        return None if record is None else records.stamp(record)

    def check_new_password(self, password: str, account: Account | None) -> str:
        collection = registry.current().get(self.key) if account is None else _own(account).collection
        about = {} if account is None else _own(account).record
        try:
            password_rules.check(collection, password, about)
        except InvalidValue as fault:
            raise serializers.ValidationError(fault.messages) from fault
        return password

    def password_rules(self) -> list[str]:
        return password_rules.sentences(registry.current().get(self.key))

    def set_verified(self, account: Account) -> RecordAccount:
        return self._change(account, {"verified": True})

    def set_email(self, account: Account, email: str) -> RecordAccount:
        return self._change(account, {"email": email, "verified": True})

    def set_two_fa(self, account: Account, enabled: bool) -> RecordAccount:
        own = _own(account)
        if enabled:
            SecondFactor.objects.get_or_create(realm=own.realm_key, account_id=own.account_id)
        else:
            SecondFactor.objects.of(own).delete()
        own.two_fa_enabled = enabled
        return own

    def note_sign_in(self, account: Account) -> None:
        """A record does not say when it was last signed in: that would be an event each time."""

    def _create(
        self,
        principal: Principal,
        query_string: str,
        prepare: Callable[[CollectionDef], tuple[Mapping[str, Any], Mapping[str, Any]]],
    ) -> RecordAccount:
        """A new record of the client's data and ours, under the create rule."""

        def unit(snapshot: Snapshot) -> RecordAccount:
            collection = records.auth_collection(snapshot, self.key)
            sent = query.parse(query_string, access.parameters(collection)).raw
            data, ours = prepare(collection)
            env = RuleEnv(principal=principal, method="POST", query=sent, body=data)
            data = passwords.ahead(collection, "create", data, env, snapshot)
            with unit_of_work(snapshot, principal) as work:
                made = RecordAccount(collection, write.record_create(work, collection, data, env, ours=ours))
                emails.send_verification(made)
                return made

        return registry.with_schema(unit)

    def _change(self, account: Account, data: Mapping[str, Any]) -> RecordAccount:
        """What flows change of a record, in its account's name, whatever the update rule."""
        own = _own(account)

        def unit(snapshot: Snapshot) -> tuple[CollectionDef, Record]:
            collection = records.auth_collection(snapshot, self.key)
            with unit_of_work(snapshot, self.principal(own)) as work:
                env = RuleEnv(principal=SYSTEM, method="PATCH")
                return collection, write.record_update(work, collection, own.account_id, data, env)

        own.take(*registry.with_schema(unit))
        return own


def find(key: str) -> Realm | None:
    """The finder of :mod:`accounts.realms` for auth collections, by id or name."""
    snapshot = registry.current()
    collection = snapshot.by_id.get(key) or snapshot.by_name.get(key)
    return AuthCollection(collection) if collection is not None and collection.type == "auth" else None


def _own(account: Account) -> RecordAccount:
    return cast(RecordAccount, account)


def _username(collection: CollectionDef) -> Field | None:
    """The field that people may sign in by, instead of the address: one that no two records share."""
    field = collection.by_name.get(USERNAME)
    if field is None or not _is_plain_text(field):
        return None
    alone = Index((field.id,), unique=True)
    return field if field.unique or alone in collection.indexes else None


def _is_plain_text(field: Field) -> bool:
    """A text of one's own that everybody may know who may see the record."""
    return (
        field.value == "text"
        and field.storage == "column"
        and field.writable
        and not (field.system or field.hidden or field.target)
    )


def _registered(collection: CollectionDef, body: Any) -> Mapping[str, Any]:
    """The record's fields of a client's body."""
    data = dict(operations.unwrap(forms.record_data(body, collection) if isinstance(body, QueryDict) else body))
    problems: dict[str, list[str]] = {}
    if CONFIRM not in collection.by_name and data.pop(CONFIRM, data.get("password")) != data.get("password"):
        problems[CONFIRM] = ["The two passwords differ."]
    if "id" in data:
        problems["id"] = [validate.SERVER_SETS]
    if problems:
        raise ValidationFailed(fields=problems)
    return data


def _profile(collection: CollectionDef, profile: Mapping[str, str]) -> dict[str, Any]:
    """What of a profile elsewhere fits fields of the collection."""
    found: dict[str, Any] = {}
    for name in PROFILE:
        field, value = collection.by_name.get(name), profile.get(name)
        if field is None or not value or not _is_plain_text(field):
            continue
        try:
            value = field.kind.clean(field, value)
        except InvalidValue:
            continue
        if not field.unique or records.read(collection, field, value) is None:
            found[name] = value
    return found
