"""What the account views share: the realm that they are about, and who is signed in there."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework.generics import GenericAPIView
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import realms, tokens
from accounts.authentication import principal
from accounts.models.owned import Account
from accounts.principals import STAFF_COLLECTION
from accounts.realms import Realm
from accounts.scopes import Keys
from accounts.sign_in import Pending, SignedIn
from accounts.tokens import Client, TokenPair
from core.errors import NotFound, Unauthorized
from core.views import CheckedView


class AccountView(CheckedView, GenericAPIView[Any]):
    """Of ``users``, or of the auth collection that the path names. For people, not for their API keys."""

    api_keys = Keys.NONE
    staff_only = False  # whether no auth collection has it
    collection: str | None = None  # as the path names it

    def dispatch(self, request: Any, *args: Any, collection: str | None = None, **kwargs: Any) -> Any:
        self.collection = collection
        return super().dispatch(request, *args, **kwargs)

    @property
    def realm(self) -> Realm:
        if self.collection == STAFF_COLLECTION or (self.staff_only and self.collection is not None):
            raise NotFound
        return realms.staff() if self.collection is None else realms.get(self.collection)

    @property
    def wanted_realm(self) -> Realm | None:
        """Whose one-time tokens the path takes: its collection's, or anybody's where it names none."""
        return None if self.collection is None else self.realm

    def named_realm(self, given: dict[str, Any]) -> Realm:
        """The realm of the path, or the auth collection that the body of a staff path names."""
        name = given.get("collection")
        return realms.get(name) if name and self.collection is None else self.realm

    def cleaned(self, request: Request, **context: Any) -> dict[str, Any]:
        serializer = self.get_serializer_class()(data=request.data, context=context)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def account(self, request: Request) -> Account:
        """Who is signed in, in this realm; Unauthorized for anybody else."""
        account = self.realm.get(principal(request).id) if is_of(self.realm, request) else None
        if account is None or not account.is_active:
            raise Unauthorized
        return account


class IsAccount(BasePermission):
    """Signed in as an account of the view's realm; somebody of another realm is nobody here."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(view, AccountView) or not is_of(view.realm, request):
            raise Unauthorized
        return True


def is_of(realm: Realm, request: Request) -> bool:
    caller = principal(request)
    return caller.is_authenticated and (caller.collection_id or caller.collection) == realm.key


def client_of(request: Request) -> Client:
    return Client(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_USER_AGENT", ""))


def sign_in_id(view: AccountView, request: Request) -> uuid.UUID | None:
    """The sign-in that the request's access token belongs to; a browser's session has none."""
    return tokens.sign_in_of(view.realm, request.auth) if isinstance(request.auth, str) else None


def tokens_json(pair: TokenPair) -> dict[str, Any]:
    return {
        "access_token": pair.access,
        "refresh_token": pair.refresh,
        "token_type": "bearer",
        "expires_in": pair.expires_in,
    }


def signed_in_json(account: Account, pair: TokenPair) -> dict[str, Any]:
    return {**tokens_json(pair), "user": realms.of(account).to_json(account)}


def outcome_json(outcome: SignedIn | Pending) -> dict[str, Any]:
    """Tokens, or what the client needs to send the code of the second factor."""
    if isinstance(outcome, SignedIn):
        return signed_in_json(outcome.account, outcome.tokens)
    by_mail = outcome.by_mail
    return {
        "requires_2fa": True,
        "user_id": outcome.account.account_id,
        "challenge": outcome.challenge,
        "method": "email" if by_mail else "totp",
        "message": "2FA code sent to your email" if by_mail else "Enter the code of your authenticator app",
    }
