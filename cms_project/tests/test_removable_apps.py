"""The apps that listen to the event log can be taken out of ``INSTALLED_APPS``; all else works as before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collections_app.tests.other_process import ROOT, environment

LISTENERS = ("webhooks", "realtime", "backups", "monitoring")
_WITHOUT = """
import json, sys
from cms_project import settings
settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name not in sys.argv[1:]]
import django
django.setup()
from django.core.management import call_command
from django.test import Client
import cms_project.asgi
from core import background
call_command("check")
client = Client(SERVER_NAME="localhost")
print(json.dumps({
    "statuses": [client.get(path).status_code for path in ("/api/v1/webhooks", "/health", "/api/v1/settings")],
    "paths": sorted(client.get("/api/schema").json()["paths"]),
    "tasks": sorted(background.tasks),
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("gone", [LISTENERS, ("webhooks",)])
def test_the_project_runs_without_them(gone: tuple[str, ...], schema_db: None, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WITHOUT, *gone]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["statuses"] == [404, 200, 401]
    assert "/api/v1/collections" in told["paths"] and "accounts.send_mails" in told["tasks"]
    assert not [path for path in told["paths"] if "webhooks" in path]
    assert not [name for name in told["tasks"] if name.startswith("webhooks")]
