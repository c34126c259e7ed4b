"""Where files are."""

from __future__ import annotations

from collections_app.api import files
from core.routes import route

urlpatterns = [
    route("files", files.LibraryView.as_view(), name="files"),
    route("files/token", files.FileTokenView.as_view(), name="file-token"),
    route("files/<entry_id>", files.EntryView.as_view(), name="file-entry"),
    route("files/<entry_id>/content", files.EntryContentView.as_view(), name="file-entry-content"),
    route("files/<collection>/<record_id>/<name>", files.FileView.as_view(), name="file"),
]
