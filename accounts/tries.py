"""How often something was tried within a while, counted in the cache: by account or by address, over all workers.

For what the limits on clients (``core.ratelimit``) can't see, because it is of one account, whatever
addresses its requests come from. ``RATE_LIMIT_ENABLED=false`` lifts these too.
"""

from __future__ import annotations

import hashlib
import logging

from django.conf import settings
from django.core.cache import cache

from accounts import passwords
from accounts.models.owned import Account
from core.errors import RateLimited, ServiceUnavailable

MAX_PASSWORDS = 5  # wrong ones of somebody who is signed in, before a pause
PAUSE_SECONDS = 300

logger = logging.getLogger(__name__)


def is_current(account: Account, password: str) -> bool:
    """Whether somebody who is signed in knows the password: whoever has taken a token may not find it out.

    RateLimited after a few wrong ones, and ServiceUnavailable where they can't be counted. Only who is signed
    in gets here, so nobody can bring this on somebody else; signing in is counted apart.
    """
    key = _key("password", f"{account.realm_key}:{account.account_id}")
    if _count(key, PAUSE_SECONDS) > MAX_PASSWORDS:  # before it is checked: those that come together count too
        raise RateLimited(headers={"Retry-After": str(PAUSE_SECONDS)})
    if not passwords.is_right(account, password):
        return False
    _forget(key)
    return True


def mails_to(address: str, seconds: int) -> int:
    """How many mails somebody has had sent to an address that is not theirs yet, this one among them."""
    return _count(_key("mail", address.lower()), seconds)


def _key(what: str, whose: str) -> str:
    return f"tries:{what}:{hashlib.sha256(whose.encode()).hexdigest()}"


def _forget(key: str) -> None:
    if not settings.RATE_LIMIT_ENABLED:
        return
    try:
        cache.delete(key)
    except Exception as fault:  # noqa: BLE001 - it ends by itself
        logger.warning("the cache is away, and tries stay counted: %r", fault)


def _count(key: str, seconds: int) -> int:
    if not settings.RATE_LIMIT_ENABLED:
        return 0
    try:
        cache.add(key, 0, seconds)
        return int(cache.incr(key))
    except ValueError:  # it ended between the two
        return 1
    except Exception as fault:
        logger.warning("the cache is away, and tries can't be counted: %r", fault)
        raise ServiceUnavailable from fault
