"""The second factor: signing in with it, turning it on and off, codes by mail and of an app."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import mailing, sessions, sign_in, two_factor
from accounts.api import documents, serializers
from accounts.api.base import AccountView, IsAccount, client_of, outcome_json, sign_in_id
from accounts.models import User
from accounts.models.owned import Account


class VerifyTwoFactorView(AccountView):
    """The challenge of a login and its code, for tokens."""

    open_in_maintenance = True
    serializer_class = serializers.TwoFactorSerializer
    authentication_classes = ()

    @extend_schema(responses={200: documents.SIGNED_IN})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        done = sign_in.complete(
            self.realm,
            given["code"],
            client_of(request),
            challenge=given.get("challenge", ""),
            account_id=given.get("user_id", ""),
        )
        return Response(outcome_json(done))


class ResendTwoFactorView(AccountView):
    """Another code by mail for the challenge of a login: three at most, half a minute apart. The one before ends."""

    open_in_maintenance = True
    serializer_class = serializers.ChallengeSerializer
    authentication_classes = ()

    @extend_schema(responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        two_factor.resend(self.realm, challenge=self.cleaned(request)["challenge"])
        return Response({"message": "2FA code sent to your email"})


class TwoFactorView(AccountView):
    """Whether sign-ins of the account need a code, and where it comes from."""

    serializer_class = serializers.NothingSerializer
    permission_classes = (IsAccount,)

    @extend_schema(request=None, responses={200: documents.TWO_FACTOR})
    def get(self, request: Request) -> Response:
        status = two_factor.status(self.account(request))
        return Response(
            {"enabled": status.enabled, "method": status.method, "recovery_codes_left": status.recovery_codes_left}
        )


class EnableTwoFactorView(AccountView):
    """From now on a login needs a code by mail. Other sign-ins of the account end."""

    serializer_class = serializers.NothingSerializer
    permission_classes = (IsAccount,)

    @extend_schema(request=None, responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        self.cleaned(request)
        account = self.account(request)
        two_factor.enable(account, keep=sign_in_id(self, request))
        _keep_session(request, account)
        return Response({"message": "2FA has been enabled successfully"})


class DisableTwoFactorView(AccountView):
    """No second factor any more, by mail or by app; asks for the password."""

    crew = "hashing"
    serializer_class = serializers.PasswordSerializer
    permission_classes = (IsAccount,)

    @extend_schema(responses={200: documents.MESSAGE})
    def post(self, request: Request) -> Response:
        account = self.account(request)
        two_factor.disable(account, self.cleaned(request)["password"])
        _keep_session(request, account)
        return Response({"message": "2FA has been disabled successfully"})


class TestTwoFactorView(AccountView):
    """Mail a code that opens nothing, to see that it arrives."""

    serializer_class = serializers.NothingSerializer
    permission_classes = (IsAccount,)

    @extend_schema(request=None, responses={200: documents.CODE_SENT})
    def post(self, request: Request) -> Response:
        self.cleaned(request)
        account = self.account(request)
        mailing.post("two_fa_test", account)
        return Response({"message": "Test 2FA code sent to your email", "email": account.email})


class AppView(AccountView):
    """A secret for an authenticator app, as text, link and QR code. Nothing changes until its first code comes."""

    crew = "hashing"
    serializer_class = serializers.PasswordSerializer
    permission_classes = (IsAccount,)

    @extend_schema(responses={200: documents.APP})
    def post(self, request: Request) -> Response:
        told = two_factor.begin_app(self.account(request), self.cleaned(request)["password"])
        return Response({"secret": told.secret, "otpauth_url": told.otpauth_url, "qr": told.qr})


class ConfirmAppView(AccountView):
    """The app's first code: from now on a login needs one. Other sign-ins end; the recovery codes are shown once."""

    serializer_class = serializers.CodeSerializer
    permission_classes = (IsAccount,)

    @extend_schema(responses={200: documents.RECOVERY_CODES})
    def post(self, request: Request) -> Response:
        account = self.account(request)
        codes = two_factor.confirm_app(account, self.cleaned(request)["code"], keep=sign_in_id(self, request))
        _keep_session(request, account)
        return Response({"message": "2FA has been enabled successfully", "recovery_codes": codes})


class RecoveryCodesView(AccountView):
    """New recovery codes, shown once; the old ones end. Asks for the password."""

    crew = "hashing"
    serializer_class = serializers.PasswordSerializer
    permission_classes = (IsAccount,)

    @extend_schema(responses={200: documents.RECOVERY_CODES})
    def post(self, request: Request) -> Response:
        codes = two_factor.renew_recovery_codes(self.account(request), self.cleaned(request)["password"])
        return Response({"message": "The earlier recovery codes have ended", "recovery_codes": codes})


def _keep_session(request: Request, account: Account) -> None:
    """Sessions end when the second factor is turned on or off; not the one that does it."""
    if request.auth is None and isinstance(account, User):
        sessions.keep(request._request, account)
