"""Register, log in, and all that happens to an account: the same views for ``users`` and each auth collection."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import auth
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import emails, realms, sign_in, tokens
from accounts.api import documents, serializers
from accounts.api.base import AccountView, IsAccount, client_of, is_of, outcome_json, sign_in_id, signed_in_json
from accounts.authentication import principal
from accounts.models import SignIn
from accounts.models.owned import Account
from accounts.scopes import Keys
from accounts.shapes import RegisterSerializer
from core import clock, ratelimit
from core.errors import NotFound, Unauthorized


class RegisterView(AccountView):
    """Make an account. The first one of an installation becomes superadmin."""

    parameters = None  # a collection's create rule may ask for some
    crew = "hashing"
    rate_limit = ratelimit.REGISTER
    serializer_class = RegisterSerializer

    @extend_schema(responses={201: documents.REGISTERED})
    def post(self, request: Request) -> Response:
        account = self.realm.register(principal(request), request.data, request.META.get("QUERY_STRING", ""))
        pair = tokens.issue(account, "register", client_of(request))
        body = {**self.realm.to_json(account), **signed_in_json(account, pair)}
        return Response(body, status=status.HTTP_201_CREATED)


class LoginView(AccountView):
    """E-mail or username and password for tokens, or for the challenge of a second factor."""

    open_in_maintenance = True
    crew = "hashing"
    rate_limit = ratelimit.LOGIN
    serializer_class = serializers.LoginSerializer
    authentication_classes = ()  # an old token in the header must not keep anybody from signing in

    @extend_schema(responses={200: documents.SIGNED_IN})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        outcome = sign_in.log_in(self.realm, given["identifier"], given["password"], client_of(request))
        return Response(outcome_json(outcome))


class RefreshView(AccountView):
    """A refresh token for a new pair; each can be used once."""

    open_in_maintenance = True
    serializer_class = serializers.RefreshSerializer
    authentication_classes = ()

    @extend_schema(responses={200: documents.SIGNED_IN})
    def post(self, request: Request) -> Response:
        return Response(signed_in_json(*tokens.refresh(self.realm, self.cleaned(request)["refresh_token"])))


class LogoutView(AccountView):
    """End the sign-in that the access token, or the refresh token in the body, belongs to."""

    open_in_maintenance = True
    serializer_class = serializers.LogoutSerializer

    @extend_schema(responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        raw = self.cleaned(request).get("refresh_token")
        here = is_of(self.realm, request)
        if not raw and not here:
            raise Unauthorized
        for token in filter(None, (raw, request.auth)):
            tokens.revoke(self.realm, token)
        if here and request.auth is None:
            auth.logout(request._request)
        return Response({"message": "Logged out successfully"})


class MeView(AccountView):
    """The account that is signed in, or whose API key it is."""

    open_in_maintenance = True
    api_keys = Keys.SCOPED
    permission_classes = (IsAccount,)

    @extend_schema(request=None, responses={200: documents.USER})
    def get(self, request: Request) -> Response:
        return Response(self.realm.to_json(self.account(request)))


class ChangePasswordView(AccountView):
    """A new password ends every older token; the answer carries the new ones."""

    crew = "hashing"
    serializer_class = serializers.ChangePasswordSerializer
    permission_classes = (IsAccount,)

    @extend_schema(responses={200: documents.PASSWORD_CHANGED})
    def post(self, request: Request) -> Response:
        account = self.account(request)
        given = self.cleaned(request, check=lambda password: self.realm.check_new_password(password, account))
        done = sign_in.change_password(account, given["current_password"], given["new_password"], client_of(request))
        return Response({"message": "Password changed successfully", **outcome_json(done)})


class VerifyEmailView(AccountView):
    """The token of the mail, for a verified address."""

    serializer_class = serializers.TokenSerializer
    authentication_classes = ()

    @extend_schema(responses={200: documents.VERIFIED})
    def post(self, request: Request) -> Response:
        account = emails.verify(self.cleaned(request)["token"], self.wanted_realm)
        user = realms.of(account).to_json(account)
        return Response({"message": "Email verified successfully", "user": user})


class ResendVerificationView(AccountView):
    """Mail the link again: to who is signed in, or to the address in the body if it is an account's."""

    serializer_class = serializers.ResendSerializer

    @extend_schema(responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        if is_of(self.realm, request):
            emails.send_verification(self.account(request))
            return Response({"message": "Verification email sent"})
        if not given.get("email"):
            raise Unauthorized
        emails.request_verification(self.named_realm(given), given["email"])
        return Response({"message": "If the email exists and is not verified, a verification link has been sent"})


class RequestResetView(AccountView):
    """Mail a link to set a new password. The answer is the same whether there is such an account or not."""

    open_in_maintenance = True
    serializer_class = serializers.RequestSerializer
    authentication_classes = ()

    @extend_schema(responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        emails.request_reset(self.named_realm(given), given["email"])
        return Response({"message": "If the email exists, a password reset link has been sent"})


class ResetPasswordView(AccountView):
    """The token of the mail and a new password; everything signed in before ends."""

    open_in_maintenance = True
    crew = "hashing"
    serializer_class = serializers.ResetPasswordSerializer
    authentication_classes = ()

    @extend_schema(responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        emails.reset(given["token"], given["new_password"], self.wanted_realm)
        return Response({"message": "Password reset successfully"})


class ChangeEmailView(AccountView):
    """Mail a link to a new address, which becomes the account's when the link is followed."""

    crew = "hashing"
    serializer_class = serializers.ChangeEmailSerializer
    permission_classes = (IsAccount,)

    @extend_schema(responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        emails.request_email_change(self.account(request), given["password"], given["new_email"])
        return Response({"message": "A confirmation link has been sent to the new address"})


class ConfirmEmailView(AccountView):
    """The token of the mail, for the new address; everything signed in before ends."""

    serializer_class = serializers.TokenSerializer
    authentication_classes = ()

    @extend_schema(responses={200: documents.VERIFIED})
    def post(self, request: Request) -> Response:
        account = emails.change_email(self.cleaned(request)["token"], self.wanted_realm)
        user = realms.of(account).to_json(account)
        return Response({"message": "Email changed successfully. Please sign in again.", "user": user})


class _AllSchema(AutoSchema):
    """DELETE of a whole list has an id of its own beside DELETE of one item."""

    def get_operation_id(self) -> str:
        return str(super().get_operation_id()).replace("_destroy", "_destroy_others")


class SignInsView(AccountView):
    """Where the account is signed in; DELETE ends all others."""

    schema = _AllSchema()

    permission_classes = (IsAccount,)
    serializer_class = serializers.NothingSerializer

    @extend_schema(request=None, responses={200: documents.SIGN_INS})
    def get(self, request: Request) -> Response:
        current = sign_in_id(self, request)
        rows = _open(self.account(request)).order_by("-last_used")
        return Response({"items": [_sign_in_json(row, current) for row in rows]})

    @extend_schema(request=None, responses={200: documents.REVOKED})
    def delete(self, request: Request) -> Response:
        others = _open(self.account(request)).exclude(pk=sign_in_id(self, request))
        return Response({"revoked": others.update(revoked=clock.now())})


class SignInView(AccountView):
    """End one sign-in with all its tokens."""

    permission_classes = (IsAccount,)
    serializer_class = serializers.NothingSerializer

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, sign_in_id: str) -> Response:
        try:
            wanted = uuid.UUID(sign_in_id)
        except ValueError as fault:
            raise NotFound from fault
        if not _open(self.account(request)).filter(pk=wanted).update(revoked=clock.now()):
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)


def _open(account: Account) -> Any:
    return SignIn.objects.of(account).filter(revoked=None, expires__gt=clock.now())


def _sign_in_json(row: SignIn, current: uuid.UUID | None) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "current": row.pk == current,
        "method": row.method,
        "address": row.address,
        "user_agent": row.user_agent,
        "created": clock.isoformat(row.created),
        "last_used": clock.isoformat(row.last_used),
        "expires": clock.isoformat(row.expires),
    }
