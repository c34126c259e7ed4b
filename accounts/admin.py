"""Accounts in Django's admin: forms before :mod:`accounts.user_changes`, which has the rules.

Of one's own account nothing changes here that needs the current password.
"""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.forms import ReadOnlyPasswordHashField
from django.contrib.auth.password_validation import validate_password
from django.http import HttpRequest, HttpResponse

from accounts import two_factor, user_changes, users
from accounts.models import Role, User
from accounts.principals import Principal, principal_of
from core.addresses import email_address

# The tables of allauth hold secrets, and who may do what to whose is not theirs to say: they have no pages here.
for _config in apps.get_app_configs():
    for _model in _config.get_models() if _config.name.startswith("allauth.") else ():
        if admin.site.is_registered(_model):
            admin.site.unregister(_model)


class AccountForm(forms.ModelForm):
    password = ReadOnlyPasswordHashField()
    new_password = forms.CharField(
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Leave empty to keep the password. A new one ends every sign-in of the account.",
    )

    class Meta:
        model = User
        fields = (
            "email", "username", "name", "first_name", "last_name", "phone_number", "avatar_url", "bio",
            "public_name", "timezone", "language", "role", "verified", "is_active", "groups",
        )  # fmt: skip

    def clean_email(self) -> str:
        return email_address(self.cleaned_data["email"])

    def clean_new_password(self) -> str:
        password: str = self.cleaned_data["new_password"]
        if password:
            validate_password(password, self.instance)
        elif self.instance._state.adding:
            raise forms.ValidationError("A new account needs a password.")
        return password

    @property
    def changes(self) -> dict[str, Any]:
        """What somebody changed, as :func:`accounts.user_changes.update` takes it."""
        wanted = {name: self.cleaned_data[name] for name in self.changed_data}
        if "new_password" in wanted:
            wanted["password"] = wanted.pop("new_password")
        return wanted


class OwnAccountForm(AccountForm):
    new_password = None  # type: ignore[assignment]  # it has a page that asks for the current one


def _caller(request: HttpRequest) -> Principal:
    return principal_of(cast(User, request.user))


def _is_own(request: HttpRequest, obj: User | None) -> bool:
    return obj is not None and obj.pk == request.user.pk


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    form = AccountForm
    list_display = ("email", "username", "role", "verified", "is_active", "two_fa_enabled", "last_login_at", "created")
    list_filter = ("role", "verified", "is_active", "two_fa_enabled")
    search_fields = ("email", "username", "name")
    filter_horizontal = ("groups",)
    actions = ("turn_off_second_factor",)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Without Django's transaction around it: passwords are hashed before ours begin."""
        return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, extra_context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, extra_context)

    # See cms_project/handler.py.
    add_view.crew = change_view.crew = "hashing"  # type: ignore[attr-defined]

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = OwnAccountForm if _is_own(request, obj) else AccountForm
        return super().get_form(request, obj, change, **{"form": form, **kwargs})

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        role = () if _caller(request).is_superadmin else ("role",)
        return (*role, "email") if _is_own(request, obj) else role

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may = super().has_delete_permission(request, obj) and self._may_touch(request, obj)
        return may and not _is_own(request, obj)

    @admin.action(permissions=["change"], description="Turn off the second factor of selected accounts")
    def turn_off_second_factor(self, request: HttpRequest, queryset: Any) -> None:
        for user in queryset.filter(two_fa_enabled=True):
            if self.has_change_permission(request, user) and not _is_own(request, user):
                two_factor.lift(user)
                self.message_user(request, f"The second factor of {user} is off.")

    def _may_touch(self, request: HttpRequest, obj: User | None) -> bool:
        return obj is None or obj.role != Role.SUPERADMIN or _caller(request).is_superadmin

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            user_changes.update(_caller(request), obj.account_id, form.changes)
        else:
            obj.set_password(form.cleaned_data["new_password"])
            users.USERS.add(_caller(request), obj)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        user_changes.delete(_caller(request), obj.account_id)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for user in queryset:
            if self.has_delete_permission(request, user):
                self.delete_model(request, user)
