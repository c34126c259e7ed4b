"""Accounts in Django's admin. Who may do what to whom: admins never touch a superadmin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.forms import ReadOnlyPasswordHashField
from django.contrib.auth.password_validation import validate_password
from django.http import HttpRequest

from accounts import two_factor
from accounts.models import Role, User
from accounts.user_changes import keep_a_superadmin
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


def _is_superadmin(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    form = AccountForm
    list_display = ("email", "username", "role", "verified", "is_active", "two_fa_enabled", "last_login_at", "created")
    list_filter = ("role", "verified", "is_active", "two_fa_enabled")
    search_fields = ("email", "username", "name")
    filter_horizontal = ("groups",)
    actions = ("turn_off_second_factor",)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        return () if _is_superadmin(request) else ("role",)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        own = obj is not None and obj.pk == request.user.pk
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj) and not own

    @admin.action(permissions=["change"], description="Turn off the second factor of selected accounts")
    def turn_off_second_factor(self, request: HttpRequest, queryset: Any) -> None:
        for user in queryset.filter(two_fa_enabled=True):
            if self.has_change_permission(request, user):
                two_factor.lift(user)
                self.message_user(request, f"The second factor of {user} is off.")

    def _may_touch(self, request: HttpRequest, obj: User | None) -> bool:
        return obj is None or obj.role != Role.SUPERADMIN or _is_superadmin(request)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if form.cleaned_data.get("new_password"):
            obj.set_password(form.cleaned_data["new_password"])
        keep_a_superadmin(obj)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        keep_a_superadmin(obj, goes=True)
        obj.soft_delete()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for user in queryset:
            if self.has_delete_permission(request, user):
                self.delete_model(request, user)
