"""``manage.py webhooks``: what webhooks there are, a test, what is to be sent again, what is due."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime

from core import clock
from core.errors import DomainError
from webhooks import selectors, sending, services
from webhooks.models import Delivery, Webhook

HELP = """\
See what webhooks there are, and have them told.

  manage.py webhooks list                          all webhooks, and how much waits for each
  manage.py webhooks list --collection posts       those of one collection
  manage.py webhooks test ID                       send a test, here and now, and tell what came of it
  manage.py webhooks replay ID --delivery 42       send the event of one delivery again
  manage.py webhooks replay ID --since 2026-01-15T10:00:00Z
                                                   send again all that happened since then
  manage.py webhooks deliver                       send what is due, here and now

What replay asks for is sent by the running server, by a Celery worker, or by deliver. Exit codes:
0 it is done; 1 there is no such webhook or delivery, or the test was not taken; 2 the command can't be read.
"""


class Command(BaseCommand):
    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list | test | replay | deliver")
        listing = actions.add_parser("list", help="all webhooks, and how much waits for each")
        listing.add_argument("--collection", metavar="NAME", help="those of one collection, by name or id")
        testing = actions.add_parser("test", help="send a test, here and now")
        testing.add_argument("id", help="of the webhook")
        replaying = actions.add_parser("replay", help="send something again")
        replaying.add_argument("id", help="of the webhook")
        which = replaying.add_mutually_exclusive_group(required=True)
        which.add_argument("--delivery", metavar="N", help="the event of this delivery")
        which.add_argument("--since", type=_moment, metavar="MOMENT", help="what happened from then on, ISO 8601, UTC")
        actions.add_parser("deliver", help="send what is due, here and now")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            match action:
                case "list":
                    self._list(options["collection"])
                case "test":
                    self._test(selectors.webhook(options["id"]))
                case "replay":
                    self._replay(selectors.webhook(options["id"]), options["delivery"], options["since"])
                case "deliver":
                    self._deliver()
        except DomainError as fault:
            raise CommandError(fault.message) from fault

    def _list(self, collection: str | None) -> None:
        found = selectors.webhooks(collection)
        if not found:
            self.stdout.write("There are no webhooks." if collection is None else "It has no webhooks.")
            return
        rows = [("ID", "COLLECTION", "EVENTS", "STATE", "WAITING", "FAILED", "URL")]
        counts = selectors.counts([webhook for webhook, _ in found])
        for webhook, name in found:
            of = counts.get(webhook.pk, {})
            waiting = of.get(Delivery.Status.PENDING, 0) + of.get(Delivery.Status.SENDING, 0)
            failed = of.get(Delivery.Status.FAILED, 0)
            rows.append(
                (
                    str(webhook.pk),
                    name,
                    ",".join(webhook.events),
                    _state(webhook),
                    str(waiting),
                    str(failed),
                    webhook.url,
                )
            )
        for line in _table(rows):
            self.stdout.write(line)

    def _test(self, webhook: Webhook) -> None:
        self.stdout.write(f"Sending a test to {webhook.url} …")
        self.stdout.flush()
        delivery = sending.send_test(webhook)
        answer = f"{delivery.response_status} " if delivery.response_status else ""
        took = f"after {delivery.duration_ms} ms" if delivery.duration_ms is not None else ""
        if delivery.status != Delivery.Status.DELIVERED:
            raise CommandError(" ".join(f"Not delivered: {answer}{delivery.error} {took}".split()))
        self.stdout.write(f"Delivered: {answer}{took}")

    def _deliver(self) -> None:
        delivered = sending.send_due()
        waiting = Delivery.objects.filter(next_attempt_at__isnull=False).count()
        self.stdout.write(f"{delivered} delivered, {waiting} still to be.")

    def _replay(self, webhook: Webhook, delivery: str | None, since: datetime | None) -> None:
        if since is not None:
            count = services.replay_since(webhook, since)
            self.stdout.write(f"{count} to be sent again, of what happened since {clock.isoformat(since)}.")
            return
        assert delivery is not None
        again = services.replay(selectors.delivery(webhook, delivery))
        self.stdout.write(f"To be sent again, as delivery {again.pk}.")


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ArgumentTypeError(f"{text!r} is no moment; write it as 2026-01-15T10:00:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _state(webhook: Webhook) -> str:
    return "active" if webhook.active else webhook.ended or "off"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns beside each other, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
