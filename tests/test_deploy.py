"""What deploy/ and the Dockerfile name is there: variables, commands, files, services."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
# Read by others than the settings: the image of PostgreSQL, pip, Python, and what finds the file of settings.
OTHERS = {"POSTGRES_PASSWORD", "POSTGRES_SUPERUSER_PASSWORD", "PATH", "PYTHONUNBUFFERED", "ENV_FILE"} | {
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "PIP_NO_CACHE_DIR",
}


def text(name: str) -> str:
    return (ROOT / name).read_text()


def known() -> set[str]:
    rows = [line for line in text("docs/running.md").splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row)} | OTHERS


def compose() -> Any:
    return yaml.safe_load(text("deploy/compose.yaml"))


def test_every_variable_is_one_that_the_product_knows() -> None:
    used = set(re.findall(r"^([A-Z][A-Z0-9_]*)=", text("deploy/env.example"), re.MULTILINE))
    used |= set(compose()["x-product"]["environment"])
    for line in re.findall(
        r"^(?:ENV|Environment=)(.*)$", text("Dockerfile") + text("deploy/fastcms.service"), re.MULTILINE
    ):
        used |= set(re.findall(r"([A-Z][A-Z0-9_]*)=", line))
    assert {"SECRET_KEY", "DB_HOST", "TRUSTED_PROXIES", "DATA_DIR"} <= used
    assert used - known() == set()


def test_the_example_holds_no_secret() -> None:
    for line in text("deploy/env.example").splitlines():
        if re.match(r"\w*(KEY|PASSWORD|TOKEN)=", line):
            assert line.endswith("="), line


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/fastcms.service", "docs/deploy.md"])
def test_every_command_is_there(name: str) -> None:
    found = set(re.findall(r'manage\.py(?:", "| )([a-z_]+)', text(name)))
    assert found and found <= set(get_commands()), found


def test_the_image_gets_all_that_the_product_is_made_of() -> None:
    kept = set(re.findall(r"^!(\S+)$", text(".dockerignore"), re.MULTILINE))
    assert all((ROOT / name).exists() for name in kept)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages <= kept
    needed = re.findall(r"-r (requirements\S*\.txt)", text("Dockerfile"))
    assert needed and set(needed) <= kept and "requirements-dev.txt" not in kept
    assert re.search(r"^USER fastcms$", text("Dockerfile"), re.MULTILINE)


def test_services_wait_for_those_that_there_are() -> None:
    services = compose()["services"]
    assert {"web1", "web2", "worker", "beat", "postgres", "redis", "nginx"} == set(services)
    assert all(set(one.get("depends_on", {})) <= set(services) for one in services.values())
    for one in services.values():
        for volume in one.get("volumes", []):
            source = volume.partition(":")[0]
            is_made = source.startswith("/") or source in compose()["volumes"] or source == "./certificates"
            assert is_made or (DEPLOY / source).exists(), volume


def test_the_proxy_that_is_trusted_is_the_one_in_front() -> None:
    services, product = compose()["services"], compose()["x-product"]
    assert services["nginx"]["networks"]["inside"]["ipv4_address"] == product["environment"]["TRUSTED_PROXIES"]
    hosts = dict(line.split(":") for line in services["nginx"]["extra_hosts"])
    assert hosts == {name: services[name]["networks"]["inside"]["ipv4_address"] for name in ("web1", "web2")}
    assert set(re.findall(r"server (web\d):8000", text("deploy/nginx.conf"))) == set(hosts)


def test_the_database_and_its_programs_are_of_one_version() -> None:
    server = compose()["services"]["postgres"]["image"].partition(":")[2]
    assert f"postgresql-client-{server} " in text("Dockerfile")
