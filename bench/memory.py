"""Memory of ``manage.py serve`` after a load of reads and writes, its documents and its browsable pages.

python -m bench.memory
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

from bench import common, servers
from bench.common import Row
from bench.servers import Server

REQUESTS = common.scaled(4000)
CLIENTS = 8
JSON = "application/json"
RECORDS = common.scaled(100_000)


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
        body = json.dumps(shop.sent_product()).encode()
        requests = [
            ("GET", records, None, JSON),
            ("GET", f"{records}?sort=-price&filter=active%20%3D%20true&page=20", None, JSON),
            ("GET", f"{records}?per_page=200&sort=title", None, JSON),
            ("POST", records, body, JSON),
        ]
        # What is asked for now and then, and brings much of its own into memory.
        rarely = [("GET", "/api/schema", None, JSON), ("GET", records, None, "text/html")]
        port = servers.free_port()
        command = [sys.executable, "manage.py", "serve", "--port", str(port)]
        server = Server(command, port, folder, "/health", common.environment(folder), cores=servers.CORES)
        server.start()
        try:
            idle = _rss(server.pid)

            def send(number: int) -> None:
                wanted, turn = (rarely, number // 100) if number % 100 == 0 else (requests, number)
                method, path, sent, accept = wanted[turn % len(wanted)]
                headers = {"Authorization": f"Bearer {token}", "Content-Type": JSON, "Accept": accept}
                url = f"http://127.0.0.1:{port}{path}"
                with urlopen(Request(url, sent, headers, method=method), timeout=30) as answer:
                    answer.read()

            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(send, range(REQUESTS)))
            loaded, whole = _rss(server.pid), _whole(server.pid)
        finally:
            server.stop()
    return [
        Row("RSS of serve, before the first request", idle, "MB"),
        Row(f"RSS of serve, after {REQUESTS:,} requests of {CLIENTS} clients", loaded, "MB", 130),
        Row("  all processes of it, what they share counted once", whole, "MB"),
    ]


def _rss(pid: int) -> float:
    """Resident memory of the process that answers requests, which is the largest."""
    return max(common.rss_mb(one) for one in servers.family(pid))


def _whole(pid: int) -> float:
    """What all processes hold together; memory that they share counts once (PSS)."""
    return sum(common.memory_mb(one, "smaps_rollup", "Pss") for one in servers.family(pid))


if __name__ == "__main__":
    common.run(main)
