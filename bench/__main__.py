"""``python -m bench``: every bench in a process of its own, the tables into bench/RESULTS.md.

Those on PostgreSQL run when TEST_DATABASE_URL names a server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from bench import common

MILLION = ["--rows", str(common.scaled(1_000_000))]
ALONE = ("records", "writes", "rules", "schema", "bulk", "memory", "webhooks", "files", "io", "views", "backups")
# Heading, module, arguments.
SIDE_BY_SIDE: tuple[tuple[str, str, list[str]], ...] = (
    ("peers", "peers", []),
    ("peers, a million records", "peers", MILLION),
    ("growth", "growth", []),
    ("mixed", "mixed", []),
    ("scan", "scan", []),
    ("logins", "logins", []),
    ("workers", "workers", []),
    ("realtime", "realtime", []),
)
POSTGRESQL: tuple[tuple[str, str, list[str]], ...] = (
    ("peers on PostgreSQL", "peers", []),
    ("peers on PostgreSQL, a million records", "peers", MILLION),
    ("mixed on PostgreSQL", "mixed", []),
    ("scan on PostgreSQL", "scan", []),
    ("workers on PostgreSQL", "workers", []),
    ("realtime on PostgreSQL", "realtime", []),
)


def main() -> None:
    parts = ["# What it costs\n\nWritten by `make bench`; on a busy machine the figures are worse than it is.\n"]
    failed = []

    def section(title: str, module: str, arguments: list[str], *private: str) -> None:
        """``private`` arguments are about this machine, and not told."""
        common.say(f"{title} …")
        command = [sys.executable, "-m", f"bench.{module}", *arguments]
        ended = subprocess.run([*command, *private], cwd=common.ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode:
            failed.append(title)
            return
        where, _, table = ended.stdout.strip().partition("\n\n")
        told = " ".join(
            [f"python -m bench.{module}", *arguments, *(["--database postgres://…"] if "--database" in private else [])]
        )
        parts.append(f"## {title}\n\n`{told}` · {where}\n\n{table}\n")
        sys.stdout.write(f"\n{title}\n{table}\n")

    for name in ALONE:
        section(name, name, [])
    with tempfile.TemporaryDirectory(prefix="fastcms-bench-") as kept:
        for one in SIDE_BY_SIDE:
            section(*one, "--keep", kept)
    if server := os.environ.get("TEST_DATABASE_URL"):
        for one in POSTGRESQL:
            section(*one, "--database", server)
    else:
        common.say("nothing on PostgreSQL: TEST_DATABASE_URL is not set")
    (common.ROOT / "bench" / "RESULTS.md").write_text("\n".join(parts), encoding="utf-8")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
