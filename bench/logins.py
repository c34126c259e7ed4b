"""Logins, and point reads while 8 clients log in, on PocketBase and FastCMS.

python -m bench.logins [--rows …] [--keep FOLDER] [--database postgres://…]

Hashing a password is the whole price of a login, so FastCMS runs twice: with
PocketBase's hashes (bcrypt, cost 10), and with its own (Argon2id).
"""

from __future__ import annotations

from bench import common, load, ours, pair, peers, rounds
from bench.load import CONNECTIONS, Request
from bench.systems import EMAIL, PASSWORD, System

CLIENTS = 8
TARGET_P99_MS = 10
HOW = """Reads on {} connections, logins on {}; {:g} s each. CPU ms are of the server, per login; the server has
one core, and the load generator another."""
# What FastCMS hashes with, and the settings that make it so.
HASHES = {"bcrypt, cost 10": "bench.bcrypt_settings", "Argon2id": "cms_project.settings"}


def login(system: System) -> Request:
    return system.request(
        "POST",
        system.login,
        body={system.word("email"): EMAIL, "password": PASSWORD},
        holds=lambda answer: bool(answer[system.word("access_token")]),
    )


def measure(system: System, hashes: str) -> list[str]:
    """One line of the table. The server is started for it, and its first login stores the password by ``hashes``."""
    with pair.started([system]):
        port, seconds = system.server.port, rounds.SECONDS
        reads, logins = load.flow(peers.get_one(system), CONNECTIONS - 1), load.flow([login(system)], CLIENTS)
        load.run(port, reads, seconds=rounds.WARM_UP)
        load.run(port, logins, seconds=rounds.WARM_UP)
        before = system.server.cpu
        (alone,) = load.run(port, logins, seconds=seconds)
        cpu_ms = (system.server.cpu - before) * 1000 / alone.count
        (undisturbed,) = load.run(port, reads, seconds=seconds)
        beside, meanwhile = load.run(port, reads, logins, seconds=seconds)
        memory = system.server.peak_mb
    p99 = beside.percentile_ms(99)
    verdict = ["", ""]
    if system.name == ours.NAME:
        verdict = [f"p99 ≤ {TARGET_P99_MS} ms", "yes" if p99 <= TARGET_P99_MS else "**no**"]
    return [
        f"{system.name}, {hashes}",
        f"{alone.per_second:.1f}",
        f"{cpu_ms:.1f}",
        f"{undisturbed.per_second:,.0f}",
        f"{undisturbed.percentile_ms(99):.2f}",
        f"{beside.per_second:,.0f}",
        f"{p99:.2f}",
        f"{meanwhile.per_second:.1f}",
        f"{memory:.0f}",
        *verdict,
    ]


def main() -> None:
    chosen = pair.options(__doc__).parse_args()
    lines = []
    with pair.prepared(chosen) as systems:
        for system in systems:
            if system.name != ours.NAME:
                lines.append(measure(system, "bcrypt, cost 10"))
                continue
            for hashes, module in HASHES.items():
                system.server.environment = {**system.server.environment, "DJANGO_SETTINGS_MODULE": module}
                lines.append(measure(system, hashes))
    head = ["", "logins/s", "CPU ms", "reads/s", "p99 ms", "reads/s beside", "p99 ms beside", "logins/s beside",
            "RSS at most", "target", ""]  # fmt: skip
    how = HOW.format(CONNECTIONS - 1, CLIENTS, rounds.SECONDS)
    common.report(f"{chosen.rows:,} records. {how}", common.grid(head, lines))


if __name__ == "__main__":
    main()
