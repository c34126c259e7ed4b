"""Django's admin, for roles admin and superadmin: a set-up page while no account exists, and the second factor."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.cache import never_cache
from rest_framework.serializers import ValidationError

from accounts import first_account, second_step, user_changes, users
from accounts.models import User
from accounts.principals import principal_of
from accounts.sessions import SecondFactorNeeded
from accounts.shapes import RegisterSerializer
from core import ratelimit
from core.error_adapter import domain_error
from core.errors import DomainError
from settings_app import values
from settings_app.declared import APP_NAME


class SignInForm(AdminAuthenticationForm):
    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "Wrong e-mail address, username or password, or an account that may not enter here.",
    }


class OwnPasswordForm(AdminPasswordChangeForm):
    def save(self, commit: bool = True) -> User:
        changes = {
            "password": self.cleaned_data["new_password1"],
            "current_password": self.cleaned_data["old_password"],
        }
        self.user, _ = user_changes.update(principal_of(self.user), self.user.account_id, changes)
        return self.user


class CMSAdminSite(AdminSite):
    index_title = "Administration"
    login_form = SignInForm
    login_template = "accounts/sign_in.html"

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [path("login/code/", never_cache(second_step.page), name="second_step"), *super().get_urls()]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        name = values.get(APP_NAME)
        return {**super().each_context(request), "site_header": name, "site_title": name}

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_staff

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        guarded = super().admin_view(view, cacheable)

        def set_up_first(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated and first_account.is_open():
                return self.set_up(request)
            return guarded(request, *args, **kwargs)

        return set_up_first

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if first_account.is_open():
            return self.set_up(request)
        try:
            return super().login(request, {"project": values.get(APP_NAME), **(extra_context or {})})
        except SecondFactorNeeded as needed:
            return second_step.begin(request, needed.user)

    # See cms_project/handler.py and front.py.
    login.crew = "hashing"  # type: ignore[attr-defined]
    login.rate_limit = ratelimit.LOGIN_PAGE  # type: ignore[attr-defined]

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's page, with a form that goes the way of all changes."""
        request.current_app = self.name
        return PasswordChangeView.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )(request)

    password_change.crew = "hashing"  # type: ignore[attr-defined]

    def set_up(self, request: HttpRequest) -> HttpResponse:
        """One form that makes the superadmin and signs them in."""
        error: DomainError | None = None
        if request.method == "POST":
            try:
                self._make_first(request)
                return HttpResponseRedirect(reverse("admin:index"))
            except (DomainError, ValidationError) as fault:
                error = domain_error(fault)
        context = {
            "project": values.get(APP_NAME),
            "needs_token": settings.PRODUCTION,
            "error": error,
            "email": request.POST.get("email", ""),
        }
        return render(request, "accounts/set_up.html", context, status=error.status if error else 200)

    def _make_first(self, request: HttpRequest) -> None:
        form = {name: request.POST.get(name, "") for name in ("email", "password", "password_confirm")}
        form["setup_token"] = request.POST.get("setup_token", "")
        serializer = RegisterSerializer(data=form)
        serializer.is_valid(raise_exception=True)
        user = users.register_first(**serializer.validated_data)
        auth.login(request, user)
