"""The pages that links in mails lead to: verify, reset the password, change the address, take up an invitation.

GET shows what would happen and uses nothing up, for mail scanners follow links; POST
does it. The token is the right to do it, so there is no session and no CSRF token:
nobody can make a browser send a token that they don't have. Tokens leave by no
``Referer``, no cache and no form's address, and the access log has no queries.
"""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar, NamedTuple

from django.core.exceptions import ValidationError as InvalidAddress
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers

from accounts import declared, emails, first_account, invites, one_time, realms
from accounts.models.owned import Account
from accounts.one_time import Purpose, Use
from accounts.principals import ANONYMOUS, STAFF_COLLECTION
from accounts.realms import Realm
from accounts.shapes import RegisterSerializer
from core import ratelimit
from core.addresses import email_address
from core.errors import BadRequest, DomainError, NotFound
from core.routes import route
from settings_app import values
from settings_app.declared import SITE_NAME

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
DIFFERENT = "The two passwords differ."

logger = logging.getLogger("fastcms.mail")

Errors = Mapping[str, Sequence[str]]


class Way(NamedTuple):
    """Where a page leads to next."""

    to: str
    label: str


@method_decorator(csrf_exempt, name="dispatch")
class Page(View):
    """``title`` and ``template`` of what GET shows."""

    http_method_names = ["get", "head", "post"]
    title: ClassVar[str]
    template: ClassVar[str]

    def page(self, template: str, status: int = 200, **context: Any) -> HttpResponse:
        """HTML that takes nothing but the theme's colours from anywhere, and tells no other site where it is."""
        text = render_to_string(
            f"accounts/{template}.html", {"project": values.get(SITE_NAME), "title": self.title, **context}
        )
        hashes = [b64encode(sha256(style.encode()).digest()).decode() for style in _STYLE.findall(text)]
        styles = " ".join(f"'sha256-{digest}'" for digest in hashes)
        return HttpResponse(
            text,
            status=status,
            headers={
                "Cache-Control": "no-store",
                "Referrer-Policy": "same-origin",  # with none at all, its own forms would come from "null"
                "Content-Security-Policy": f"default-src 'none'; style-src 'self' {styles}; form-action 'self'; "
                "frame-ancestors 'none'; base-uri 'none'",
            },
        )

    def message(self, heading: str, *sentences: str, status: int = 200, then: Way | None = None) -> HttpResponse:
        return self.page("message", status, heading=heading, sentences=sentences, then=then)


class LinkPage(Page):
    """Of a link with a one-time token for ``purpose``.

    ``dead`` says what became of a link that is no good. ``again`` is how to have one
    sent: a sentence and a button, None where it can't be asked for here.
    """

    purpose: ClassVar[Purpose]
    dead: ClassVar[str]
    again: ClassVar[tuple[str, str] | None] = None

    def get(self, request: HttpRequest) -> HttpResponseBase:
        token, named = request.GET.get("token", ""), request.GET.get("collection", "")
        if self.again and not token:
            return self.ask(named)
        try:
            return self.show(one_time.peek(token, self.purpose), token)
        except BadRequest:
            return self.gone(named)

    def post(self, request: HttpRequest) -> HttpResponseBase:
        named = request.POST.get("collection", "")
        if self.again and "email" in request.POST:
            return self.ask_again(request.POST["email"].strip(), named)
        token = request.POST.get("token", "")
        try:
            return self.do(one_time.peek(token, self.purpose), token, request)
        except BadRequest:
            return self.gone(named)

    def show(self, use: Use, token: str, errors: Errors | None = None) -> HttpResponse:
        """What the link is about to do, and a button for it."""
        account = use.account
        return self.page(
            self.template,
            422 if errors else 200,
            token=token,
            collection=_name(account),
            account=account,
            data=use.data,
            rules=realms.of(account).password_rules(),
            errors=errors,
        )

    def do(self, use: Use, token: str, request: HttpRequest) -> HttpResponseBase:
        """Use the token; BadRequest where somebody was quicker."""
        raise NotImplementedError

    def gone(self, collection: str) -> HttpResponse:
        """The link is no good: what may have happened, and how to have a new one."""
        return self.ask(collection, 400, dead=self.dead)

    def ask(self, collection: str, status: int = 200, **context: Any) -> HttpResponse:
        """The form to have a link sent, if it can be asked for here."""
        return self.page("ask_for_link", status, collection=collection[:100], again=self.again, **context)

    def ask_again(self, email: str, collection: str) -> HttpResponse:
        try:
            email_address(email)
            self.mail_again(realms.get(collection) if collection else realms.staff(), email)
        except InvalidAddress:
            return self.ask(collection, 422, email=email[:254], errors={"email": ["Enter a valid e-mail address."]})
        except NotFound:  # no such collection has no accounts
            logger.info("a link was asked for in a collection that is not there")
        return self.message(
            "Check your mail",
            f"If a link can be sent to {email}, it is on its way. Only the newest one works.",
            "Nothing there after a few minutes? Look into the spam folder, and whether the address is right.",
        )

    def mail_again(self, realm: Realm, email: str) -> None:
        """Mail a new link, if there is such an account; nobody can tell."""
        raise NotImplementedError


class VerifyPage(LinkPage):
    title, template, purpose = "Verify your e-mail address", "verify", Purpose.VERIFY
    dead = "It may have been used already, it may be older than 24 hours, or there is a newer mail with another one."
    again = ("If your address is not verified yet, we mail you a link.", "Send a link")

    def do(self, use: Use, token: str, request: HttpRequest) -> HttpResponseBase:
        account = emails.verify(token)
        return self.message("Your address is verified", f"{account.email} is yours. Thank you.", then=_next(account))

    def mail_again(self, realm: Realm, email: str) -> None:
        emails.request_verification(realm, email)


class ResetPage(LinkPage):
    open_in_maintenance = True
    crew = "hashing"
    title, template, purpose = "Set a new password", "reset_password", Purpose.RESET
    dead = "It may have been used already, it may be older than an hour, or there is a newer mail with another one."
    again = ("Your password stays as it is until you follow the link that we mail you.", "Send a link")

    def do(self, use: Use, token: str, request: HttpRequest) -> HttpResponseBase:
        password, confirmed = request.POST.get("new_password", ""), request.POST.get("password_confirm", "")
        errors: dict[str, Sequence[str]] = {}
        if confirmed != password:
            errors["password_confirm"] = [DIFFERENT]
        try:
            realms.of(use.account).check_new_password(password, use.account)
        except serializers.ValidationError as fault:
            errors["new_password"] = [str(reason) for reason in fault.detail]
        if errors:
            return self.show(use, token, errors)
        account = emails.reset(token, password)
        return self.message(
            "Your new password is set",
            f"Sign in as {account.email} with it. Everything that was signed in before has been signed out.",
            then=_next(account),
        )

    def mail_again(self, realm: Realm, email: str) -> None:
        emails.request_reset(realm, email)


class ChangeEmailPage(LinkPage):
    title, template, purpose = "Change your e-mail address", "change_email", Purpose.CHANGE_EMAIL
    dead = (
        "It may have been used already, it may be older than an hour, there is a newer mail with another one, "
        "or the new address belongs to another account by now."
    )

    def do(self, use: Use, token: str, request: HttpRequest) -> HttpResponseBase:
        account = emails.change_email(token)
        return self.message(
            "Your address is changed",
            f"From now on you sign in as {account.email}. Everything that was signed in before has been signed out.",
            then=_next(account),
        )


class RegisterPage(Page):
    """Make an account of ``users``: where a mailed invitation leads to."""

    crew = "hashing"
    rate_limit = ratelimit.REGISTER
    title, template = "Make your account", "register"
    fields: ClassVar = ("email", "name", "password", "password_confirm", "invite_code")

    def get(self, request: HttpRequest) -> HttpResponseBase:
        if first_account.is_open():
            return redirect("admin:index")
        mode, code = invites.mode(), request.GET.get("invite", "")
        if mode == declared.CLOSED:
            return self.message("No new accounts", invites.REGISTRATION_CLOSED, status=403)
        invite = invites.standing(code) if code else None
        if code and invite is None:
            return self.no_invitation(mode)
        return self.form({"invite_code": code, "email": invite.email if invite else ""})

    def post(self, request: HttpRequest) -> HttpResponseBase:
        given = {name: request.POST.get(name, "") for name in self.fields}
        wanted = {name: text for name, text in given.items() if text and name != "password_confirm"}
        serializer = RegisterSerializer(data=wanted)
        errors: dict[str, Any] = {} if serializer.is_valid() else dict(serializer.errors)
        if given["password_confirm"] != given["password"]:
            errors["password_confirm"] = [DIFFERENT]
        if errors:
            return self.form(given, errors)
        try:
            account = realms.staff().register(ANONYMOUS, wanted)
        except DomainError as fault:
            return self.form(given, fault.fields or {"": [fault.message]}, fault.status)
        return self.message(
            f"Welcome to {values.get(SITE_NAME)}",
            f"Your account {account.email} is made.",
            "To verify that the address is yours, follow the link in the mail that we have just sent.",
            then=_next(account),
        )

    def form(self, given: Mapping[str, str], errors: Errors | None = None, status: int = 422) -> HttpResponse:
        code = given["invite_code"]
        return self.page(
            self.template,
            status if errors else 200,
            given=given,
            invite=invites.standing(code) if code else None,
            asks_for_code=invites.mode() == declared.INVITE_ONLY,
            rules=realms.staff().password_rules(),
            errors=errors or {},
            other_errors=[text for name, texts in (errors or {}).items() if name not in self.fields for text in texts],
        )

    def no_invitation(self, mode: str) -> HttpResponse:
        elsewhere = Way("/register", "Make an account without it") if mode == declared.OPEN else None
        return self.message(
            "This invitation is no longer open",
            "It may have been used already, it may have expired, or the link is not complete.",
            "If you have made your account with it, just sign in. If not, ask whoever invited you for a new one.",
            status=400,
            then=elsewhere,
        )


def _name(account: Account) -> str:
    """Of the auth collection that the account belongs to; empty for ``users``."""
    realm = realms.of(account)
    return "" if realm.key == STAFF_COLLECTION else realm.name


def _next(account: Account) -> Way | None:
    """Where to go from here. Of all who sign in, we have a page for administrators only."""
    if realms.of(account).principal(account).is_admin:
        return Way(reverse("admin:index"), "Go to the administration")
    return None


urlpatterns = [
    route("verify", VerifyPage.as_view()),
    route("reset-password", ResetPage.as_view()),
    route("change-email", ChangeEmailPage.as_view()),
    route("register", RegisterPage.as_view()),
]
