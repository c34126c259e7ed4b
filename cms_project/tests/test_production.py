"""Production does not start with unsafe settings, and names all of them at once."""

from __future__ import annotations

import secrets

import pytest
from django.core.exceptions import ImproperlyConfigured

from cms_project import production


@pytest.fixture
def safe(settings):
    settings.PRODUCTION, settings.ENV = True, "production"
    settings.SECRET_KEY = secrets.token_urlsafe(50)
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["cms.example.com"]
    return settings


def test_safe_settings_start(safe):
    production.refuse_unsafe()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SECRET_KEY_IS_SET", False, "SECRET_KEY is not set"),
        ("SECRET_KEY", "short", "too short"),
        ("SECRET_KEY", "a" * 64, "too simple"),
        ("SECRET_KEY", "your-secret-key-here-change-in-production", "placeholder"),
        ("DEBUG", True, "DEBUG"),
        ("ALLOWED_HOSTS", ["*"], "ALLOWED_HOSTS"),
        ("CORS_ALLOW_ALL_ORIGINS", True, "CORS_ORIGINS"),
        ("OAUTH_PROVIDERS", {"oidc": {"issuer": "http://sso.example.com"}}, "OIDC_ISSUER"),
    ],
)
def test_each_unsafe_setting_is_named(name, value, says, safe):
    setattr(safe, name, value)
    (reason,) = production.reasons()
    assert says in reason
    with pytest.raises(ImproperlyConfigured, match=says):
        production.refuse_unsafe()


def test_several_workers_need_a_shared_cache_and_channel_layer(safe):
    assert len(production.reasons(workers=2)) == 2
    safe.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
    safe.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    assert production.reasons(workers=2) == []


def test_all_reasons_come_together(safe):
    safe.SECRET_KEY, safe.DEBUG, safe.ALLOWED_HOSTS = "x", True, ["*"]
    with pytest.raises(ImproperlyConfigured) as caught:
        production.refuse_unsafe(workers=3)
    assert str(caught.value).count("\n- ") == 5
    assert len(production.check(None)) == 3


def test_development_starts_with_anything(settings):
    settings.SECRET_KEY, settings.DEBUG, settings.ALLOWED_HOSTS = "x", True, ["*"]
    assert production.reasons(workers=9) == []
