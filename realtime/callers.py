"""Who listens: found out when they come, and asked again as long as they stay."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from uuid import UUID

from accounts import callers, one_time, scopes, sessions, tokens
from accounts.models.owned import Account
from accounts.one_time import Purpose
from accounts.principals import ANONYMOUS, Principal, principal_of
from accounts.scopes import Keys
from accounts.tokens import API_KEY_PREFIX, BAD_TOKEN, Verified
from core.errors import BadRequest, Forbidden, Unauthorized


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A browser's session as a credential: no text that a client can send is one. It stands behind tickets only."""

    key: str


Credential = str | BrowserSession


@dataclass(slots=True, eq=False)
class Caller:
    """``credential`` is an access token, an API key, or a browser's session, None for nobody; ``audience``
    is equal for those whom the same rules show the same records. ``verified`` is the credential where it is a
    token, which has to be looked at but once."""

    credential: Credential | None
    principal: Principal
    audience: Hashable
    verified: Verified | None = None


NOBODY = Caller(None, ANONYMOUS, None)


def audience_of(principal: Principal) -> Hashable:
    if principal.is_anonymous:
        return None
    if principal.is_admin:
        return ("admin", principal.scope)
    return (
        principal.key, principal.role, principal.verified, principal.email, repr(principal.fields), principal.scope
    )  # fmt: skip


def identify(headers: Mapping[bytes, bytes], token: str) -> Caller:
    """Who speaks: by ``X-API-Key``, ``Authorization: Bearer``, or ``?token=``, an access token or a ticket.

    Cookies say nothing here: a foreign page would bring them along. Raises Unauthorized, Forbidden.
    """
    key = headers.get(b"x-api-key")
    authorization = headers.get(b"authorization")
    if key is not None:
        raw = callers.key_sent(key.decode("latin1"))
    elif authorization is not None:
        scheme, _, raw = authorization.decode("latin1").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized(BAD_TOKEN)
    elif token:
        raw = token
        if not (token.startswith(API_KEY_PREFIX) or token.count(".") == 2):
            return _caller(_credential_of(token))
    else:
        return NOBODY
    return _caller(raw.strip())


def still(those: Sequence[Caller]) -> list[Principal | None]:
    """Who these are by now; None where the credential is no good any more."""
    now = time()
    quick = [one for one in those if one.verified is not None and one.verified.expires > now]
    found = dict(zip(quick, tokens.principals_of([one.verified for one in quick if one.verified]), strict=True))
    return [_checked(found[one]) if one in found else _again(one) for one in those]


def ticket_for_sign_in(account: Account, sign_in_id: UUID) -> str:
    """A ticket whose subscriber lives as long as an access token of that sign-in."""
    return one_time.make(account, Purpose.TICKET, {"sign_in": str(sign_in_id)})


def ticket_for_session(account: Account, session_key: str) -> str:
    """A ticket whose subscriber lives as long as the browser's session."""
    return one_time.make(account, Purpose.TICKET, {"session": session_key})


def _caller(credential: Credential) -> Caller:
    principal = _principal(credential)
    return Caller(
        credential,
        principal,
        audience_of(principal),
        tokens.verified(credential) if isinstance(credential, str) else None,
    )


def _checked(principal: Principal | None) -> Principal | None:
    """None too where an API key has no business here any more."""
    if principal is not None and principal.scope is not None:
        try:
            scopes.check(principal.scope, "GET", Keys.SCOPED)
        except Forbidden:
            return None
    return principal


def _again(caller: Caller) -> Principal | None:
    if caller.credential is None:
        return ANONYMOUS
    try:
        return _principal(caller.credential)
    except (Unauthorized, Forbidden):
        return None


def _principal(credential: Credential) -> Principal:
    if isinstance(credential, str):
        return callers.caller(credential, "GET", Keys.SCOPED)
    user = sessions.user_of(credential.key)
    if user is None:
        raise Unauthorized(BAD_TOKEN)
    return principal_of(user)


def _credential_of(ticket: str) -> Credential:
    """What stands behind the ticket, which is used up: its session, or an access token of its sign-in."""
    try:
        use = one_time.use(ticket, Purpose.TICKET)
    except BadRequest as fault:
        raise Unauthorized(BAD_TOKEN) from fault
    if "session" in use.data:
        return BrowserSession(use.data["session"])
    return tokens.access_token(use.account, use.data["sign_in"])
