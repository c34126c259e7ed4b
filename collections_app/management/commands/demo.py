"""``manage.py demo``: real data to play with."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from tqdm import tqdm

from collections_app.demo import load
from collections_app.demo.load import Loaded, Plan, Progress
from collections_app.demo.source import SourceMissing
from core.errors import DomainError
from core.gate import kept_open

HELP = """\
Load real, public, untidy data (the package vega_datasets) into collections that relate to each other:
cities, airports, stations, temperatures, weather_days, makers, cars, stock_prices and trips, about
26,000 records with rules, hidden and unique fields, indexes, search, selects and relations.

Run it again and it adds what is missing and changes nothing else; kill it, and the next run completes
the work. It applies migrations and touches its own collections only. No network, no questions.

  manage.py demo                load what is missing
  manage.py demo --sample 100   only the first 100 records of each series of measurements
  manage.py demo --reset        drop the demo's collections with all their records, then load them afresh
"""


class Command(BaseCommand):
    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reset", action="store_true", help="drop the demo's own collections first")
        parser.add_argument(
            "--sample", type=_count, metavar="N", help="at most N records of each series of measurements"
        )

    @kept_open()
    def handle(self, *args: Any, reset: bool, sample: int | None, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        started = perf_counter()
        try:
            if reset:
                removed = load.remove()
                self.stdout.write(f"Removed: {', '.join(removed) or 'nothing, there was no demo'}.")
            plans = load.plan(sample)
            loaded = list(self._carry_out(plans))
        except SourceMissing as fault:
            raise CommandError(str(fault)) from fault
        except DomainError as fault:
            details = [f"{name}: {' '.join(texts)}" for name, texts in fault.fields.items()]
            raise CommandError(" ".join([fault.message, *details])) from fault
        self._sum_up(loaded, perf_counter() - started)
        self._say_what_is_next()

    def _carry_out(self, plans: list[Plan]) -> Iterator[Loaded]:
        with self._progress(sum(len(plan.missing) for plan in plans)) as progress:
            yield from load.carry_out(plans, progress)

    @contextmanager
    def _progress(self, total: int) -> Iterator[Progress]:
        """A bar on a terminal, a line now and then elsewhere."""
        if total and sys.stderr.isatty():
            with tqdm(total=total, unit=" records", leave=False, file=sys.stderr) as bar:
                yield bar.update
            return
        done = told = 0

        def tell(count: int) -> None:
            nonlocal done, told
            done += count
            if done - told >= 5000 or done == total:
                told = done
                self.stdout.write(f"  {done:,} of {total:,} records")
                self.stdout.flush()

        yield tell

    def _sum_up(self, loaded: Iterable[Loaded], seconds: float) -> None:
        loaded = list(loaded)
        width = max(len(item.collection.name) for item in loaded)
        self.stdout.write("")
        for item in loaded:
            self.stdout.write(
                f"  {item.collection.name:<{width}}  {item.added + item.there:>7,} records"
                f"  {f'+{item.added:,}' if item.added else '':>8}  {item.blueprint.about}"
            )
        added = sum(item.added for item in loaded)
        total = added + sum(item.there for item in loaded)
        self.stdout.write("")
        if added or any(item.made for item in loaded):
            self.stdout.write(f"Added {added:,} records in {seconds:.1f} s; the demo has {total:,}.")
        else:
            self.stdout.write(f"Everything was there already ({total:,} records). Nothing was changed.")
        for item in loaded:
            for what, counts in (("left out", item.notes.left_out), ("without a value", item.notes.missing)):
                if counts:
                    self.stdout.write(f"  {item.collection.name}, {what}: {_counted(counts)}")
        if not any(item.notes.left_out for item in loaded):
            self.stdout.write("  No row had to be left out.")

    def _say_what_is_next(self) -> None:
        api = f"{settings.BASE_URL}/api/v1"
        self.stdout.write(f"\nStart the server (manage.py serve), then try:\n{_curl_lines(api)}")
        self.stdout.write(
            f"\nIn the browser: {api}/collections/airports/records, {settings.BASE_URL}/docs"
            f" and {settings.BASE_URL}/admin"
        )


def _curl_lines(api: str) -> str:
    """Five requests that show what the API can do; the last two are for whoever is signed in."""
    records = f"{api}/collections"
    return f"""
  # airports with "lake" in their names in Alaska, through a relation, two fields each
  curl -sG {records}/airports/records -d sort=name -d fields=iata,name \\
    --data-urlencode 'filter=city.state = "AK" && name ~ "lake"'

  # full-text search, the strongest first, with the maker of each
  curl -sG {records}/cars/records -d search=toyota -d sort=-horsepower -d expand=maker -d per_page=3

  # a station with the airports around it, nearest first, and the towns of those
  curl -sG {records}/stations/records/station-seattle -d expand=airports.city

  # an account (the first of all is the superadmin), and its token
  TOKEN=$(curl -s {api}/auth/register -H 'Content-Type: application/json' \\
    -d '{{"email": "you@example.com", "username": "you", "password": "a long enough one"}}' \\
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')

  # the hottest hours of the year; without the token this is 401
  curl -sG {records}/temperatures/records -H "Authorization: Bearer $TOKEN" \\
    -d sort=-fahrenheit -d per_page=5 -d expand=station
"""


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} ({count:,})" for what, count in counts.most_common())


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)
