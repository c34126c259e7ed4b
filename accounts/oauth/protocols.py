"""allauth's providers as they are used here.

Over allauth's own ways: state and PKCE always, our callback addresses, HTTP by
:mod:`accounts.oauth.outgoing`, every id_token verified with its signature and nonce, and an
address is verified only where the provider says so in so many words. No provider comes from
allauth's tables, and none of its rows is ever saved.
"""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import requests
from allauth.account.models import EmailAddress
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.github.provider import GitHubProvider
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from allauth.socialaccount.providers.google.provider import GoogleProvider
from allauth.socialaccount.providers.google.views import GoogleOAuth2Adapter
from allauth.socialaccount.providers.microsoft.provider import MicrosoftGraphProvider
from allauth.socialaccount.providers.microsoft.views import MicrosoftGraphOAuth2Adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Client, OAuth2Error
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.core.cache import cache
from django.http import HttpRequest

from accounts.models import User
from accounts.oauth import providers
from accounts.oauth.outgoing import Session
from accounts.oauth.providers import Provider

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY_SECONDS = 60
DISCOVERY_SECONDS = 300
AWAY_SECONDS = 5  # in which an issuer that gave no discovery document is not asked again
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Adapter(DefaultSocialAccountAdapter):
    """What allauth asks of a project (``SOCIALACCOUNT_ADAPTER``)."""

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> OAuth2Provider:
        return of(request, providers.get(provider))

    def get_app(self, request: HttpRequest, provider: str, client_id: str | None = None) -> SocialApp:
        return _app(providers.get(provider))

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[SocialApp]:
        return [_app(one) for one in providers.configured()]

    def get_requests_session(self) -> Session:
        return Session()

    def generate_state_param(self, state: dict[str, Any]) -> str:
        return secrets.token_urlsafe(32)

    def new_user(self, request: HttpRequest, sociallogin: SocialLogin) -> User:
        return User()  # that allauth may write on; it goes nowhere

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        sociallogin.profile = data
        return sociallogin.user

    def is_email_verified(self, provider: OAuth2Provider, email: str) -> bool:
        return False  # whatever its settings are: only what the provider says of the address counts


class _Client(OAuth2Client):
    def get_redirect_url(self, authorization_url: str, scope: list[str], extra_params: dict[str, Any]) -> str:
        """Also where the provider's address has a query of its own."""
        place, _, own = authorization_url.partition("?")
        return str(super().get_redirect_url(place, scope, {**dict(parse_qsl(own)), **extra_params}))


class _Way:
    """Mixed into allauth's OAuth2 adapters."""

    client_class = _Client
    nonce = ""  # of this sign-in; set before the answer is read

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        return str(app.settings["callback_url"])


class _Always:
    """Mixed into allauth's providers."""

    pkce_enabled_default = True


class _ClaimedAddress:
    """The address of an id_token, and whether it is verified: by ``true``, or Cognito's ``"true"``."""

    def extract_email_addresses(self, data: dict[str, Any]) -> list[EmailAddress]:
        email, verified = data.get("email"), data.get("email_verified")
        if not isinstance(email, str):
            return []
        return [EmailAddress(email=email, verified=verified is True or verified == "true", primary=True)]


class GoogleWay(_Way, GoogleOAuth2Adapter):
    keys_url = "https://www.googleapis.com/oauth2/v3/certs"

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **kwargs: Any) -> SocialLogin:
        claims = verified_claims(
            kwargs["response"].get("id_token"),
            keys_url=self.keys_url,
            issuer=self.id_token_issuer,
            client_id=app.client_id,
            nonce=self.nonce,
        )
        return self.get_provider().sociallogin_from_response(request, claims)


class Google(_Always, _ClaimedAddress, GoogleProvider):
    oauth2_adapter_class = GoogleWay

    def get_default_scope(self) -> list[str]:
        return ["openid", "profile", "email"]


class GitHubWay(_Way, GitHubOAuth2Adapter):
    pass


class GitHub(_Always, GitHubProvider):
    oauth2_adapter_class = GitHubWay


class MicrosoftWay(_Way, MicrosoftGraphOAuth2Adapter):
    pass


class Microsoft(_Always, MicrosoftGraphProvider):
    """Any tenant's administrator may write any address there, so none counts as verified."""

    oauth2_adapter_class = MicrosoftWay

    def extract_common_fields(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**super().extract_common_fields(data), "name": data.get("displayName")}


class OpenIDConnectWay(_Way, OpenIDConnectOAuth2Adapter):
    @property
    def openid_config(self) -> dict[str, Any]:
        """The discovery document of the issuer, which has to speak for that issuer."""
        issuer = providers.get(self.provider_id).issuer
        key = f"oauth.discovery:{issuer}"
        config: dict[str, Any] | None = cache.get(key)
        if config is None:
            try:
                config = _discovered(issuer)
            except Exception:
                cache.set(key, {}, AWAY_SECONDS)
                raise
            cache.set(key, config, DISCOVERY_SECONDS)
        if not config:
            raise requests.ConnectionError("the issuer gave no discovery document a moment ago")
        return config

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **kwargs: Any) -> SocialLogin:
        config = self.openid_config
        claims = verified_claims(
            kwargs["response"].get("id_token"),
            keys_url=config["jwks_uri"],
            issuer=config["issuer"],
            client_id=app.client_id,
            nonce=self.nonce,
        )
        if "userinfo_endpoint" in config:
            told = self._fetch_user_info(token.token)
            if told.get("sub") != claims["sub"]:
                raise OAuth2Error("userinfo is about somebody else")
            claims = {**claims, **told}
        claims = {name: claims[name] for name in claims.keys() - {"userinfo", "id_token"}}  # allauth's own boxes
        return self.get_provider().sociallogin_from_response(request, claims)


class OpenIDConnect(_Always, _ClaimedAddress, OpenIDConnectProvider):
    oauth2_adapter_class = OpenIDConnectWay


_CLASSES: dict[str, tuple[str, type[OAuth2Provider]]] = {
    "google": ("google", Google),
    "github": ("github", GitHub),
    "microsoft": ("microsoft", Microsoft),
    "oidc": ("openid_connect", OpenIDConnect),
}


def of(request: HttpRequest, provider: Provider) -> OAuth2Provider:
    """allauth's provider for one request."""
    return _CLASSES[provider.id][1](request, app=_app(provider))


def _app(provider: Provider) -> SocialApp:
    return SocialApp(
        provider=_CLASSES[provider.id][0],
        provider_id=provider.id,
        name=provider.name,
        client_id=provider.client_id,
        secret=provider.client_secret,
        settings={**provider.options, "callback_url": provider.callback_url, "server_url": provider.issuer},
    )


def verified_claims(raw: Any, *, keys_url: str, issuer: str, client_id: str, nonce: str) -> dict[str, Any]:
    """The claims of an id_token that the issuer signed for us and for this sign-in; OAuth2Error for any other."""
    if not isinstance(raw, str):
        raise OAuth2Error("no id_token")
    with Session() as session:
        answer = session.get(keys_url)
    answer.raise_for_status()
    try:
        claims: dict[str, Any] = jwt.decode(
            raw,
            _key(jwt.PyJWKSet.from_dict(answer.json()), jwt.get_unverified_header(raw).get("kid")),
            algorithms=ALGORITHMS,
            audience=client_id,
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except jwt.PyJWTError as fault:
        raise OAuth2Error(f"the id_token is no good, {fault}") from fault
    if claims.get("azp", client_id) != client_id:
        raise OAuth2Error("the id_token was made for another client")
    if not secrets.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
        raise OAuth2Error("the id_token is of another sign-in")
    return claims


def _key(keys: jwt.PyJWKSet, kid: str | None) -> jwt.PyJWK:
    found = [key for key in keys.keys if key.key_id == kid] if kid else keys.keys
    if len(found) != 1:
        raise OAuth2Error("no key of the issuer's has signed the id_token")
    return found[0]


def _discovered(issuer: str) -> dict[str, Any]:
    with Session() as session:
        answer = session.get(f"{issuer}/.well-known/openid-configuration")
    answer.raise_for_status()
    config: dict[str, Any] = answer.json()
    _check_discovery(config, issuer)
    return config


def _check_discovery(config: Any, issuer: str) -> None:
    """OpenID Connect Discovery 4.3: who answers for another issuer is not believed; nor is plain HTTP for TLS."""
    if not isinstance(config, dict) or str(config.get("issuer")).rstrip("/") != issuer:
        raise OAuth2Error("the discovery document is another issuer's")
    allowed = ("https",) if issuer.startswith("https://") else ("https", "http")
    endpoints = [config.get(name) for name in _ENDPOINTS] + [config.get("userinfo_endpoint", config["token_endpoint"])]
    if any(not isinstance(url, str) or urlsplit(url).scheme not in allowed for url in endpoints):
        raise OAuth2Error("the discovery document lacks an endpoint, or one is not safe")
