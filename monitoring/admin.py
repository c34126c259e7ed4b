"""The log of requests in Django's admin, to be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from monitoring import selectors
from monitoring.models import LoggedRequest


class StatusFilter(admin.SimpleListFilter):
    title, parameter_name = "status", "status_class"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(f"{first}xx", f"{first}xx") for first in range(2, 6)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LoggedRequest]) -> QuerySet[LoggedRequest]:
        wanted = self.value()
        known = wanted in dict(self.lookup_choices)
        return queryset.filter(pk__in=selectors.requests(status=wanted).values("pk")) if known else queryset


@admin.register(LoggedRequest)
class LoggedRequestAdmin(admin.ModelAdmin):
    list_display = ("at", "method", "path", "status", "ms", "who", "address", "request_id")
    list_filter = (StatusFilter, "method", "at")
    search_fields = ("path", "who", "address", "request_id")
    search_help_text = "Path, account, address or id of a request"
    show_full_result_count = False
    list_per_page = 100
    list_display_links = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: LoggedRequest | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: LoggedRequest | None = None) -> bool:
        return False
