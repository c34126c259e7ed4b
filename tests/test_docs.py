"""The examples of the documentation run as they stand.

Every ``curl`` line of a page is one request, in order, on a fresh database; the
number in its trailing comment is the status that it must answer. ``$ACCESS_TOKEN``,
``$ID`` and the like are what the last answer with such a key held, ``$MAILED`` is the
token or code of the newest mail. ``cat > name <<'END'`` makes the file that ``-F file=@name`` sends.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts import mailing, tokens

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [
    "api.md",
    "auth-collections.md",
    "backups.md",
    "collections.md",
    "envelopes.md",
    "fields.md",
    "files.md",
    "health.md",
    "import-export.md",
    "logs.md",
    "realtime.md",
    "records.md",
    "schema-moves.md",
    "settings.md",
    "themes.md",
    "views.md",
    "webhooks.md",
]
_BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
_FILE = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"\$([A-Z_]+)")
_KEPT = ("access_token", "refresh_token", "token", "challenge", "code", "id", "name", "photo")
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
        if answer.streaming:
            answer.close()
            return
        if answer.status_code >= 300 or "json" not in answer.get("Content-Type", ""):
            return
        body = answer.json()
        if not isinstance(body, dict):
            return
        for part in (body, body.get("user"), body.get("data")):
            if isinstance(part, dict):
                self.update({key.upper(): part[key] for key in _KEPT if key in part})
        if isinstance(body.get("job"), dict):
            self["JOB"] = body["job"]["id"]


def run(arguments: list[str], files: dict[str, str]) -> Any:
    client, method, headers, body, form, url = APIClient(), "", {}, None, {}, ""
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "-X":
            method = next(rest)
        elif argument == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif argument == "-d":
            body = next(rest)
        elif argument == "-F":
            name, _, value = next(rest).partition("=")
            file = value.removeprefix("@")
            form[name] = SimpleUploadedFile(file, files[file].encode()) if file != value else value
        elif argument == "-o":
            next(rest)
        else:
            url = argument
    path, _, query = url.partition("?")
    if form:
        send = getattr(client, (method or "POST").lower())
        return send(path, form, format="multipart", headers=headers, QUERY_STRING=query)
    return client.generic(
        method or "GET", path, body or "", content_type="application/json", headers=headers, QUERY_STRING=query
    )


@pytest.mark.engine
@pytest.mark.parametrize("page", PAGES)
def test_every_example_answers_what_the_page_says(
    page: str, schema_db: None, admin: Any, make_user: Any, settings: Any, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = str(tmp_path)
    settings.BACKUP_DIR = tmp_path / "backups"
    here = {**settings.STORAGES["backups"], "OPTIONS": {"location": str(settings.BACKUP_DIR)}}
    settings.STORAGES = {**settings.STORAGES, "backups": here}
    text = (DOCS / page).read_text()
    examples, files = commands(text), dict(_FILE.findall(text))
    assert examples
    known = Known(API="/api/v1", ADMIN=f"Authorization: Bearer {tokens.issue(admin).access}")
    if "$SUPERADMIN" in text:
        superadmin = make_user("superadmin", role="superadmin")
        known["SUPERADMIN"] = f"Authorization: Bearer {tokens.issue(superadmin).access}"
    for arguments, status in examples:
        answer = run([known.fill(argument) for argument in arguments], files)
        known.learn(answer)
        assert answer.status_code == status, (arguments, answer.getvalue().decode())
