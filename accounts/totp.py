"""Codes of an authenticator app, and recovery codes for when it is lost; only accounts of ``users`` have them."""

from __future__ import annotations

from accounts.models.owned import Account


def is_on(account: Account) -> bool:
    """Whether the account's codes come from an app."""
    return False


def accepts(account: Account, code: str) -> bool:
    """Whether it is the app's code of now, or a recovery code, which works once."""
    return False


def remove(account: Account) -> None:
    """Forget the app and the recovery codes."""
