"""From what a request carries to who asks: the same for DRF and for the lane."""

from __future__ import annotations

from accounts import scopes, tokens
from accounts.principals import Principal
from accounts.scopes import Keys
from accounts.tokens import API_KEY_PREFIX


def key_sent(header: str) -> str:
    """What an ``X-API-Key`` header carries, which goes before all other credentials: a key, or nothing at all."""
    raw = header.strip()
    return raw if raw.startswith(API_KEY_PREFIX) else ""


def caller(raw: str, method: str, keys: Keys) -> Principal:
    """Who an access token or an API key speaks for, where it may speak at all.

    Raises Unauthorized for what is neither, Forbidden for a key that has no business here.
    """
    principal = tokens.principal_from_token(raw)
    if principal.scope is not None:
        scopes.check(principal.scope, method, keys)
    return principal
