"""Invitations, and whether somebody may make an account of ``users`` at all."""

from __future__ import annotations

import base64
import hashlib
import uuid
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts import declared, mailing
from accounts.models import Invite, Role, User, normalise_email
from accounts.principals import ANONYMOUS, Principal, principal_of
from core import clock
from core.errors import Forbidden, NotFound, ValidationFailed
from settings_app import values

REGISTRATION_CLOSED = "Registration is currently closed."
CODE_NEEDED = "An invite code is required to register."
CODE_WRONG = "Invalid invite code"
CODE_USED = "Invite code has already been used"
CANT_DELETE = "Cannot delete used invite"


def mode() -> str:
    """Who may make an account now: one of ``declared.OPEN``, ``INVITE_ONLY``, ``CLOSED``."""
    return str(values.get("registration_mode")) if values.get("allow_registration") else declared.CLOSED


def admit(code: str, email: str) -> Invite | None:
    """May somebody with this code and address make an account? The invitation that says so, if one has to.

    Inside the transaction that makes the account, which then calls :func:`use`.
    Raises Forbidden where registration is closed, ValidationFailed for a code that
    is missing or no good.
    """
    current = mode()
    if current == declared.CLOSED:
        raise Forbidden(REGISTRATION_CLOSED)
    if current == declared.OPEN and not code:
        return None
    if not code:
        raise _refused(CODE_NEEDED)
    invite = Invite.objects.select_for_update().filter(digest=_digest(code.strip())).first()
    if invite is None or _is_over(invite) or (invite.email and invite.email != normalise_email(email)):
        if current == declared.OPEN:
            return None  # nobody needs a code, so a wrong one is none
        raise _refused(CODE_WRONG)
    if invite.used_at is not None:
        if current == declared.OPEN:
            return None
        raise _refused(CODE_USED)
    return invite


def role_given(invite: Invite) -> Role:
    """What an account becomes by this invitation; where all are invited, ``default_user_role`` at least."""
    least = Role(values.get(declared.DEFAULT_ROLE)) if mode() == declared.INVITE_ONLY else Role.USER
    return max(Role(invite.role), least, key=lambda role: role.rank)


def standing(code: str) -> Invite | None:
    """The invitation with this code, as long as somebody can take it up."""
    invite = Invite.objects.filter(digest=_digest(code.strip()), used_at=None).select_related("created_by").first()
    return None if invite is None or _is_over(invite) else invite


def _is_over(invite: Invite) -> bool:
    """Too old, or to a role that who invited may not give any more."""
    if invite.expires_at is not None and invite.expires_at <= clock.now():
        return True
    inviter = invite.created_by
    if inviter is None or not inviter.is_active or inviter.deleted_at is not None:
        return not may_give(ANONYMOUS, invite.role)
    return not may_give(principal_of(inviter), invite.role)


def use(invite: Invite, user: User) -> None:
    """The invitation has become this account. ValidationFailed when somebody else was quicker."""
    taken = Invite.objects.filter(pk=invite.pk, used_at=None).update(used_by=user, used_at=clock.now())
    if not taken:
        raise _refused(CODE_USED)


def create(
    principal: Principal, creator: User | None, *, email: str = "", role: str = Role.USER, expires_at: datetime | None
) -> Invite:
    """Invite somebody; with an address, by mail too. Forbidden for a role above the inviter's own."""
    if not may_give(principal, role):
        raise Forbidden("Only a superadmin may invite to a role above user.")
    invite = Invite(email=normalise_email(email), role=role, created_by=creator, expires_at=expires_at)
    invite.digest = _digest(code_of(invite))
    with transaction.atomic():
        invite.save(force_insert=True)
        if invite.email:
            mailing.post("invite", to=invite.email, data={"invite": str(invite.pk)})
    return invite


def may_give(principal: Principal, role: str) -> bool:
    """Whether somebody may invite to this role, and so know the codes of such invitations."""
    return principal.is_superadmin or role == Role.USER


def delete(invite_id: str) -> None:
    """Take an invitation back: NotFound, or ValidationFailed when it has been used."""
    try:
        uuid.UUID(invite_id)
    except ValueError as fault:
        raise NotFound("Invite not found") from fault
    with transaction.atomic():
        found = Invite.objects.filter(pk=invite_id)
        if found.filter(used_at=None).delete()[0]:
            return
        if found.exists():
            raise ValidationFailed(CANT_DELETE)
    raise NotFound("Invite not found")


def code_of(invite: Invite) -> str:
    """The code, which follows from the id and the secret key: 16 letters and digits."""
    raw = salted_hmac("accounts.invites", str(invite.pk), secret=settings.SECRET_KEY, algorithm="sha256").digest()
    return base64.b32encode(raw[:10]).decode()


def known_code(invite: Invite) -> str | None:
    """The code as long as it works; None after a change of the secret key, which ends it."""
    code = code_of(invite)
    return code if constant_time_compare(_digest(code), invite.digest) else None


def _digest(code: str) -> str:
    return hashlib.sha256(code.upper().encode(errors="replace")).hexdigest()


def _refused(message: str) -> ValidationFailed:
    return ValidationFailed(message, fields={"invite_code": [message]})
