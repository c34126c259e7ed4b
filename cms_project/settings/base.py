"""The project as Django sees it: apps, middleware, templates, static files, sign-in."""

from __future__ import annotations

import secrets
import sys

from cms_project.settings import environment
from cms_project.settings.environment import flag, networks, port, positive, read, texts, web_address, whole

ENV = environment.ENV
PRODUCTION = environment.PRODUCTION
BASE_DIR = environment.ROOT
DATA_DIR = environment.DATA_DIR
DEBUG = read(flag, False, "DEBUG")
SECRET_KEY = environment.secret_key(ENV, DATA_DIR)
SECRET_KEY_IS_SET = bool(SECRET_KEY)
if not SECRET_KEY and sys.argv[1:2] in (["serve"], ["doctor"], ["check"]):
    # Django hands out no empty one. These commands say why, with all other reasons, and write nothing by it.
    SECRET_KEY = secrets.token_urlsafe(50)
PROJECT_NAME = read(str, "FastCMS", "PROJECT_NAME")
HOST = read(str, "127.0.0.1", "HOST")
PORT = read(port, 8000, "PORT")
WORKERS = read(positive, 1, "WORKERS")
HANDLER_THREADS = read(whole, 4, "HANDLER_THREADS")
RECORDS_LANE = read(flag, True, "RECORDS_LANE")

ALLOWED_HOSTS = read(texts, ["localhost", "127.0.0.1", "[::1]"], "ALLOWED_HOSTS")
BASE_URL = read(web_address, f"http://127.0.0.1:{PORT}", "BASE_URL")
TRUSTED_PROXIES = read(networks, environment.NO_NETWORKS, "TRUSTED_PROXIES")

INSTALLED_APPS = [
    "cms_project",  # first, for its commands take the place of Django's
    "accounts.apps.AdminSiteConfig",  # django.contrib.admin with our set-up page
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "django_filters",
    "rest_framework",
    "rest_framework_simplejwt",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "core",
    "settings_app",
    "accounts",
    "collections_app",
    "webhooks",
    "realtime",
    "backups",
    "monitoring",
]

if "runserver" in sys.argv:
    INSTALLED_APPS.insert(0, "daphne")  # it takes over runserver, and costs 27 MB anywhere else

# Sessions, CSRF, sign-in and messages do their work only where a session can matter
# (core.middleware.needs_session); elsewhere each costs one function call.
MIDDLEWARE = [
    "core.middleware.RequestMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "core.middleware.SessionMiddleware",
    "core.middleware.CsrfMiddleware",
    "core.middleware.AuthenticationMiddleware",
    "core.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",  # keeps the request at hand for allauth's adapters
]
ORIGINS = read(texts, environment.NO_TEXTS, "CORS_ORIGINS", "ALLOWED_ORIGINS", "CORS_ORIGIN")
SESSION_PATHS = ("/admin",)
SECURE_SSL_REDIRECT = read(flag, False, "SECURE_SSL_REDIRECT")

ROOT_URLCONF = "cms_project.urls"
ASGI_APPLICATION = "cms_project.asgi.application"
APPEND_SLASH = False  # a slash is optional everywhere, and a POST is never redirected

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
WHITENOISE_USE_FINDERS = True  # serves what the apps ship; collectstatic is for a CDN
WHITENOISE_ALLOW_ALL_ORIGINS = False  # the front says who may; two of that header are as bad as none
MEDIA_ROOT = DATA_DIR / "files"

DATA_UPLOAD_MAX_MEMORY_SIZE = read(whole, 10 * 1024 * 1024, "MAX_BODY_BYTES")
# The whole request, files included; a body that is not a form is held to MAX_BODY_BYTES.
REQUEST_MAX_BYTES = read(whole, 128 * 1024 * 1024, "REQUEST_MAX_BYTES")
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

AUTH_USER_MODEL = "accounts.User"
SILENCED_SYSTEM_CHECKS = ["auth.W004"]  # addresses are unique: by an index, without regard to case
AUTHENTICATION_BACKENDS = ["accounts.backends.AccountBackend"]
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"
PASSWORD_HASHERS = [
    "accounts.hashers.Argon2PasswordHasher",
    "accounts.hashers.BCryptSHA256PasswordHasher",
    "accounts.hashers.BCryptPasswordHasher",
    "accounts.hashers.PBKDF2PasswordHasher",
]
PASSWORD_REJECT_COMMON = read(flag, True, "PASSWORD_REJECT_COMMON")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "accounts.passwords.MaximumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
if PASSWORD_REJECT_COMMON:
    AUTH_PASSWORD_VALIDATORS.append({"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"})

# Of allauth we use the tables and the arithmetic of authenticator apps, not its pages.
MFA_ADAPTER = "accounts.mfa_adapter.Adapter"
MFA_TOTP_TOLERANCE = 1  # steps of 30 s that a phone's clock may be off

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BASE_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [BASE_URL]
CSRF_FAILURE_VIEW = "core.error_pages.csrf_failure"
X_FRAME_OPTIONS = "DENY"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SILENCED_SYSTEM_CHECKS = ["auth.W004"]  # e-mail is unique among the accounts that are not deleted
