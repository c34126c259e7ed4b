"""The ASGI application that ``serve`` and ``runserver`` run: one door per protocol."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any, cast

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.apps import apps
from django.conf import settings
from django.urls import get_resolver, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cms_project.settings")
django.setup()

from accounts import key_uses  # noqa: E402 - settings first
from cms_project.front import Application, Front  # noqa: E402 - settings first
from cms_project.handler import DjangoHandler  # noqa: E402 - settings first
from cms_project.health import FIXED  # noqa: E402 - settings first
from cms_project.production import refuse_unsafe  # noqa: E402
from cms_project.settings_watch import Watch  # noqa: E402
from cms_project.sockets import Sockets  # noqa: E402
from collections_app.api.lane import Lane  # noqa: E402
from core import background, metrics  # noqa: E402
from core.asgi import refuse_socket  # noqa: E402
from core.errors import NotFound  # noqa: E402
from core.gate import gate  # noqa: E402
from realtime import doors as realtime_doors  # noqa: E402

refuse_unsafe()

django_http = DjangoHandler()
lane = Lane(django_http, FIXED) if settings.RECORDS_LANE else None
app: Application = lane or django_http
if apps.is_installed("realtime"):
    app = realtime_doors.streams(app)
front = Front(app)


async def no_such_socket(scope: Any, receive: Any, send: Any) -> None:
    """Refuse the handshake: nothing listens under this path."""
    await receive()
    await refuse_socket(scope, send, NotFound())


routes: list[Any] = [*realtime_doors.sockets] if apps.is_installed("realtime") else []
settings_watch = Watch()
sockets = Sockets(URLRouter([*routes, re_path(r"", cast(Any, no_such_socket))]), front)


def settle() -> None:
    """Load the rest of what lives as long as the process, and take it out of the garbage collector's sight.

    Else a full collection goes through 100,000 objects in the middle of somebody's request.
    """
    get_resolver().url_patterns  # noqa: B018 - the first request would import it
    gc.collect()
    gc.freeze()


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """A thread does the work of Celery's workers, or calls them where there is a broker.

    At the end the threads finish what they hold, and the last lines are written.
    """
    while (message := await receive())["type"] != "lifespan.shutdown":
        settle()
        await gate.start()
        await asyncio.to_thread(settings_watch.start)
        background.worker.start()
        watching = asyncio.create_task(metrics.watch())
        await send({"type": f"{message['type']}.complete"})
    watching.cancel()
    await asyncio.to_thread(settings_watch.stop)
    realtime_doors.end_streams()
    await asyncio.to_thread(background.worker.stop)
    await realtime_doors.close()
    await gate.stop()
    if lane is not None:
        lane.close()
    django_http.close()
    await asyncio.to_thread(key_uses.uses.close)
    await front.close()
    await send({"type": "lifespan.shutdown.complete"})


application = ProtocolTypeRouter(
    {
        "http": front,
        "websocket": sockets,
        "lifespan": lifespan,
    }
)
