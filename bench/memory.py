"""Memory of ``manage.py serve`` after a load of reads and writes.

python -m bench.memory
"""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from bench import common
from bench.common import Row

REQUESTS = 4000
CLIENTS = 8
RECORDS = 100_000


def main() -> list[Row]:
    with common.start() as folder:
        import json

        from accounts import tokens
        from accounts.models import User
        from bench import shop

        shop.define()
        shop.fill(shop.NAME, shop.products(RECORDS))
        User.objects.create_user("first@example.com", "correct-horse-battery", username="first")
        user = User.objects.create_user("member@example.com", "correct-horse-battery", username="member")
        token = tokens.issue(user).access
        records = f"/api/v1/collections/{shop.NAME}/records"
        body = json.dumps(next(shop.products(1))).encode()
        requests = [
            ("GET", records, None),
            ("GET", f"{records}?sort=-price&filter=active%20%3D%20true&page=20", None),
            ("GET", f"{records}?per_page=200&sort=title", None),
            ("POST", records, body),
        ]
        port = _free_port()
        server = common.spawn("serve", "--port", str(port), folder=folder)
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", server.pid)
            idle = _tree_mb(server.pid)

            def send(number: int) -> None:
                method, path, sent = requests[number % len(requests)]
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                url = f"http://127.0.0.1:{port}{path}"
                with urlopen(Request(url, sent, headers, method=method), timeout=30) as answer:
                    answer.read()

            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(send, range(REQUESTS)))
            loaded = _tree_mb(server.pid)
        finally:
            server.terminate()
            server.wait(30)
    return [
        Row("serve, before the first request", idle, "MB"),
        Row(f"serve, after {REQUESTS:,} requests of {CLIENTS} clients", loaded, "MB", 130),
    ]


def _tree_mb(pid: int) -> float:
    """What a process and its children hold: memory that they share counts once (PSS)."""
    total = 0.0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) / 1024
        for thread in os.listdir(f"/proc/{one}/task"):
            waiting += map(int, Path(f"/proc/{one}/task/{thread}/children").read_text().split())
    return total


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, pid: int) -> None:
    for _ in range(200):
        try:
            with urlopen(url, timeout=1):  # noqa: S310 - our own address
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the server (process {pid}) did not answer within 20 s")


if __name__ == "__main__":
    common.run(main)
