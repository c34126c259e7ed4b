"""The second step of signing in to the admin: a page that asks for the code.

What waits for it stands in the session of the browser that gave the password, and
nowhere else can it be answered.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import auth, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import realms, two_factor
from accounts.models import Challenge, User
from core import clock
from core.errors import DomainError, RateLimited
from settings_app import values
from settings_app.declared import APP_NAME

_PENDING = "second_step"  # in the session: {challenge, by_mail, next}
OVER = "This took too long, or too many tries. Please sign in again."


def begin(request: HttpRequest, user: User) -> HttpResponse:
    """Ask for the code of an account whose password was right."""
    try:
        asked = two_factor.challenge(user, two_factor.BROWSER)
    except RateLimited as fault:
        messages.error(request, fault.message)
        return _sign_in_again(_next(request))
    request.session[_PENDING] = {"challenge": asked.id, "by_mail": asked.by_mail, "next": _next(request)}
    return HttpResponseRedirect(reverse("admin:second_step"))


def page(request: HttpRequest) -> HttpResponse:
    """The form, and what it does: check a code, or mail another one."""
    pending: dict[str, Any] | None = request.session.get(_PENDING)
    found = two_factor.waiting(pending["challenge"]) if pending else None
    if pending is None or found is None:
        return _over(request)
    error: DomainError | None = None
    if request.method == "POST":
        try:
            if "resend" in request.POST:
                two_factor.resend(realms.staff(), challenge_id=pending["challenge"])
                messages.success(request, "A new code is on its way. The one before has ended.")
                return HttpResponseRedirect(reverse("admin:second_step"))
            return _enter(request, pending)
        except DomainError as fault:
            error = fault
            found = two_factor.waiting(pending["challenge"])
        if found is None:
            return _over(request)
    return _form(request, pending, found, error)


def _enter(request: HttpRequest, pending: dict[str, Any]) -> HttpResponse:
    code = request.POST.get("code", "")[:50].replace(" ", "")
    user, _ = two_factor.answer(realms.staff(), code, challenge_id=pending["challenge"])
    assert isinstance(user, User)
    del request.session[_PENDING]
    user.second_factor_shown = True
    auth.login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return HttpResponseRedirect(pending["next"])


def _form(request: HttpRequest, pending: dict[str, Any], found: Challenge, error: DomainError | None) -> HttpResponse:
    account = realms.staff().get(found.account_id)
    pause = found.sent + two_factor.PAUSE - clock.now()
    context = {
        "project": values.get(APP_NAME),
        "by_mail": pending["by_mail"],
        "recovery": "recovery" in request.GET and not pending["by_mail"],
        "email": _hint(account.email) if account else "",
        "minutes": settings.TWO_FA_CODE_EXPIRE_MINUTES,
        "tries": two_factor.TRIES - found.attempts,
        "may_resend": found.resends < two_factor.RESENDS,
        "pause": max(0, round(pause.total_seconds())),
        "error": error,
    }
    return render(request, "accounts/second_step.html", context, status=error.status if error else 200)


def _over(request: HttpRequest) -> HttpResponse:
    pending = request.session.pop(_PENDING, None)
    if pending:
        messages.error(request, OVER)
    return _sign_in_again(pending["next"] if pending else reverse("admin:index"))


def _sign_in_again(following: str) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('admin:login')}?{urlencode({'next': following})}")


def _next(request: HttpRequest) -> str:
    """Where the browser was going, if that is a page of ours."""
    wanted = request.POST.get("next", request.GET.get("next", ""))
    good = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if good else reverse("admin:index")


def _hint(email: str) -> str:
    """``al•••@example.com``: enough to know which mailbox to look into."""
    name, _, domain = email.partition("@")
    return f"{name[:2]}•••@{domain}"
