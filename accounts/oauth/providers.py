"""Which providers are set up, by environment variables; see docs/oauth.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from core.errors import NotFound

PREFIX = "/api/v1/oauth"
_NAMES = {"google": "Google", "github": "GitHub", "microsoft": "Microsoft"}


@dataclass(frozen=True, slots=True)
class Provider:
    """``id`` is what stands in paths and in ``oauth_provider``, ``name`` what people read.

    ``issuer`` is empty but for OpenID Connect: there the subject of one issuer says
    nothing about that of another, and the issuer of ``oidc`` may be changed.
    """

    id: str
    name: str
    client_id: str
    client_secret: str
    callback_url: str
    issuer: str
    options: Mapping[str, str]

    @property
    def login_url(self) -> str:
        """On the host that people come back to, for the cookie that knows them again is that host's."""
        own = f"{PREFIX}/{self.id}/callback"
        home = self.callback_url.removesuffix(own) if self.callback_url.endswith(own) else settings.BASE_URL
        return f"{home}{PREFIX}/{self.id}/login"


def configured() -> list[Provider]:
    """Those that people can sign in by."""
    found = (_read(provider_id) for provider_id in settings.OAUTH_PROVIDERS)
    return [provider for provider in found if provider is not None]


def get(provider_id: str) -> Provider:
    """NotFound where it is not set up."""
    found = _read(provider_id) if provider_id in settings.OAUTH_PROVIDERS else None
    if found is None:
        raise NotFound(f"Sign-in by {provider_id[:40]!r} is not set up here.")
    return found


def name_of(provider_id: str) -> str:
    """What people call it, also when it is no longer set up."""
    return _NAMES.get(provider_id) or settings.OAUTH_PROVIDERS.get(provider_id, {}).get("name") or provider_id


def _read(provider_id: str) -> Provider | None:
    options = dict(settings.OAUTH_PROVIDERS[provider_id])
    client_id, secret = options.pop("client_id"), options.pop("client_secret")
    issuer = options.pop("issuer", "").rstrip("/")
    is_complete = client_id and secret and (issuer or provider_id in _NAMES)
    if not is_complete:
        return None
    return Provider(
        id=provider_id,
        name=name_of(provider_id),
        client_id=client_id,
        client_secret=secret,
        callback_url=options.pop("redirect_uri") or f"{settings.BASE_URL}{PREFIX}/{provider_id}/callback",
        issuer=issuer,
        options=options,
    )
