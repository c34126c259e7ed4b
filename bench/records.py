"""CPU per request on 100,000 records: through Django and DRF, and the operations by themselves.

python -m bench.records
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from bench import common
from bench.common import Row

COUNT = common.scaled(100_000)


def main() -> list[Row]:
    with common.start():
        return _measure()


def _measure() -> list[Row]:
    from django.core.handlers.wsgi import WSGIHandler

    from accounts import tokens
    from accounts.models import User
    from accounts.principals import principal_of
    from bench import shop
    from collections_app.records import operations
    from collections_app.records.operations import Call

    shop.define()
    shop.fill(shop.NAME, shop.products(COUNT))
    User.objects.create_user("first@example.com", "correct-horse-battery", username="first")
    user = User.objects.create_user("member@example.com", "correct-horse-battery", username="member", verified=True)
    principal = principal_of(user)
    token = tokens.issue(user).access
    path = f"/api/v1/collections/{shop.NAME}/records"
    chosen = urlencode({"filter": "active = true && price >= 100", "sort": "-price"}, quote_via=quote)
    fresh = shop.sent_product()
    body = json.dumps(fresh).encode()
    middle = operations.record_list(Call(principal, query_string=f"page={COUNT // 60}"), shop.NAME)
    some_id = json.loads(middle.body)["items"][0]["id"]

    handler = WSGIHandler()

    def http(method: str, url: str, query: str = "", sent: bytes = b"") -> Callable[[], bytes]:
        return lambda: _request(handler, token, method, url, query, sent)

    def call(operation: Callable[..., Any], *args: Any, query: str = "", method: str = "GET") -> Callable[[], Any]:
        return lambda: operation(Call(principal, method=method, query_string=query), shop.NAME, *args)

    def touched(action: Callable[[], Any]) -> float:
        """CPU of ``action`` when nothing is known from before: something was written in between."""
        import time

        spent = []
        for _ in range(20):
            operations.record_create(Call(principal, method="POST"), shop.NAME, fresh)
            before = time.process_time()
            action()
            spent.append(time.process_time() - before)
        return min(spent) * 1000

    return [
        Row("HTTP: get one", common.cpu_ms(http("GET", f"{path}/{some_id}")), "ms", 0.6),
        Row("HTTP: list of 30, exact total", common.cpu_ms(http("GET", path)), "ms", 1.0),
        Row("HTTP: indexed filter + sort, exact total", common.cpu_ms(http("GET", path, chosen)), "ms", 1.2),
        Row("  the same, after a write", touched(http("GET", path, chosen)), "ms"),
        Row("HTTP: create", common.cpu_ms(http("POST", path, sent=body)), "ms", 1.0),
        Row("operation: get one", common.cpu_ms(call(operations.record_get, some_id)), "ms"),
        Row("operation: list of 30, exact total", common.cpu_ms(call(operations.record_list)), "ms"),
        Row(
            "operation: indexed filter + sort",
            common.cpu_ms(call(operations.record_list, query=chosen)),
            "ms",
        ),
        Row("operation: create", common.cpu_ms(call(operations.record_create, fresh, method="POST")), "ms"),
    ]


def _request(handler: Any, token: str, method: str, path: str, query: str, sent: bytes) -> bytes:
    """One request through the whole of Django, signals and middleware included."""
    status = ""

    def start_response(line: str, headers: Any) -> None:
        nonlocal status
        status = line

    response = handler(
        {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "HTTP_ACCEPT": "application/json",
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(sent)),
            "wsgi.input": io.BytesIO(sent),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
        },
        start_response,
    )
    body = b"".join(response)
    response.close()
    if status[:1] != "2":
        raise RuntimeError(f"{method} {path}?{query}: {status}\n{body.decode()}")
    return body


if __name__ == "__main__":
    common.run(main)
