"""Where uploaded files are: in ``MEDIA_ROOT`` under DATA_DIR, or in a bucket of S3."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from cms_project.settings.environment import read

S3_BUCKET = read(str, "", "S3_BUCKET")


def s3() -> dict[str, Any]:
    """Keys that are left out are found as Amazon's tools find them."""
    if find_spec("storages") is None or find_spec("boto3") is None:
        raise ImproperlyConfigured("S3_BUCKET: pip install -r requirements-s3.txt")
    options = {
        "bucket_name": S3_BUCKET,
        "endpoint_url": read(str, "", "S3_ENDPOINT") or None,
        "region_name": read(str, "", "S3_REGION") or None,
        "access_key": read(str, "", "S3_ACCESS_KEY") or None,
        "secret_key": read(str, "", "S3_SECRET_KEY") or None,
    }
    return {"BACKEND": "collections_app.files.s3.Storage", "OPTIONS": options}


STORAGES = {
    "default": s3() if S3_BUCKET else {"BACKEND": "collections_app.files.storage.LocalStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
