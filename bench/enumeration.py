"""How long a failed login, a request for a reset and a registration take for accounts that are there and for others.

python -m bench.enumeration

Through the whole application, in this process, the accounts turn about. What is
sought is a difference that somebody outside could see: medians that are apart by
more than the quartiles of one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import quantiles
from time import perf_counter
from typing import Any

from bench import common

TIMES = common.scaled(200)
PASSWORD = "correct-horse-battery"


def _ask(client: Any, path: str, body: Callable[[str], dict[str, str]]) -> Callable[[str], float]:
    def once(email: str) -> float:
        began = perf_counter()
        client.post(f"/api/v1/auth/{path}", body(email), format="json")
        return perf_counter() - began

    return once


def main() -> None:
    lines = []
    with common.start():
        from rest_framework.test import APIClient

        from accounts.models import User

        User.objects.create_user("first@example.com", PASSWORD, username="first")
        User.objects.create_user("known@example.com", PASSWORD, username="known", verified=True)
        User.objects.create_user("off@example.com", PASSWORD, username="off", is_active=False)
        User.objects.create_user("fresh@example.com", PASSWORD, username="fresh")
        emails = {name: f"{name}@example.com" for name in ("known", "off", "fresh", "nobody")}
        client = APIClient()
        cases = {
            "login, wrong password": _ask(client, "login", lambda email: {"email": email, "password": "wrong-9-wrong"}),
            "request of a reset": _ask(client, "request-password-reset", lambda email: {"email": email}),
            "another verification": _ask(client, "resend-verification", lambda email: {"email": email}),
        }
        for what, ask in cases.items():
            seen: dict[str, list[float]] = {name: [] for name in emails}
            for name in emails:
                ask(emails[name])
            for _ in range(TIMES):
                for name, email in emails.items():
                    seen[name].append(ask(email) * 1000)
            for name, times in seen.items():
                low, middle, high = quantiles(times, n=4)
                lines.append([f"{what}: {name}", f"{middle:.2f}", f"{low:.2f}", f"{high:.2f}"])
    common.report(
        f"{TIMES} times each, the accounts turn about.",
        common.grid(["", "median ms", "first quartile", "third quartile"], lines),
    )


if __name__ == "__main__":
    main()
