"""What happens to accounts: under ``/api/v1/auth/``, ``/api/auth/`` and ``/api/v1/collections/{c}/auth/``."""

from __future__ import annotations

from accounts.api import api_keys, two_factor, views
from accounts.oauth import urls as oauth_urls
from core.routes import route

urlpatterns = [
    route("register", views.RegisterView.as_view()),
    route("login", views.LoginView.as_view()),
    route("login/json", views.LoginView.as_view()),
    route("verify-2fa", two_factor.VerifyTwoFactorView.as_view()),
    route("refresh", views.RefreshView.as_view()),
    route("logout", views.LogoutView.as_view()),
    route("me", views.MeView.as_view()),
    route("change-password", views.ChangePasswordView.as_view()),
    route("verify-email", views.VerifyEmailView.as_view()),
    route("resend-verification", views.ResendVerificationView.as_view()),
    route("send-verification", views.ResendVerificationView.as_view()),
    route("request-password-reset", views.RequestResetView.as_view()),
    route("forgot-password", views.RequestResetView.as_view()),
    route("reset-password", views.ResetPasswordView.as_view()),
    route("change-email", views.ChangeEmailView.as_view()),
    route("confirm-email-change", views.ConfirmEmailView.as_view()),
    route("enable-2fa", two_factor.EnableTwoFactorView.as_view()),
    route("disable-2fa", two_factor.DisableTwoFactorView.as_view()),
    route("resend-2fa", two_factor.ResendTwoFactorView.as_view()),
    route("test-2fa", two_factor.TestTwoFactorView.as_view()),
    route("2fa", two_factor.TwoFactorView.as_view()),
    route("2fa/totp", two_factor.AppView.as_view()),
    route("2fa/totp/confirm", two_factor.ConfirmAppView.as_view()),
    route("2fa/recovery-codes", two_factor.RecoveryCodesView.as_view()),
    route("sessions", views.SignInsView.as_view()),
    route("sessions/<sign_in_id>", views.SignInView.as_view()),
    *oauth_urls.account_urlpatterns,
    route("api-keys", api_keys.ApiKeysView.as_view()),
    route("api-keys/<key_id>", api_keys.ApiKeyView.as_view()),
]
