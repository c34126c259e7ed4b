"""Where uploaded files and backups are: in folders under DATA_DIR, or in buckets of S3."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from cms_project.settings.environment import DATA_DIR, read

S3_BUCKET = read(str, "", "S3_BUCKET")
# Backups are made here, and stay here unless they have a bucket; of their own, for the files' one is swept.
BACKUP_DIR = DATA_DIR / "backups"
BACKUP_S3_BUCKET = read(str, "", "BACKUP_S3_BUCKET")
BACKUP_PASSWORD = read(str, "", "BACKUP_PASSWORD")
if BACKUP_S3_BUCKET and BACKUP_S3_BUCKET == S3_BUCKET:
    raise ImproperlyConfigured("BACKUP_S3_BUCKET: backups need a bucket of their own, not that of S3_BUCKET")


def s3(bucket: str) -> dict[str, Any]:
    """Keys that are left out are found as Amazon's tools find them."""
    if find_spec("storages") is None or find_spec("boto3") is None:
        raise ImproperlyConfigured("S3_BUCKET, BACKUP_S3_BUCKET: pip install -r requirements-s3.txt")
    options = {
        "bucket_name": bucket,
        "endpoint_url": read(str, "", "S3_ENDPOINT") or None,
        "region_name": read(str, "", "S3_REGION") or None,
        "access_key": read(str, "", "S3_ACCESS_KEY") or None,
        "secret_key": read(str, "", "S3_SECRET_KEY") or None,
    }
    return {"BACKEND": "collections_app.files.s3.Storage", "OPTIONS": options}


STORAGES = {
    "default": s3(S3_BUCKET) if S3_BUCKET else {"BACKEND": "collections_app.files.storage.LocalStorage"},
    "backups": s3(BACKUP_S3_BUCKET)
    if BACKUP_S3_BUCKET
    else {"BACKEND": "collections_app.files.storage.LocalStorage", "OPTIONS": {"location": str(BACKUP_DIR)}},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
