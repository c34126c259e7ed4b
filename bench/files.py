"""Files: thumbnails of a photo, and CPU of the server for a range of a large file, beside nginx where there is one.

python -m bench.files

nginx is looked for in the PATH, or by the environment variable NGINX.
"""

from __future__ import annotations

import http.client
import os
import shutil
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from bench import common, servers
from bench.common import Row
from bench.servers import Server

REQUESTS = common.scaled(400)
LARGE = 64 * 1024 * 1024
RANGES = {"1 MB": 1024 * 1024, "16 kB": 16 * 1024}
NGINX = os.environ.get("NGINX") or shutil.which("nginx")
_NGINX_CONF = """
{user}
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; default_type application/octet-stream; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; location = / {{ return 200; }} }}
}}
"""


def main() -> list[Row]:
    with common.start() as folder:
        return [*_thumbs(), *_ranges(folder)]


def _photo() -> bytes:
    """12 megapixels, as a telephone takes them: 4000 × 3000, some 4 MB."""
    from PIL import Image, ImageFilter

    noise = Image.effect_noise((4000, 3000), 60).filter(ImageFilter.GaussianBlur(1.5))
    photo = Image.merge(
        "RGB", (noise, noise.transpose(Image.Transpose.ROTATE_180), Image.linear_gradient("L").resize((4000, 3000)))
    )
    out = BytesIO()
    photo.save(out, "JPEG", quality=90)
    return out.getvalue()


def _thumbs() -> list[Row]:
    from collections_app.files import thumbs

    photo = _photo()

    def made(size: str) -> Callable[[], bytes]:
        return lambda: thumbs.small(BytesIO(photo), "image/jpeg", size, "JPEG")

    title = f"thumb of a JPEG of 12 MP ({len(photo) / 1e6:.1f} MB)"
    return [
        Row(f"{title}, 100x100", common.cpu_ms(made("100x100"), 3), "ms CPU", 150),
        Row("  0x500", common.cpu_ms(made("0x500"), 3), "ms CPU", 150),
        Row("  1200x800f", common.cpu_ms(made("1200x800f"), 3), "ms CPU", 150),
    ]


def _ranges(folder: Path) -> list[Row]:
    from accounts.principals import SYSTEM
    from collections_app.files import facts, storage
    from collections_app.files.facts import Facts
    from collections_app.files.staging import Staged, announce
    from collections_app.records import write
    from collections_app.records.unit_of_work import unit_of_work
    from collections_app.rules import RuleEnv
    from collections_app.schema import registry, service

    option = {"max_size": LARGE}
    fields = [{"name": "file", "type": "file", "file": option}]
    service.collection_create(actor=SYSTEM, payload={"name": "films", "schema": fields, "view_rule": None})
    content = os.urandom(LARGE)
    row = announce(Facts(LARGE, "application/octet-stream", "bin", "0" * 64), "film.bin", "")
    storage.current().new(facts.path_of(row.name), BytesIO(content))
    snapshot = registry.latest()
    with unit_of_work(snapshot, SYSTEM) as work:
        given = {"file": Staged.of(row.name)}
        record = write.record_create(work, snapshot.get("films"), given, RuleEnv(principal=SYSTEM))
    port = servers.free_port()
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    ours = Server(command, port, folder, "/health", common.environment(folder))
    path = f"/api/v1/files/films/{record['id']}/{row.name}"
    found = {"ours": _measured(ours, path, content)}
    if NGINX is not None:
        port = servers.free_port()
        conf = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""  # else its worker may not read our files
        conf.write_text(_NGINX_CONF.format(user=user, folder=folder, port=port, root=folder / "files"))
        nginx = Server([NGINX, "-c", str(conf), "-e", str(folder / "nginx.log")], port, folder, "/")
        found["nginx"] = _measured(nginx, f"/{facts.path_of(row.name)}", content)
    rows = []
    for size in RANGES:
        here = found["ours"][size]
        there = found["nginx"][size] if "nginx" in found else None
        rows.append(Row(f"range of {size}", here, "ms CPU", None if there is None else there * 1.5))
        if there is not None:
            rows.append(Row("  nginx, the same file", there, "ms CPU"))
    if NGINX is None:
        common.say("no nginx to compare with")
    return rows


def _measured(server: Server, path: str, content: bytes) -> dict[str, float]:
    """CPU milliseconds of the server for one answer, by the length of the range."""
    server.start()
    try:
        os.sched_setaffinity(0, servers.LOAD_CORES)
        found = {}
        for title, size in RANGES.items():
            _ask(server.port, path, content, size, REQUESTS // 10 + 1)
            before = server.cpu
            _ask(server.port, path, content, size, REQUESTS)
            found[title] = (server.cpu - before) / REQUESTS * 1000
        return found
    finally:
        server.stop()


def _ask(port: int, path: str, content: bytes, size: int, times: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(times):
        start = number * 7919 * 13 % (len(content) - size)
        connection.request("GET", path, headers={"Range": f"bytes={start}-{start + size - 1}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 206 or body != content[start : start + size]:
            raise RuntimeError(f"{answer.status} {body[:200]!r}")
    connection.close()


if __name__ == "__main__":
    common.run(main)
