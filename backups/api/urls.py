"""Backups under ``/api/v1/``."""

from __future__ import annotations

from backups.api import restores, views
from core.routes import route

urlpatterns = [
    route("backups", views.BackupsView.as_view()),
    route("backups/upload", views.UploadView.as_view()),
    route("backups/restore", restores.StagedRestoreView.as_view()),
    route("backups/<backup_id>", views.BackupView.as_view()),
    route("backups/<backup_id>/download", views.DownloadView.as_view()),
    route("backups/<backup_id>/restore", restores.RestoreView.as_view()),
]
