"""Signing in by a provider, and the list of an account's providers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import one_time, realms, sign_in, tokens
from accounts.api import documents as account_documents
from accounts.api.base import AccountView, IsAccount, client_of, outcome_json
from accounts.api.serializers import NothingSerializer
from accounts.models import ExternalIdentity
from accounts.models.owned import Account
from accounts.oauth import arrival, documents, identities, providers, redirects, serializers
from accounts.oauth.arrival import Person
from accounts.one_time import LIFETIMES, Purpose
from accounts.principals import STAFF_COLLECTION
from accounts.sign_in import SignedIn
from core import clock
from core.error_adapter import domain_error
from core.errors import BadRequest
from core.serializers import StrictSerializer


class _OAuthView(AccountView):
    open_in_maintenance = True
    authentication_classes = ()  # who is signed in already signs in anew
    serializer_class: type[StrictSerializer] = NothingSerializer


class ProvidersView(_OAuthView):
    """By whom people can sign in here."""

    @extend_schema(request=None, responses={200: documents.PROVIDERS})
    def get(self, request: Request) -> Response:
        found = providers.configured()
        return Response({"items": [{"id": one.id, "name": one.name, "login_url": one.login_url} for one in found]})


class BeginView(_OAuthView):
    """Go to the provider to sign in there. A page may say where to come back to: an address of an allowed origin."""

    crew = "outgoing"
    parameters = frozenset(serializers.BeginSerializer._declared_fields)
    serializer_class = serializers.BeginSerializer

    @extend_schema(request=None, parameters=[serializers.BeginSerializer], responses={302: None})
    def get(self, request: Request, provider: str) -> HttpResponse:
        from accounts.oauth import handshake  # allauth and the HTTP client, which most do without

        chosen = providers.get(provider)
        serializer = serializers.BeginSerializer(data=self.query)
        serializer.is_valid(raise_exception=True)
        given = dict(serializer.validated_data)
        name, ticket = given.pop("collection", ""), given.pop("link", "")
        if ticket:
            account = identities.whose(ticket, chosen.id)
            given |= {"account_id": account.account_id, "stamp": account.credential_stamp()}
            realm = realms.of(account)
        else:
            realm = realms.get(name or STAFF_COLLECTION)
        return handshake.begin(request._request, chosen, handshake.Intent(realm=realm.key, **given))


class CallbackView(_OAuthView):
    """Where the provider sends people back to: tokens, or the way to the page that asked.

    To that page go ``code``, for ``/api/v1/oauth/exchange``; ``link``, for
    ``/auth/identities``; or ``error`` and ``error_description``.
    """

    crew = "outgoing"
    parameters = None  # the provider's own

    @extend_schema(request=None, responses={200: account_documents.SIGNED_IN})
    def get(self, request: Request, provider: str) -> HttpResponse:
        from accounts.oauth import handshake

        chosen = providers.get(provider)
        plain: HttpRequest = request._request
        intent, state = handshake.resume(plain, chosen)
        try:
            answer = self._answer(request, intent, handshake.person(plain, chosen, state))
        except Exception as fault:
            error = domain_error(fault)
            if error is None or not intent.redirect_to:
                raise
            word = "access_denied" if plain.GET.get("error") == "access_denied" else error.code.lower()
            answer = _to(intent.redirect_to, error=word, error_description=error.message)
        handshake.leave(plain, answer)
        return answer

    def _answer(self, request: Request, intent: Any, person: Person) -> HttpResponse:
        realm = realms.get(intent.realm)
        if intent.account_id:
            account = realm.get(intent.account_id)
            if account is None or not account.is_active or account.credential_stamp() != intent.stamp:
                raise BadRequest(one_time.BAD)
            code = identities.proof(account, person)
            if intent.redirect_to:
                return _to(intent.redirect_to, link=code)
            message = "Send this code to POST /auth/identities, signed in, to link the account."
            return Response({"code": code, "provider": person.provider, "email": person.email, "message": message})
        account = arrival.arrive(realm, person, intent.invite_code)
        if intent.redirect_to:
            data = {"provider": person.provider, "code_challenge": intent.code_challenge}
            return _to(intent.redirect_to, code=one_time.make(account, Purpose.EXCHANGE, data))
        return Response(_signed_in(account, person.provider, request))


class ExchangeView(_OAuthView):
    """The code of a redirect for tokens, once, within a minute, in the realm that it was made for."""

    serializer_class = serializers.ExchangeSerializer

    @extend_schema(responses={200: account_documents.SIGNED_IN})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        realm = self.named_realm(given)
        found = one_time.peek(given["code"], Purpose.EXCHANGE, realm)
        if not redirects.answers(given.get("code_verifier", ""), found.data["code_challenge"]):
            raise BadRequest(one_time.BAD)
        used = one_time.use(given["code"], Purpose.EXCHANGE, realm)
        return Response(_signed_in(used.account, used.data["provider"], request))


class IdentitiesView(AccountView):
    """The providers by which the account can sign in; POST adds one that its browser has just come back from."""

    permission_classes = (IsAccount,)
    serializer_class = serializers.LinkSerializer

    @extend_schema(request=None, responses={200: documents.IDENTITIES})
    def get(self, request: Request) -> Response:
        return Response({"items": [_identity_json(row) for row in identities.of(self.account(request))]})

    @extend_schema(responses={201: documents.IDENTITY})
    def post(self, request: Request) -> Response:
        made = identities.link(self.account(request), self.cleaned(request)["code"])
        return Response(_identity_json(made), status=status.HTTP_201_CREATED)


class IdentityView(AccountView):
    """Remove one, unless it is the only way into the account; who signed in by it is signed out."""

    permission_classes = (IsAccount,)
    serializer_class = NothingSerializer

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, identity_id: str) -> Response:
        current = tokens.sign_in_of(self.realm, request.auth) if isinstance(request.auth, str) else None
        identities.unlink(self.account(request), identity_id, keep=current)
        return Response(status=status.HTTP_204_NO_CONTENT)


class StartLinkView(AccountView):
    """Where the account's browser has to go to add a provider. It comes back with a code for ``/auth/identities``."""

    permission_classes = (IsAccount,)
    serializer_class = serializers.StartLinkSerializer

    @extend_schema(responses={200: documents.LINK})
    def post(self, request: Request, provider: str) -> Response:
        chosen = providers.get(provider)
        given = self.cleaned(request)
        query = urlencode({"link": identities.ticket(self.account(request), chosen.id), **given})
        seconds = int(LIFETIMES[Purpose.LINK].total_seconds())
        return Response({"url": f"{chosen.login_url}?{query}", "expires_in": seconds})


def _signed_in(account: Account, provider_id: str, request: Request) -> dict[str, Any]:
    outcome = sign_in.admit(account, f"oauth:{provider_id}", client_of(request))
    body = outcome_json(outcome)
    if isinstance(outcome, SignedIn):
        body["user"] = {**body["user"], "oauth_provider": provider_id}
    return body


def _to(url: str, **query: str) -> HttpResponse:
    return HttpResponseRedirect(redirects.with_query(url, **query))


def _identity_json(row: ExternalIdentity) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "provider": row.provider,
        "name": providers.name_of(row.provider),
        "email": row.email,
        "created": clock.isoformat(row.created),
        "last_login": clock.isoformat(row.last_login) if row.last_login else None,
    }
