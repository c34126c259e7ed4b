"""The owner of an address arrives at an account that was made with it and never verified.

Whoever made it may have been somebody else, who waits for them: so nothing that opened
the account before, or could open it later, does so any more.
"""

from __future__ import annotations

from uuid import UUID

from accounts import mailing, realms, totp
from accounts.models import ApiKey, Challenge, ExternalIdentity, Mail, OneTimeToken, SignIn
from accounts.models.owned import Account
from accounts.principals import STAFF_COLLECTION
from core import clock


def take_over(account: Account) -> Account:
    """The account, now its owner's: verified, and without a password. Inside a transaction."""
    realm = realms.of(account)
    realm.hold(account)
    shut(account)
    account = realm.set_verified(realm.set_password(account, None))
    mailing.post("password_changed", account)
    return account


def unlink(account: Account) -> None:
    """End every way in by a provider; the account is told of each."""
    rows = ExternalIdentity.objects.of(account)
    for row in rows:
        mailing.post("identity_unlinked", account, data={"provider": row.provider})
    rows.delete()


def shut(account: Account) -> None:
    """End every way in but the password: sign-ins, keys, identities, second factors, links under way."""
    now = clock.now()
    if account.two_fa_enabled:
        realms.of(account).set_two_fa(account, False)
    totp.remove(account)
    SignIn.objects.of(account).filter(revoked=None).update(revoked=now)
    for owned in (Challenge, ExternalIdentity, OneTimeToken, Mail):  # an unsent mail would make its link anew
        owned.objects.of(account).delete()
    if account.realm_key == STAFF_COLLECTION:
        ApiKey.objects.filter(user=UUID(account.account_id), revoked=None).update(revoked=now)
