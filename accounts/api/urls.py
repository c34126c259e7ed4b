"""Under ``/api/v1/auth/`` and, the same views again, ``/api/auth/``."""

from __future__ import annotations

from accounts.api import views
from core.routes import route

urlpatterns = [
    route("register", views.RegisterView.as_view()),
    route("login", views.LoginView.as_view()),
    route("login/json", views.LoginView.as_view()),
    route("refresh", views.RefreshView.as_view()),
    route("logout", views.LogoutView.as_view()),
    route("me", views.MeView.as_view()),
    route("change-password", views.ChangePasswordView.as_view()),
]

users_urlpatterns = [route("me", views.MeView.as_view())]
