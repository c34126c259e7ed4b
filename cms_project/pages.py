"""Where a browser lands that was given no path."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts import first_account
from settings_app import values
from settings_app.declared import API_DOCS


def start(request: HttpRequest) -> HttpResponse:
    """The set-up page while there is no account, then the API's documents, where they are for all."""
    return redirect("admin:index" if first_account.is_open() or not values.get(API_DOCS) else "docs")
