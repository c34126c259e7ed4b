"""Access and refresh tokens of every realm, and from a raw token to its principal.

A token names its issuer, audience (the realm), purpose, account (``sub``), sign-in
(``sid``) and the account's credential stamp (``stm``); each realm has a key of its
own. The signature of a token is checked once per process; the account and the
sign-in are read on every call, so a change of password or role, a disabled account
or a logout acts at once.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import jwt
from django.conf import settings
from django.db import connection, transaction
from django.utils.crypto import salted_hmac
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import Token

from accounts import key_uses, realms
from accounts.models import SignIn, credential_stamp
from accounts.models.owned import Account
from accounts.principals import STAFF_COLLECTION, USER_FIELDS, Principal
from accounts.realms import Realm
from accounts.scopes import Scope
from core import clock, database, ratelimit
from core.errors import Unauthorized

ISSUER, AUDIENCE = "fastcms", STAFF_COLLECTION
MAX_TOKEN_CHARS = 4096
MOST = 100  # open sign-ins of one account
CLOCK_SKEW_SECONDS = 30  # between the machines of one installation
API_KEY_PREFIX = "fcms_"
BAD_TOKEN = "Invalid or expired token"  # noqa: S105 - a sentence


@lru_cache(maxsize=256)
def _backend(secret: str, algorithm: str, audience: str) -> TokenBackend:
    key = salted_hmac("accounts.tokens", audience, secret=secret, algorithm="sha256").hexdigest()
    return TokenBackend(algorithm, signing_key=key, audience=audience, issuer=ISSUER, leeway=CLOCK_SKEW_SECONDS)


class _AccountToken(Token):
    """simplejwt's token (``jti``, ``exp``, ``iat``, purpose) with our key, issuer and audience."""

    audience = AUDIENCE

    @property
    def token_backend(self) -> TokenBackend:
        return _backend(settings.SECRET_KEY, settings.ALGORITHM, self.audience)


class AccessToken(_AccountToken):
    token_type = "access"  # noqa: S105
    lifetime = settings.ACCESS_TOKEN_LIFETIME


class RefreshToken(_AccountToken):
    token_type = "refresh"  # noqa: S105
    lifetime = settings.REFRESH_TOKEN_LIFETIME


Kind = TypeVar("Kind", bound=_AccountToken)


@lru_cache(maxsize=512)
def _for(kind: type[Kind], audience: str) -> type[Kind]:
    """The same kind of token for another realm: simplejwt asks the class, not the token."""
    return type(kind.__name__, (kind,), {"audience": audience})


@dataclass(frozen=True, slots=True)
class TokenPair:
    """``expires_in`` is the access token's life in seconds."""

    access: str
    refresh: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Client:
    """Where a sign-in comes from, for the list of them."""

    address: str = ""
    user_agent: str = ""


# --- issuing, rotating, revoking -----------------------------------------------------------


def issue(account: Account, method: str = "password", client: Client | None = None) -> TokenPair:
    """Open a sign-in for the account; its earlier, expired ones are swept out.

    Of more than ``MOST`` open ones that which was not used for the longest time ends.
    Only ``sign_in`` calls this for people: it asks for the second factor.
    """
    client = client or Client()
    now = clock.now()
    sign_in = SignIn(
        realm=account.realm_key,
        account_id=account.account_id,
        created=now,
        last_used=now,
        expires=now + settings.REFRESH_TOKEN_LIFETIME,
        method=method,
        address=client.address[:45],
        user_agent=client.user_agent[:200],
    )
    pair, sign_in.refresh_id = _pair(account, sign_in.id)
    with transaction.atomic():
        earlier = SignIn.objects.of(account)
        earlier.filter(expires__lt=now).delete()
        left = earlier.filter(revoked=None).order_by("-last_used", "pk")
        earlier.filter(pk__in=left.values("pk")[MOST - 1 :]).delete()
        sign_in.save(force_insert=True)
    return pair


def refresh(realm: Realm, raw: str) -> tuple[Account, TokenPair]:
    """Exchange a refresh token for a new pair.

    Raises Unauthorized for anything but the newest token of an open sign-in; an
    older one coming back ends the sign-in with all its tokens.
    """
    claims = _verify(RefreshToken, raw, realm.audience)
    account = realm.get(claims["sub"])
    if account is None or not account.is_active or claims.get("stm") != account.credential_stamp():
        raise Unauthorized(BAD_TOKEN)
    open_sign_in = SignIn.objects.of(account).filter(pk=claims["sid"], revoked=None)
    pair, refresh_id = _pair(account, uuid.UUID(claims["sid"]))
    now = clock.now()
    with transaction.atomic():
        exchanged = open_sign_in.filter(refresh_id=claims["jti"]).update(
            refresh_id=refresh_id, expires=now + settings.REFRESH_TOKEN_LIFETIME, last_used=now
        )
        if not exchanged:
            open_sign_in.update(revoked=now)
    if not exchanged:
        raise Unauthorized(BAD_TOKEN)
    return account, pair


def revoke(realm: Realm, raw: str) -> None:
    """End the sign-in that an access or refresh token belongs to; a token of no use is none."""
    for kind in (AccessToken, RefreshToken):
        try:
            claims = _verify(kind, raw, realm.audience)
        except Unauthorized:
            continue
        SignIn.objects.filter(pk=claims["sid"], realm=realm.key, account_id=claims["sub"], revoked=None).update(
            revoked=clock.now()
        )


def sign_in_of(realm: Realm, raw: str) -> uuid.UUID | None:
    """Which sign-in an access token belongs to."""
    try:
        return uuid.UUID(_verify(AccessToken, raw, realm.audience)["sid"])
    except Unauthorized:
        return None


def access_token(account: Account, sign_in_id: str) -> str:
    """Another access token of an open sign-in, for what outlives the one that it began with."""
    return _pair(account, uuid.UUID(sign_in_id))[0].access


def access_claims(raw: str, audience: str) -> dict[str, Any]:
    """The claims of an access token for the audience; Unauthorized for any other token."""
    return _verify(AccessToken, raw, audience)


def _pair(account: Account, sign_in_id: uuid.UUID) -> tuple[TokenPair, str]:
    audience = realms.of(account).audience
    access, refresh = _for(AccessToken, audience)(), _for(RefreshToken, audience)()
    for token in (access, refresh):
        token["sub"] = account.account_id
        token["sid"] = str(sign_in_id)
        token["stm"] = account.credential_stamp()
    seconds = int(settings.ACCESS_TOKEN_LIFETIME.total_seconds())
    return TokenPair(str(access), str(refresh), seconds), refresh["jti"]


def _verify(kind: type[_AccountToken], raw: str, audience: str) -> dict[str, Any]:
    """The claims of a well-signed token of this kind, its ids known to be ids."""
    if len(raw) > MAX_TOKEN_CHARS:
        raise Unauthorized(BAD_TOKEN)
    try:
        claims: dict[str, Any] = _for(kind, audience)(raw).payload  # type: ignore[arg-type]
        uuid.UUID(claims["sid"])
        if audience == AUDIENCE:
            uuid.UUID(claims["sub"])
        elif not isinstance(claims["sub"], str):
            raise TypeError(claims["sub"])
    except (TokenError, KeyError, ValueError, TypeError, AttributeError) as fault:
        raise Unauthorized(BAD_TOKEN) from fault
    return claims


# --- from a raw token to its principal -----------------------------------------------------


class Verified(Protocol):
    """A token whose signature and claims are good until ``expires`` (unix time)."""

    expires: float

    def principal(self) -> Principal:
        """Who it speaks for now; raises Unauthorized once the account says no."""


Resolver = Callable[[str], Verified]

_resolvers: dict[str, Resolver] = {}
_cache: dict[str, Verified] = {}
_cache_lock = threading.Lock()
_CACHE_SIZE = 4096


def register_resolver(audience: str, resolver: Resolver) -> None:
    """Let another app answer for tokens whose audience is ``audience`` or ``audience:…``.

    The resolver verifies the token for its own audience and raises Unauthorized;
    what is said in an unverified token only chooses who verifies it.
    """
    _resolvers[audience] = resolver


def verified(raw: str) -> Verified:
    """The token, well-signed and not expired; Unauthorized for anything else. It says nothing of its account."""
    found = _cache.get(raw)
    if found is None or found.expires <= time.time():
        found = _resolve(raw)
        with _cache_lock:
            while len(_cache) >= _CACHE_SIZE:
                del _cache[next(iter(_cache))]
            _cache[raw] = found
    return found


def principals_of(those: Sequence[Verified]) -> list[Principal | None]:
    """Who each of these speaks for by now; None once its account says no. Some hundreds in two statements."""
    with database.reading() as session:
        found = [session.memo.get(one) for one in those]
        asked = [one for one, principal in zip(those, found, strict=True) if principal is None]
        rows = _rows_of([one for one in asked if isinstance(one, _VerifiedAccess)])
        for index, one in enumerate(those):
            if found[index] is None:
                try:
                    found[index] = one.of_row(rows[one]) if isinstance(one, _VerifiedAccess) else one.principal()
                except Unauthorized:
                    continue
                session.remember(one, found[index], 1000)
    for principal in found:
        if principal is not None and principal.scope is not None:
            key_uses.uses.note(principal.scope.key_id)
    return found


def principal_from_token(raw: str) -> Principal:
    """The caller that an access token or an API key speaks for; Unauthorized for anything else."""
    token = verified(raw)
    with database.reading() as session:
        # As long as nothing at all was committed, neither was a change of the account.
        principal: Principal | None = session.memo.get(token)
        if principal is None:
            principal = token.principal()
            session.remember(token, principal, 1000)
    if principal.scope is not None:
        key_uses.uses.note(principal.scope.key_id)
        if principal.is_admin:  # others could make a hundred keys, and have as many limits
            ratelimit.keys.note(raw, principal.scope.key_id, principal.scope.rate_limit)
    return principal


def _resolve(raw: str) -> Verified:
    if len(raw) > MAX_TOKEN_CHARS:
        raise Unauthorized(BAD_TOKEN)
    if raw.startswith(API_KEY_PREFIX):
        return _resolvers[API_KEY_PREFIX](raw)
    resolver = _resolvers.get(audience_of(raw).partition(":")[0])
    if resolver is None:
        raise Unauthorized(BAD_TOKEN)
    return resolver(raw)


def audience_of(raw: str) -> str:
    """Whom a token says it is for. It is not verified yet."""
    try:
        audience = jwt.decode(raw, options={"verify_signature": False}).get("aud")
    except jwt.PyJWTError as fault:
        raise Unauthorized(BAD_TOKEN) from fault
    if not isinstance(audience, str):
        raise Unauthorized(BAD_TOKEN)
    return audience


# What an account's principal and its credential stamp are made of.
ACCOUNT_COLUMNS = ("token_key", "password", "email", "role", "verified", *USER_FIELDS)
_BOOLEANS = frozenset({"phone_verified", "is_active", "two_fa_enabled"})
_ROW_SQL = (
    f"SELECT {', '.join('u.' + name for name in ACCOUNT_COLUMNS)} FROM users u "
    "CROSS JOIN sign_ins s WHERE s.id = {0} AND s.realm = 'users' AND s.account_id = {0} AND s.revoked IS NULL "
    "AND u.id = {0} AND u.deleted_at IS NULL AND u.is_active"
)
_STATEMENTS = {"sqlite": _ROW_SQL.format("?"), "postgresql": _ROW_SQL.format("%s")}


class _VerifiedAccess:
    """A verified access token of ``users``; rebuilds its principal only when the row has moved."""

    __slots__ = ("_principal", "_row", "_stamp", "_statement", "_subject", "expires", "keys")

    def __init__(self, claims: dict[str, Any]) -> None:
        sign_in, user = uuid.UUID(claims["sid"]), uuid.UUID(claims["sub"])
        self.expires = float(claims["exp"])
        self._subject = str(user)
        on_sqlite = connection.vendor == "sqlite"
        self.keys = (sign_in.hex if on_sqlite else sign_in, str(user), user.hex if on_sqlite else user)
        self._statement = _STATEMENTS[connection.vendor]
        self._stamp = claims.get("stm")
        self._row: tuple[Any, ...] | None = None
        self._principal: Principal | None = None

    def principal(self) -> Principal:
        found = database.rows(self._statement, self.keys, keyed=True)
        return self.of_row(found[0] if found else None)

    def of_row(self, row: tuple[Any, ...] | None) -> Principal:
        """Of the account's row, None where there is none that counts."""
        if self._principal is None or row != self._row:
            if row is None or credential_stamp(*row[:4]) != self._stamp:
                raise Unauthorized(BAD_TOKEN)
            self._principal, self._row = account_principal(self._subject, row), row
        return self._principal


def _rows_of(tokens: Sequence[_VerifiedAccess]) -> dict[Verified, tuple[Any, ...] | None]:
    """What :data:`_STATEMENTS` finds for each."""
    if not tokens:
        return {}
    marks = ", ".join(["?" if connection.vendor == "sqlite" else "%s"] * len(tokens))
    open_ones: dict[Any, str] = dict(
        database.rows(
            f"SELECT id, account_id FROM sign_ins WHERE id IN ({marks}) AND realm = 'users' AND revoked IS NULL",
            [token.keys[0] for token in tokens],
        )
    )
    users = {
        row[0]: row[1:]
        for row in database.rows(
            f"SELECT id, {', '.join(ACCOUNT_COLUMNS)} FROM users"
            f" WHERE id IN ({marks}) AND deleted_at IS NULL AND is_active",
            [token.keys[2] for token in tokens],
        )
    }
    found: dict[Verified, tuple[Any, ...] | None] = {}
    for token in tokens:
        sign_in, account, user = token.keys
        found[token] = users.get(user) if open_ones.get(sign_in) == account else None
    return found


def account_principal(user_id: str, row: tuple[Any, ...], scope: Scope | None = None) -> Principal:
    """The principal of a row of :data:`ACCOUNT_COLUMNS`."""
    _, _, email, role, verified, *values = row
    fields = {
        name: bool(value) if name in _BOOLEANS else value for name, value in zip(USER_FIELDS, values, strict=True)
    }
    return Principal(
        id=user_id,
        collection=STAFF_COLLECTION,
        email=email,
        role=role,
        verified=bool(verified),
        fields=fields,
        scope=scope,
    )


def resolve_account_token(raw: str) -> Verified:
    """The resolver of the audience ``users``."""
    return _VerifiedAccess(_verify(AccessToken, raw, AUDIENCE))


register_resolver(AUDIENCE, resolve_account_token)
