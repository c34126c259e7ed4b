"""The channel layer, as the environment sets it up."""

from __future__ import annotations

import importlib

from channels_redis.core import RedisChannelLayer

from cms_project.settings import services


def test_a_connection_that_waits_for_what_comes_is_not_given_up_meanwhile(monkeypatch):
    """The client of Redis takes 5 s of silence for a fault, and the layer waits just as long."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:6379/0")
    try:
        host = importlib.reload(services).CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]
        assert host["socket_timeout"] > RedisChannelLayer.brpop_timeout
    finally:
        monkeypatch.undo()
        importlib.reload(services)
