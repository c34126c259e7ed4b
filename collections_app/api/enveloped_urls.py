"""The built-in collection under ``/api/``, in envelopes."""

from __future__ import annotations

from collections_app.api import enveloped
from core.routes import route

urlpatterns = [
    route("records", enveloped.RecordsView.as_view()),
    route("records/<record_id>", enveloped.OneRecordView.as_view()),
]
