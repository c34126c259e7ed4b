"""Django REST framework, its tokens, its documents, and who may call from other origins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from cms_project.settings.base import ORIGINS, PROJECT_NAME
from cms_project.settings.environment import read, whole

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "accounts.authentication.SessionAuthentication",
    ],
    "UNAUTHENTICATED_USER": "accounts.authentication.anonymous",
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["core.drf.JSONRenderer", "core.browsable.BrowsableAPIRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.drf.ContentNegotiation",
    "DEFAULT_METADATA_CLASS": "core.drf.Metadata",
    "DEFAULT_PARSER_CLASSES": [
        "core.drf.JSONParser",
        "core.drf.FormParser",
        "core.drf.MultiPartParser",
    ],
    "EXCEPTION_HANDLER": "core.drf.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_FILTER_BACKENDS": [],
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

ALGORITHM = read(str, "HS256", "ALGORITHM").upper()
if ALGORITHM not in ("HS256", "HS384", "HS512"):
    raise ImproperlyConfigured(f"ALGORITHM={ALGORITHM}: tokens are signed with HS256, HS384 or HS512")
ACCESS_TOKEN_LIFETIME = timedelta(minutes=read(whole, 15, "ACCESS_TOKEN_EXPIRE_MINUTES"))
REFRESH_TOKEN_LIFETIME = timedelta(days=read(whole, 7, "REFRESH_TOKEN_EXPIRE_DAYS"))
SIMPLE_JWT = {"TOKEN_TYPE_CLAIM": "purpose"}  # keys, issuer and audience: accounts/tokens.py
TWO_FA_CODE_EXPIRE_MINUTES = read(whole, 10, "TWO_FA_CODE_EXPIRE_MINUTES")

CORS_ALLOW_ALL_ORIGINS = "*" in ORIGINS
CORS_ALLOWED_ORIGINS = [origin.rstrip("/") for origin in ORIGINS if origin != "*"]
CORS_ALLOW_HEADERS = [
    "accept", "authorization", "content-type", "idempotency-key", "if-match", "if-none-match",
    "if-range", "range", "last-event-id", "x-api-key", "x-csrftoken", "x-request-id", "x-requested-with",
]  # fmt: skip
CORS_EXPOSE_HEADERS = [
    "Content-Disposition", "Content-Range", "ETag", "Retry-After", "X-Request-ID", "X-Response-Time",
    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
]  # fmt: skip

SPECTACULAR_SETTINGS = {
    "TITLE": PROJECT_NAME,
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "DEFAULT_GENERATOR_CLASS": "collections_app.api.openapi.generator.LiveGenerator",
    "ENABLE_DJANGO_DEPLOY_CHECK": False,  # it would generate, and so ask the database, where there may be none
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {"RoleEnum": "accounts.models.users.Role"},
    "AUTHENTICATION_WHITELIST": [],  # the document names the bearer token itself
}
