"""Which providers are set up, by settings or by environment variables; see docs/oauth.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from django.conf import settings

from core.errors import NotFound
from settings_app import values
from settings_app.registry import Setting, declare

PREFIX = "/api/v1/oauth"
CLIENT_ID, CLIENT_SECRET, ISSUER = "client_id", "client_secret", "issuer"
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
    chosen = values.overrides(key for one in settings.OAUTH_PROVIDERS for key in _keys(one))
    found = (_read(provider_id, chosen) for provider_id in settings.OAUTH_PROVIDERS)
    return [provider for provider in found if provider is not None]


def get(provider_id: str) -> Provider:
    """NotFound where it is not set up."""
    found = None
    if provider_id in settings.OAUTH_PROVIDERS:
        found = _read(provider_id, values.overrides(_keys(provider_id)))
    if found is None:
        raise NotFound(f"Sign-in by {provider_id[:40]!r} is not set up here.")
    return found


def name_of(provider_id: str) -> str:
    """What people call it, also when it is no longer set up."""
    return _NAMES.get(provider_id) or settings.OAUTH_PROVIDERS.get(provider_id, {}).get("name") or provider_id


def declare_settings() -> None:
    for provider_id in settings.OAUTH_PROVIDERS:
        people_say = _NAMES.get(provider_id, "the OpenID Connect provider")
        for option in _options(provider_id):
            declare(
                Setting(
                    f"{provider_id}_{option}",
                    "string",
                    partial(_of_environment, provider_id, option),
                    "oauth",
                    f"{option.replace('_', ' ').capitalize()} of {people_say}.",
                    secret=option == CLIENT_SECRET,
                    guarded=True,
                    forgets=(f"{provider_id}_{CLIENT_SECRET}",) if option in (CLIENT_ID, ISSUER) else (),
                    check=_issuer_problem if option == ISSUER else None,
                )
            )


def is_issuer_set() -> bool:
    """Whether the issuer of ``oidc`` is not the one that the environment names."""
    chosen = values.overrides([f"oidc_{ISSUER}"])
    return any(issuer and issuer != _of_environment("oidc", ISSUER) for issuer in chosen.values())


def _options(provider_id: str) -> tuple[str, ...]:
    return (CLIENT_ID, CLIENT_SECRET) if provider_id in _NAMES else (ISSUER, CLIENT_ID, CLIENT_SECRET)


def _keys(provider_id: str) -> list[str]:
    return [f"{provider_id}_{option}" for option in _options(provider_id)]


def _of_environment(provider_id: str, option: str) -> str:
    return str(settings.OAUTH_PROVIDERS.get(provider_id, {}).get(option, ""))


def _issuer_problem(value: str) -> str:
    allowed = ("https://",) if settings.PRODUCTION else ("https://", "http://")
    return "" if not value or value.startswith(allowed) else "Must be the address of the issuer, https://…"


def _read(provider_id: str, chosen: Mapping[str, str]) -> Provider | None:
    options = dict(settings.OAUTH_PROVIDERS[provider_id])
    own = {
        option: chosen[key]
        for option, key in zip(_options(provider_id), _keys(provider_id), strict=True)
        if key in chosen
    }
    if any(own.get(option, given) != given for option, given in options.items() if option in (CLIENT_ID, ISSUER)):
        options[CLIENT_SECRET] = ""  # the environment's is for the client and the issuer that it names
    options |= own
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
