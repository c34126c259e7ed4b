"""The examples of the documentation run as they stand.

Every ``curl`` line of a page is one request, in order, on a fresh database; the
number in its trailing comment is the status that it must answer.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import tokens

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ["api.md", "collections.md", "fields.md", "records.md"]
_BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def commands(text: str) -> list[tuple[list[str], int]]:
    found = []
    for block in _BLOCK.findall(text):
        for command in re.split(r"\n(?=curl )", block):
            if not command.startswith("curl "):
                continue
            line, _, comment = command.strip().rpartition("#")
            found.append((shlex.split(line), int(comment)))
    return found


def run(arguments: list[str], admin_token: str) -> Any:
    client, method, headers, body, url = APIClient(), "GET", {}, None, ""
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "-X":
            method = next(rest)
        elif argument == "-H":
            header = next(rest).replace("$ADMIN", f"Authorization: Bearer {admin_token}")
            name, _, value = header.partition(": ")
            headers[name] = value
        elif argument == "-d":
            body = next(rest)
        else:
            url = argument.replace("$API", "/api/v1")
    path, _, query = url.partition("?")
    return client.generic(
        method, path, body or "", content_type="application/json", headers=headers, QUERY_STRING=query
    )


@pytest.mark.engine
@pytest.mark.parametrize("page", PAGES)
def test_every_example_answers_what_the_page_says(page: str, schema_db: None, admin: Any) -> None:
    examples = commands((DOCS / page).read_text())
    assert examples
    token = tokens.issue(admin).access
    for arguments, status in examples:
        answer = run(arguments, token)
        assert answer.status_code == status, (arguments, answer.content.decode())
