"""Accounts in a database that was put back: nobody is signed in, and nothing that has ended begins again."""

from __future__ import annotations

from django.contrib.sessions.models import Session

from accounts.models import ApiKey, Challenge, Invite, Mail, OneTimeToken, SetupToken, SignIn
from core import clock
from core.restored import Restoration

_CHUNK = 500


def present() -> dict[str, list[str]]:
    """The keys and invitations that are good at the moment, by their digests."""
    keys = ApiKey.objects.filter(revoked=None, user__is_active=True, user__deleted_at=None).select_related("user")
    return {
        "api_keys": [key.digest for key in keys.iterator() if key.stamp == key.user.credential_stamp()],
        "invites": list(Invite.objects.filter(used_at=None).values_list("digest", flat=True)),
    }


def settle(restoration: Restoration, present: dict[str, list[str]] | None) -> None:
    """End what people hold: sign-ins, sessions, links and codes; and mails that may have been sent long ago.

    API keys go on, for programs can't sign in anew; but not those that were taken back since, which had
    a reason. Invitations likewise.
    """
    for ended in (SignIn, OneTimeToken, Challenge, SetupToken, Mail, Session):
        ended._default_manager.all().delete()
    if present is None:
        return
    good = set(present["api_keys"])
    bad = [pk for pk, digest in ApiKey.objects.filter(revoked=None).values_list("pk", "digest") if digest not in good]
    for start in range(0, len(bad), _CHUNK):
        ApiKey.objects.filter(pk__in=bad[start : start + _CHUNK]).update(revoked=clock.now())
    open_ones = set(present["invites"])
    over = [
        pk for pk, digest in Invite.objects.filter(used_at=None).values_list("pk", "digest") if digest not in open_ones
    ]
    for start in range(0, len(over), _CHUNK):
        Invite.objects.filter(pk__in=over[start : start + _CHUNK]).delete()
