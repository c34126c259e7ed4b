"""The ASGI application's doors besides HTTP."""

from __future__ import annotations

import asyncio

from channels.testing import ApplicationCommunicator, WebsocketCommunicator

from cms_project.asgi import application, lifespan


def test_a_websocket_to_nowhere_is_refused_cleanly():
    async def knock():
        socket = WebsocketCommunicator(application, "/ws/nowhere")
        return await socket.connect()

    assert asyncio.run(knock()) == (False, 4404)


def test_lifespan_starts_and_ends(monkeypatch):
    closed = []
    monkeypatch.setattr("cms_project.asgi.http.close", lambda: closed.append(True))

    async def live():
        server = ApplicationCommunicator(lifespan, {"type": "lifespan"})
        await server.send_input({"type": "lifespan.startup"})
        started = await server.receive_output()
        await server.send_input({"type": "lifespan.shutdown"})
        return started["type"], (await server.receive_output())["type"]

    assert asyncio.run(live()) == ("lifespan.startup.complete", "lifespan.shutdown.complete")
    assert closed == [True]
