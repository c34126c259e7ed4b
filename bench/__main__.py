"""``python -m bench``: every bench in a process of its own, the tables into bench/RESULTS.md."""

from __future__ import annotations

import subprocess
import sys

from bench import common

BENCHES = ("records", "rules", "schema", "bulk", "memory")


def main() -> None:
    parts = ["# What it costs\n\nWritten by `make bench`; on a busy machine the figures are worse than it is.\n"]
    failed = []
    for name in BENCHES:
        command = [sys.executable, "-m", f"bench.{name}"]
        sys.stderr.write(f"bench.{name} …\n")
        ended = subprocess.run(command, cwd=common.ROOT, capture_output=True, text=True, check=False)
        if ended.returncode:
            failed.append(name)
            sys.stderr.write(ended.stderr)
            continue
        where, _, table = ended.stdout.strip().partition("\n\n")
        parts.append(f"## {name}\n\n`python -m bench.{name}` · {where}\n\n{table}\n")
        sys.stdout.write(f"\n{name}\n{table}\n")
    (common.ROOT / "bench" / "RESULTS.md").write_text("\n".join(parts), encoding="utf-8")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
