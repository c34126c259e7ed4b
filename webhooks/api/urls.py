"""Webhooks under ``/api/v1/``."""

from __future__ import annotations

from core.routes import route
from webhooks.api import views

urlpatterns = [
    route("webhooks", views.WebhooksView.as_view()),
    route("webhooks/<webhook_id>", views.WebhookView.as_view()),
    route("webhooks/<webhook_id>/rotate_secret", views.RotateSecretView.as_view()),
    route("webhooks/<webhook_id>/test", views.TestView.as_view()),
    route("webhooks/<webhook_id>/replay", views.ReplayView.as_view()),
    route("webhooks/<webhook_id>/deliveries", views.DeliveriesView.as_view()),
    route("webhooks/<webhook_id>/deliveries/<delivery_id>", views.DeliveryView.as_view()),
    route("webhooks/<webhook_id>/deliveries/<delivery_id>/replay", views.ReplayDeliveryView.as_view()),
]
