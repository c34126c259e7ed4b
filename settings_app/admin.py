"""All settings on one page of Django's admin, by category; saved together or not at all, by the rules of the API."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from core import json
from core.errors import BadRequest, ValidationFailed
from settings_app import registry, services, values
from settings_app.models import CmsSetting
from settings_app.registry import Setting
from settings_app.values import Entry

_WIDE = {"class": "vTextField"}
RESET = "reset:"  # before a key: the field that sets it back to its default


class SettingsForm(forms.Form):
    """A field for each declared setting, and one to set it back where somebody has set it."""

    def __init__(self, *args: Any, is_superadmin: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries = [entry for entry in values.entries() if entry.key in registry.known]
        for entry in self._entries:
            setting = registry.known[entry.key]
            locked = setting.guarded and not is_superadmin
            field = self.fields[entry.key] = _field(setting, entry)
            field.disabled, field.help_text = locked, setting.description
            if entry.updated_at is not None and not locked:
                self.fields[RESET + entry.key] = forms.BooleanField(required=False, label="Back to the default")

    def groups(self) -> Iterator[tuple[str, list[tuple[Entry, forms.BoundField, forms.BoundField | None]]]]:
        """Categories, and what is in each: a setting, its field, and that which sets it back."""
        for category, found in groupby(self._entries, key=lambda entry: entry.category):
            yield category, [(entry, self[entry.key], self._reset(entry)) for entry in found]

    def _reset(self, entry: Entry) -> forms.BoundField | None:
        return self[RESET + entry.key] if RESET + entry.key in self.fields else None

    def save(self, by: str) -> int:
        """How many settings were changed; ValidationFailed where one can't be, and then none is."""
        gone = {name.removeprefix(RESET) for name in self.changed_data if name.startswith(RESET)}
        changes = {
            name: self.cleaned_data[name]
            for name in self.changed_data
            if not name.startswith(RESET) and name not in gone
        }
        with transaction.atomic():
            if changes:
                services.put_several(changes, by=by)
            for key in sorted(gone):
                services.remove(key, by=by)
        return len(changes) + len(gone)


class JSONText(forms.CharField):
    widget = forms.Textarea(attrs={"rows": 3})

    def clean(self, value: Any) -> Any:
        try:
            return json.loads(super().clean(value).encode())
        except BadRequest as fault:
            raise forms.ValidationError(fault.message) from fault


def _field(setting: Setting, entry: Entry) -> forms.Field:
    if setting.secret:
        shown = services.MASK if entry.is_set else ""
        widget = forms.PasswordInput(render_value=True, attrs={"autocomplete": "new-password", **_WIDE})
        return forms.CharField(label=setting.key, required=False, strip=False, widget=widget, initial=shown)
    common: dict[str, Any] = {"label": setting.key, "initial": entry.value}
    if setting.type == "boolean":
        return forms.BooleanField(required=False, **common)
    if setting.choices:
        by_text = {str(choice): choice for choice in setting.choices}
        return forms.TypedChoiceField(
            choices=list(zip(by_text, by_text, strict=True)), coerce=by_text.__getitem__, **common
        )
    if setting.type in ("integer", "number"):
        kind: Any = forms.IntegerField if setting.type == "integer" else forms.FloatField
        found: forms.Field = kind(min_value=setting.least, max_value=setting.most, **common)
        return found
    if setting.type == "json":
        return JSONText(**{**common, "initial": services.text(entry.value)})
    return forms.CharField(required=False, max_length=setting.longest, widget=forms.TextInput(attrs=_WIDE), **common)


@admin.register(CmsSetting)
class SettingsAdmin(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: CmsSetting | None = None) -> bool:
        return False

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise PermissionDenied  # there is the one page, which shows no secrets

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise PermissionDenied

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        user: Any = request.user
        form = SettingsForm(request.POST or None, is_superadmin=user.is_superuser)
        if request.method == "POST" and form.is_valid():
            try:
                count = form.save(by=str(user.pk))
            except ValidationFailed as refused:
                for key, texts in refused.fields.items():
                    form.add_error(key if key in form.fields else None, list(texts))
            else:
                messages.success(request, f"{count} changed.")
                return HttpResponseRedirect(request.path)
        own = [entry for entry in values.entries() if entry.key not in registry.known]
        context = {
            **self.admin_site.each_context(request), "title": "Settings", "form": form, "own": own,
            "opts": self.opts, "mask": services.MASK, **(extra_context or {}),
        }  # fmt: skip
        status = 422 if form.errors else 200
        return TemplateResponse(request, "admin/settings.html", context, status=status)
