"""Register, log in, refresh, log out, who am I, change the password."""

from __future__ import annotations

from typing import Any

from django.contrib import auth
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import services, tokens
from accounts.api import documents, serializers
from accounts.authentication import principal
from accounts.models import User
from accounts.principals import STAFF_COLLECTION
from core.errors import Unauthorized


class IsAccount(BasePermission):
    """Signed in as an account of ``users``; a record of an auth collection is not one."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if principal(request).collection != STAFF_COLLECTION:
            raise Unauthorized
        return True


class AccountView(GenericAPIView[Any]):
    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Tokens and accounts are nobody else's: no cache on the way may keep them."""
        response["Cache-Control"] = "no-store"
        return super().finalize_response(request, response, *args, **kwargs)

    def cleaned(self, request: Request, **context: Any) -> dict[str, Any]:
        serializer = self.get_serializer_class()(data=request.data, context=context)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def account(self, request: Request) -> User:
        user = User.objects.filter(pk=principal(request).id).first()
        if user is None:
            raise Unauthorized
        return user


def signed_in(user: User, pair: tokens.TokenPair) -> dict[str, Any]:
    return {
        "access_token": pair.access,
        "refresh_token": pair.refresh,
        "token_type": "bearer",
        "expires_in": pair.expires_in,
        "user": serializers.user_json(user),
    }


class RegisterView(AccountView):
    """Make an account. The first one of an installation becomes superadmin."""

    serializer_class = serializers.RegisterSerializer

    @extend_schema(responses={201: documents.REGISTERED})
    def post(self, request: Request) -> Response:
        user = services.register(principal=principal(request), **self.cleaned(request))
        body = {**serializers.user_json(user), **signed_in(user, tokens.issue(user))}
        return Response(body, status=status.HTTP_201_CREATED)


class LoginView(AccountView):
    """E-mail or username and password for an access and a refresh token."""

    serializer_class = serializers.LoginSerializer
    authentication_classes = ()  # an old token in the header must not keep anybody from signing in

    @extend_schema(responses={200: documents.SIGNED_IN})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        return Response(signed_in(*services.log_in(given["identifier"], given["password"])))


class RefreshView(AccountView):
    """A refresh token for a new pair; each can be used once."""

    serializer_class = serializers.RefreshSerializer
    authentication_classes = ()

    @extend_schema(responses={200: documents.SIGNED_IN})
    def post(self, request: Request) -> Response:
        return Response(signed_in(*tokens.refresh(self.cleaned(request)["refresh_token"])))


class LogoutView(AccountView):
    """End the sign-in that the access token, or the refresh token in the body, belongs to."""

    serializer_class = serializers.LogoutSerializer

    @extend_schema(responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        raw = self.cleaned(request).get("refresh_token")
        if not raw and not request.user.is_authenticated:
            raise Unauthorized
        for token in filter(None, (raw, request.auth)):
            tokens.revoke(token)
        if request.user.is_authenticated and request.auth is None:
            auth.logout(request._request)
        return Response({"message": "Logged out successfully"})


class MeView(AccountView):
    """The account that is signed in."""

    permission_classes = (IsAccount,)

    @extend_schema(request=None, responses={200: documents.USER})
    def get(self, request: Request) -> Response:
        return Response(serializers.user_json(self.account(request)))


class ChangePasswordView(AccountView):
    """A new password ends every older token; the answer carries the new ones."""

    serializer_class = serializers.ChangePasswordSerializer
    permission_classes = (IsAccount,)

    @extend_schema(responses={200: documents.PASSWORD_CHANGED})
    def post(self, request: Request) -> Response:
        user = self.account(request)
        given = self.cleaned(request, user=user)
        services.change_password(user, given["current_password"], given["new_password"])
        body = {"message": "Password changed successfully", **signed_in(user, tokens.issue(user))}
        return Response(body)
