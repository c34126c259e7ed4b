"""Where accounts live: ``users``, and each auth collection. Every flow works in any realm.

A realm looks accounts up and changes them; what a flow is (sign-in, second factor,
reset, …) stands once in this app, and what a client sees of it once in its API.
Auth collections are realms of ``collections_app``, which registers how to find them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import password_validators_help_texts
from django.db import transaction

from accounts.models.owned import Account
from accounts.principals import STAFF_COLLECTION, Principal
from core.errors import Conflict, NotFound

CHANGED_MEANWHILE = "The account has been changed meanwhile. Please try again."


class Realm(ABC):
    """``key`` names the realm in tables and tokens, ``name`` is the collection's in paths and mails."""

    key: str
    name: str
    has_totp: ClassVar[bool] = False  # whether authenticator apps are a choice

    @property
    def audience(self) -> str:
        """Of the realm's tokens."""
        return self.key if self.key == STAFF_COLLECTION else f"record:{self.key}"

    # --- looking up -------------------------------------------------------------------------
    @abstractmethod
    def find(self, identifier: str) -> Account | None:
        """The account of an e-mail address or a username; disabled ones too, deleted ones not."""

    @abstractmethod
    def get(self, account_id: str) -> Account | None:
        """The account with this id."""

    @abstractmethod
    def principal(self, account: Account) -> Principal:
        """Who the account is to rules and paths."""

    @abstractmethod
    def to_json(self, account: Account) -> dict[str, Any]:
        """The account as its owner sees it."""

    # --- changing ---------------------------------------------------------------------------
    @abstractmethod
    def register(self, principal: Principal, data: Any, query: str = "") -> Account:
        """Make an account from a client's body, and have its verification mailed, in one transaction.

        Raises ValidationFailed, Conflict, Forbidden, Unauthorized.
        """

    @abstractmethod
    def adopt(self, email: str, *, verified: bool, profile: Mapping[str, str], invite_code: str = "") -> Account:
        """Make an account for somebody who signs in elsewhere; it has no usable password.

        An address that is not verified gets a mail, as with :meth:`register`. Raises
        Conflict, Forbidden, ValidationFailed. ``profile`` has ``name``, ``username``
        and ``avatar_url`` where they are known.
        """

    def set_password(self, account: Account, password: str | None) -> Account:
        """A new password that is known to be acceptable, or none that works; everything signed in ends.

        Hashing takes its time: where locks are held, make the hash before and call :meth:`set_hash`.
        """
        return self.set_hash(account, make_password(password))

    def set_hash(self, account: Account, encoded: str) -> Account:
        """A new password by its hash; everything signed in ends. Conflict as of :meth:`hold`."""
        with transaction.atomic():
            self.hold(account)
            return self._write_hash(account, encoded)

    def renew_hash(self, account: Account, encoded: str) -> Account:
        """Another hash of the same password. Conflict as of :meth:`hold`."""
        return self.set_hash(account, encoded)

    def hold(self, account: Account) -> None:
        """Inside a transaction: nobody else changes the account until it ends.

        Conflict where its credentials have changed since it was read: whoever has shown
        the password that it had then has shown nothing any more.
        """
        if self._locked_stamp(account) != account.credential_stamp():
            raise Conflict(CHANGED_MEANWHILE)

    @abstractmethod
    def _write_hash(self, account: Account, encoded: str) -> Account:
        """The account, held, with another hash."""

    @abstractmethod
    def _locked_stamp(self, account: Account) -> str | None:
        """The credential stamp of what is stored, locked until the transaction ends; None where nothing is."""

    @abstractmethod
    def check_new_password(self, password: str, account: Account | None) -> str:
        """The password; DRF's ValidationError with every reason against it."""

    def password_rules(self) -> list[str]:
        """What a new password must be, in sentences."""
        return password_validators_help_texts()

    @abstractmethod
    def set_verified(self, account: Account) -> Account:
        """Somebody has proved that the account's address is theirs."""

    @abstractmethod
    def set_email(self, account: Account, email: str) -> Account:
        """A new address, proved to be theirs; Conflict where it is taken. Everything signed in ends."""

    @abstractmethod
    def set_two_fa(self, account: Account, enabled: bool) -> Account:
        """Whether sign-ins need a second factor."""

    @abstractmethod
    def note_sign_in(self, account: Account) -> None:
        """Somebody signs in: ``last_login_at``, where the realm has it."""


Finder = Callable[[str], Realm | None]

_finders: list[Finder] = []


def register(finder: Finder) -> None:
    """Let an app answer for its realms, by key or by name; done in its ``AppConfig.ready()``."""
    _finders.append(finder)


def get(key: str) -> Realm:
    """The realm of a key, or of an auth collection's name; NotFound where there is none."""
    for finder in _finders:
        found = finder(key)
        if found is not None:
            return found
    raise NotFound(f"There is no auth collection {key[:80]!r}.")


def staff() -> Realm:
    """The realm of ``users``."""
    return get(STAFF_COLLECTION)


def of(account: Account) -> Realm:
    """The realm that the account belongs to."""
    return get(account.realm_key)
