"""What processes tell each other, and that nothing comes of it while Redis is away."""

from __future__ import annotations

import asyncio

from realtime import relay as relays
from realtime.relay import Relay
from realtime.tests.gate import Gate


def layer_of(settings, url):
    settings.REDIS_URL = url
    host = {"address": url, "socket_timeout": 15}
    backend = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}
    settings.CHANNEL_LAYERS = {"default": backend}


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


def test_the_others_hear_all_in_order_and_who_tells_does_not(settings, redis_url):
    layer_of(settings, redis_url)

    async def scenario():
        one, two, three = Relay(), Relay(), Relay()
        heard = {relay: [] for relay in (one, two, three)}
        for relay, messages in heard.items():
            relay.listen("test", messages.append)
            await relay.ready()
        for number in range(500):
            one.tell("test", number=number, text="é" * 100)
        one.tell("nobody listens to this")
        await until(lambda: len(heard[two]) == len(heard[three]) == 500)
        for relay in heard:
            await relay.close()
        return heard[one], [message["number"] for message in heard[two]], heard[two] == heard[three]

    assert asyncio.run(scenario()) == ([], list(range(500)), True)


def test_while_redis_is_away_nothing_is_told_and_nothing_raised_and_later_all_goes_on(settings, redis_url, monkeypatch):
    monkeypatch.setattr(relays, "PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(relays, "STAY_SECONDS", 0.2)

    async def scenario():
        gate = Gate(redis_url)
        await gate.come()
        layer_of(settings, gate.url)
        one, two, heard = Relay(), Relay(), []
        two.listen("test", heard.append)
        await one.ready()
        await two.ready()
        one.tell("test", text="before")
        await until(lambda: heard)
        await gate.go()
        await until(lambda: one._is_away and two._is_away)
        one.tell("test", text="lost")
        await gate.come()
        await until(lambda: not one._is_away and not two._is_away)
        one.tell("test", text="after")
        await until(lambda: len(heard) == 2)
        for relay in (one, two):
            await relay.close()
        await gate.go()
        return [message["text"] for message in heard]

    assert asyncio.run(scenario()) == ["before", "after"]


def test_without_redis_there_is_nobody_to_tell(settings):
    settings.REDIS_URL = ""

    async def scenario():
        relay = Relay()
        await relay.ready()
        relay.tell("test", text="alone")
        await relay.close()
        return relay._sending

    assert asyncio.run(scenario()) is None
