"""The examples of the documentation run as they stand.

Every ``curl`` line of a page is one request, in order, on a fresh database; the
number in its trailing comment is the status that it must answer. ``$ACCESS_TOKEN``,
``$ID`` and the like are what the last answer with such a key held, ``$MAILED`` is the
token or code of the newest mail.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from rest_framework.test import APIClient

from accounts import mailing, tokens

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ["api.md", "auth-collections.md", "collections.md", "envelopes.md", "fields.md", "records.md", "settings.md"]
_BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
_NAME = re.compile(r"\$([A-Z_]+)")
_KEPT = ("access_token", "refresh_token", "token", "challenge", "code", "id")
_MAILED = re.compile(r"\?token=([\w-]+)|^\s*(\d{6})\s*$", re.MULTILINE)


def commands(text: str) -> list[tuple[list[str], int]]:
    found = []
    for block in _BLOCK.findall(text):
        for command in re.split(r"\n(?=curl )", block):
            if not command.startswith("curl "):
                continue
            line, _, comment = command.strip().rpartition("#")
            found.append((shlex.split(line), int(comment)))
    return found


class Known(dict[str, str]):
    """What ``$NAME`` stands for."""

    def fill(self, text: str) -> str:
        return _NAME.sub(lambda found: self._of(found[1]), text)

    def _of(self, name: str) -> str:
        if name != "MAILED":
            return self[name]
        mailing.send_due()
        found = _MAILED.search(str(mail.outbox[-1].body))
        assert found, mail.outbox[-1].body
        return found[1] or found[2]

    def learn(self, answer: Any) -> None:
        if answer.status_code >= 300 or "json" not in answer.get("Content-Type", ""):
            return
        body = answer.json()
        if not isinstance(body, dict):
            return
        for part in (body, body.get("user"), body.get("data")):
            if isinstance(part, dict):
                self.update({key.upper(): part[key] for key in _KEPT if key in part})


def run(arguments: list[str]) -> Any:
    client, method, headers, body, url = APIClient(), "GET", {}, None, ""
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "-X":
            method = next(rest)
        elif argument == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif argument == "-d":
            body = next(rest)
        else:
            url = argument
    path, _, query = url.partition("?")
    return client.generic(
        method, path, body or "", content_type="application/json", headers=headers, QUERY_STRING=query
    )


@pytest.mark.engine
@pytest.mark.parametrize("page", PAGES)
def test_every_example_answers_what_the_page_says(page: str, schema_db: None, admin: Any) -> None:
    examples = commands((DOCS / page).read_text())
    assert examples
    known = Known(API="/api/v1", ADMIN=f"Authorization: Bearer {tokens.issue(admin).access}")
    for arguments, status in examples:
        answer = run([known.fill(argument) for argument in arguments])
        known.learn(answer)
        assert answer.status_code == status, (arguments, answer.content.decode())
