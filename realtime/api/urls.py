"""Realtime under ``/api/v1/``, as far as it is Django's."""

from __future__ import annotations

from core.routes import route
from realtime.api.presence import PresencesView, PresenceView
from realtime.api.streams import CollectionStreamView, StreamView
from realtime.api.tickets import TicketView

urlpatterns = [
    route("realtime", StreamView.as_view()),
    route("realtime/ticket", TicketView.as_view()),
    route("realtime/<collection>", CollectionStreamView.as_view()),
    route("presence", PresencesView.as_view()),
    route("presence/<user_id>", PresenceView.as_view()),
]
