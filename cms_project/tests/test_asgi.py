"""The ASGI application's doors besides HTTP."""

from __future__ import annotations

import asyncio
import gc

from channels.testing import ApplicationCommunicator, WebsocketCommunicator

from cms_project.asgi import application, lifespan, settle
from cms_project.settings_watch import Watch
from core import background


def test_a_websocket_to_nowhere_is_refused_cleanly():
    async def knock():
        socket = WebsocketCommunicator(application, "/nowhere", headers=[(b"host", b"localhost")])
        return await socket.connect()

    assert asyncio.run(knock()) == (False, 4404)


def test_lifespan_starts_and_ends(monkeypatch):
    closed = []
    monkeypatch.setattr("cms_project.asgi.django_http.close", lambda: closed.append(True))
    monkeypatch.setattr(background, "worker", background.Worker())  # which stays ended
    monkeypatch.setattr(Watch, "start", lambda watch: None)  # it would ask the database

    async def live():
        server = ApplicationCommunicator(lifespan, {"type": "lifespan"})
        await server.send_input({"type": "lifespan.startup"})
        started = await server.receive_output(20)
        await server.send_input({"type": "lifespan.shutdown"})
        return started["type"], (await server.receive_output(20))["type"]

    assert asyncio.run(live()) == ("lifespan.startup.complete", "lifespan.shutdown.complete")
    assert closed == [True]


def test_what_was_loaded_at_the_start_is_out_of_the_garbage_collectors_sight():
    gc.unfreeze()
    before = len(gc.get_objects())
    settle()
    try:
        assert len(gc.get_objects()) < before / 10
    finally:
        gc.unfreeze()
