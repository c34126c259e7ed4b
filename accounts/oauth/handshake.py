"""To the provider and back: state, PKCE and nonce stay with the browser that began.

They are in a session of their own, by a cookie of their own that lives ten minutes:
it signs nobody in, here or anywhere. Each state is good for one answer of one provider.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import jwt
import requests
from allauth.socialaccount.internal import statekit
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base.constants import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse

from accounts.oauth import protocols
from accounts.oauth.arrival import Person
from accounts.oauth.outgoing import logger
from accounts.oauth.providers import Provider
from core.addresses import email_address
from core.errors import BadRequest, Forbidden, ServiceUnavailable

FOREIGN = "This sign-in was not begun in this browser, took too long, or is over already. Please begin again."
SECONDS = statekit.STATE_TTL
_KEY = re.compile(r"[a-z0-9]{32}")  # as Django makes them; no database is asked for anything else
_WORD = re.compile(r"[a-z_]{1,40}")  # the codes of RFC 6749


@dataclass(frozen=True, slots=True)
class Intent:
    """What a sign-in is begun for; kept on our side until the provider answers.

    ``account_id`` and ``stamp`` are of who is signed in already and adds this way in.
    """

    realm: str
    redirect_to: str = ""
    invite_code: str = ""
    code_challenge: str = ""
    account_id: str = ""
    stamp: str = ""


def begin(request: HttpRequest, provider: Provider, intent: Intent) -> HttpResponse:
    """The redirect to the provider; ServiceUnavailable where it does not answer."""
    nonce = secrets.token_urlsafe(32)
    with _own_session(request):
        theirs = protocols.of(request, provider)
        try:
            answer: HttpResponse = theirs.redirect(
                request,
                process=AuthProcess.LOGIN,
                data={"intent": asdict(intent), "nonce": nonce},
                auth_params={**theirs.get_auth_params(), "nonce": nonce},
            )
        except (OAuth2Error, requests.RequestException, ValueError) as fault:
            raise _unavailable(provider, fault) from fault
        answer.set_cookie(
            cookie_name(),
            request.session.session_key or "",
            max_age=SECONDS,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",  # the provider's redirect brings it along, a foreign page's form does not
        )
    return answer


def resume(request: HttpRequest, provider: Provider) -> tuple[Intent, dict[str, Any]]:
    """What the answer's state was begun for, once; BadRequest where this browser began no such thing."""
    with _own_session(request):
        wanted = request.GET.get("state", "")[:200]
        state = statekit.unstash_state(request, state_id=wanted, provider_id=provider.id)
    if state is None:
        raise BadRequest(FOREIGN)
    return Intent(**state["data"]["intent"]), state


def person(request: HttpRequest, provider: Provider, state: dict[str, Any]) -> Person:
    """Who has signed in at the provider.

    Forbidden where they did not let us know, BadRequest where the provider takes back
    what it said, ServiceUnavailable where it does not answer.
    """
    if (issuer := request.GET.get("iss")) and provider.issuer and issuer.rstrip("/") != provider.issuer:
        raise BadRequest(f"This answer is not {provider.name}'s.")
    if request.GET.get("error") == "access_denied":
        raise Forbidden(f"{provider.name} did not let us know who you are: access was denied.")
    if "error" in request.GET or not request.GET.get("code"):
        word = request.GET.get("error", "")
        because = f": {word}" if _WORD.fullmatch(word) else ""
        raise BadRequest(f"{provider.name} could not sign you in{because}.")
    theirs = protocols.of(request, provider)
    way = theirs.get_oauth2_adapter(request)
    way.nonce = state["data"]["nonce"]
    try:
        client = way.get_client(request, theirs.app)
        given = way.get_access_token_data(
            request, theirs.app, client, pkce_code_verifier=state.get("pkce_code_verifier")
        )
        login = way.complete_login(request, theirs.app, way.parse_token(given), response=given)
    except (requests.ConnectionError, requests.Timeout) as fault:
        raise _unavailable(provider, fault) from fault
    except (
        OAuth2Error, requests.RequestException, jwt.PyJWTError, PermissionDenied, ImproperlyConfigured,
        LookupError, ValueError, TypeError, AttributeError,
    ) as fault:  # fmt: skip
        reason = str(fault).partition(":")[0] if isinstance(fault, OAuth2Error) else ""  # beyond it may be secrets
        logger.warning("a sign-in by %s came to nothing: %s %s", provider.id, type(fault).__name__, reason[:120])
        raise BadRequest(f"{provider.name} did not confirm this sign-in. Please begin again.") from fault
    return _person(provider, login)


def leave(request: HttpRequest, answer: HttpResponse) -> None:
    """Forget the browser, unless it has begun another sign-in meanwhile."""
    with _own_session(request):
        if not request.session.get(statekit.STATES_SESSION_KEY):
            request.session.flush()
            answer.delete_cookie(cookie_name(), samesite="Lax")


def cookie_name() -> str:
    """With the prefix that keeps neighbours on other host names from setting it, where that works."""
    return "__Host-oauth" if settings.SESSION_COOKIE_SECURE else "oauth"


@contextmanager
def _own_session(request: HttpRequest) -> Iterator[None]:
    """The browser's sign-ins under way, where allauth looks for them; the admin's session stays what it is."""
    engine = import_module(settings.SESSION_ENGINE)
    admins = getattr(request, "session", None)
    sent = _KEY.fullmatch(request.COOKIES.get(cookie_name(), ""))
    if sent is None:
        engine.SessionStore.clear_expired()
    request.session = engine.SessionStore(None if sent is None else sent[0])
    request.session.set_expiry(SECONDS)
    try:
        yield
    finally:
        if admins is None:
            del request.session
        else:
            request.session = admins


def _person(provider: Provider, login: SocialLogin) -> Person:
    known = login.profile
    addresses = [
        (address, one.verified is True)
        for one in sorted(login.email_addresses, key=lambda one: (one.verified, one.primary), reverse=True)
        if (address := _email(one.email))
    ]
    email, verified = addresses[0] if addresses else ("", False)
    extra = login.account.extra_data
    first_and_last = f"{_text(known.get('first_name'))} {_text(known.get('last_name'))}".strip()
    subject = login.account.uid
    if _text(subject) != subject:  # cut or cleaned it would be somebody else's
        raise BadRequest(f"{provider.name} did not say who you are.")
    return Person(
        provider=provider.id,
        issuer=provider.issuer,
        subject=subject,
        email=email,
        email_verified=verified,
        profile={
            "name": _text(known.get("name")) or first_and_last,
            "username": _text(known.get("username")).partition("@")[0],
            "avatar_url": _address(extra.get("picture") or extra.get("avatar_url")),
        },
    )


def _text(value: Any) -> str:
    """What a provider says is as little to be trusted as what a client says."""
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in value if letter.isprintable()).strip()[:255]


def _email(value: Any) -> str:
    """Empty for what is no address: it would be one that nobody has verified, or several."""
    try:
        return email_address(value if isinstance(value, str) else "")
    except ValidationError:
        return ""


def _address(value: Any) -> str:
    text = value if isinstance(value, str) and value.isprintable() and len(value) <= 500 else ""
    return text if text.startswith(("https://", "http://")) else ""


def _unavailable(provider: Provider, fault: Exception) -> ServiceUnavailable:
    logger.warning("%s can't be asked: %s", provider.id, type(fault).__name__)
    return ServiceUnavailable(f"{provider.name} can't be reached at the moment. Please try again.", retry_after=5)
