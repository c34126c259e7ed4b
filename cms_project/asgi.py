"""The ASGI application that ``serve`` and ``runserver`` run: one door per protocol."""

from __future__ import annotations

import os
from typing import Any, cast

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cms_project.settings")
django.setup()

from cms_project.front import Front  # noqa: E402 - settings first
from cms_project.handler import DjangoHandler  # noqa: E402 - settings first
from cms_project.production import refuse_unsafe  # noqa: E402

refuse_unsafe()

http = DjangoHandler()
front = Front(http)


async def no_such_socket(scope: Any, receive: Any, send: Any) -> None:
    """Refuse the handshake: nothing listens under this path."""
    await receive()
    await send({"type": "websocket.close", "code": 4404})


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Nothing to start; at the end the threads finish their requests, and the last lines are written."""
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    http.close()
    await front.close()
    await send({"type": "lifespan.shutdown.complete"})


application = ProtocolTypeRouter(
    {
        "http": front,
        "websocket": URLRouter([re_path(r"", cast(Any, no_such_socket))]),
        "lifespan": lifespan,
    }
)
