"""Accounts under ``/api/``, in envelopes."""

from __future__ import annotations

from accounts.api import enveloped, themes
from core.routes import route

urlpatterns = [
    route("register", enveloped.RegisterView.as_view()),
    route("login", enveloped.LoginView.as_view()),
    route("profile", enveloped.ProfileView.as_view()),
    route("profile/<user_id>", enveloped.AnyProfileView.as_view()),
    route("admin/users", enveloped.UsersView.as_view()),
    route("admin/invites", enveloped.InvitesView.as_view()),
    route("admin/invites/<invite_id>", enveloped.InviteView.as_view()),
    route("themes/user/<user_id>/preference", themes.EnvelopedPreferenceView.as_view()),
    route("cms/registration-mode", enveloped.RegistrationModeView.as_view()),
]
