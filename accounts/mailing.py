"""Mails: a row says that one is due, a task makes and sends it.

The row is written with what the mail is about, in one transaction, so a mail is
neither lost nor sent for what was rolled back. What a mail carries that nobody else
may know (a link, a code) is made when it is sent: no row, no task and no log holds
it. Whoever asks for a mail learns nothing of how that went.

A mail that fails is tried again by a schedule, unless it can never be taken
(``core.mail.Failure``). When it is the server that fails, the round ends: the next
one asks with another mail, and none waits behind a hundred that time out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import make_msgid, parseaddr
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import models, transaction
from django.template.loader import render_to_string

from accounts import mail_server, realms
from accounts.models import Mail
from accounts.models.owned import Account
from core import background, clock
from core.errors import NotFound
from core.mail import Failure
from settings_app import values
from settings_app.declared import SITE_NAME

logger = logging.getLogger("fastcms.mail")

TASK = "accounts.send_mails"
LEASE = timedelta(minutes=2)  # of who sends it; longer than the dozen steps of SMTP, each with EMAIL_TIMEOUT
RETRIES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240, 720, 1440))


@dataclass(frozen=True, slots=True)
class Draft:
    """One mail about to be sent: to whom, and for a template's context."""

    mail: Mail
    account: Account | None


# What a template needs; None where there is nothing to say any more.
Context = Callable[[Draft], Mapping[str, Any] | None]

_contexts: dict[str, Context] = {}


def template(name: str) -> Callable[[Context], Context]:
    """Registers what ``templates/emails/{name}.{subject.txt,txt,html}`` are filled with.

    Called when the mail is sent, at each attempt: it makes the secrets.
    """

    def keep(context: Context) -> Context:
        _contexts[name] = context
        return context

    return keep


def post(
    name: str, account: Account | None = None, *, to: str = "", realm: str = "", data: Mapping[str, Any] | None = None
) -> None:
    """Have a mail sent to the account, or to another address.

    Without either it costs the same and is dropped: so whoever waits for the answer
    can't tell whether there is an account.
    """
    if name not in _contexts:
        raise KeyError(name)
    Mail.objects.create(
        template=name,
        realm=account.realm_key if account else realm,
        account_id=account.account_id if account else "",
        to=to,
        data=dict(data or {}),
    )
    transaction.on_commit(lambda: background.wake(TASK))


def send_due() -> int:
    """Send what is due; answers how many mails were sent. Run by the task; several may run at once."""
    sent = 0
    while not background.is_ending() and (mail := _take()) is not None:
        try:
            message = _made(mail)
        except Exception as fault:  # noqa: BLE001 - a template may be anybody's, and others wait behind
            _failed(mail, fault, Failure.LATER)
            continue
        try:
            sent += message.send() if message else 0
        except Exception as fault:  # noqa: BLE001 - whatever a mail server or a library does
            failure = Failure.of(fault)
            _failed(mail, fault, failure)
            if failure is Failure.AWAY:
                break
        else:
            mail.delete()
    return sent


def _take() -> Mail | None:
    """The mail that has been due longest, leased to us."""
    now = clock.now()
    mail = Mail.objects.filter(due__lte=now).order_by("due", "pk").first()
    while mail is not None:
        if Mail.objects.filter(pk=mail.pk, due=mail.due).update(due=now + LEASE, attempts=models.F("attempts") + 1):
            mail.attempts += 1
            return mail
        mail = Mail.objects.filter(due__lte=now).order_by("due", "pk").first()
    return None


def _made(mail: Mail) -> EmailMultiAlternatives | None:
    """The mail as it goes out, with its secrets; None where there is nobody to write to, or nothing to say."""
    account = None
    if mail.account_id:
        try:
            account = realms.get(mail.realm).get(mail.account_id)
        except NotFound:  # with its collection
            return None
    address = mail.to or (account.email if account else "")
    if not address or (mail.account_id and account is None):
        return None
    context = _contexts[mail.template](Draft(mail, account))
    return None if context is None else compose(mail.template, address, context)


def compose(name: str, address: str, context: Mapping[str, Any]) -> EmailMultiAlternatives:
    """A mail in text and HTML from ``templates/emails/``, to leave as the settings say now."""
    full = {"project": values.get(SITE_NAME), "base_url": settings.BASE_URL, **context}
    sender = mail_server.sender()
    message = EmailMultiAlternatives(
        " ".join(render_to_string(f"emails/{name}.subject.txt", full).split()),
        render_to_string(f"emails/{name}.txt", full),
        sender,
        to=[address],
        connection=mail_server.connection(),
        headers={
            "Message-ID": make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2]),
            "Auto-Submitted": "auto-generated",  # so nobody's holiday notice answers
        },
    )
    message.attach_alternative(render_to_string(f"emails/{name}.html", full), "text/html")
    return message


def _failed(mail: Mail, fault: Exception, failure: Failure) -> None:
    what = " ".join(f"{type(fault).__name__}: {fault}".split())[:500]
    if failure is Failure.NEVER or mail.attempts > len(RETRIES):
        logger.error("mail %s (%s) is given up after %d attempts: %s", mail.pk, mail.template, mail.attempts, what)
        mail.delete()
        return
    logger.warning("mail %s (%s) could not be sent: %s", mail.pk, mail.template, what)
    Mail.objects.filter(pk=mail.pk).update(due=clock.now() + RETRIES[mail.attempts - 1], error=what)
