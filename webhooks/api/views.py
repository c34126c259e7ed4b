"""Webhooks, for admins: ``/api/v1/webhooks``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import NothingSerializer
from collections_app.records import query
from core import clock
from core.permissions import IsAdmin
from core.serializers import StrictSerializer
from core.views import CheckedView
from webhooks import planning, selectors, sending, services, signing
from webhooks.api import documents
from webhooks.api.serializers import (
    DeliveriesQuerySerializer,
    NewWebhookSerializer,
    ReplaySerializer,
    WebhookSerializer,
    WebhooksQuerySerializer,
)
from webhooks.models import Delivery, Webhook

_DEFAULT_PER_PAGE = 100
_PAGE = frozenset({"page", "per_page"})
_PAGE_PARAMETERS = [
    OpenApiParameter("page", int, description="Which page."),
    OpenApiParameter(
        "per_page", int, description=f"How many on a page: {_DEFAULT_PER_PAGE}, at most {query.MAX_PER_PAGE}."
    ),
]


class _View(CheckedView, GenericAPIView[Any]):
    serializer_class: type[StrictSerializer] = NothingSerializer
    permission_classes = (IsAdmin,)

    def cleaned(self, request: Request, *, partial: bool = False) -> dict[str, Any]:
        serializer = self.get_serializer_class()(data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class _ListView(_View):
    """Pages of things, by the parameters of a page and those of ``wanted``."""

    wanted: type[StrictSerializer]

    @property
    def parameters(self) -> frozenset[str]:  # type: ignore[override]
        is_making = self.request.method == "POST" and hasattr(self, "post")
        return frozenset() if is_making else _PAGE | self.wanted._declared_fields.keys()

    def asked(self) -> tuple[query.Query, dict[str, Any]]:
        """The page, and which things."""
        given = dict(self.query)
        page = {"per_page": str(_DEFAULT_PER_PAGE), **{name: given.pop(name) for name in _PAGE & given.keys()}}
        serializer = self.wanted(data=given)
        serializer.is_valid(raise_exception=True)
        return query.read(page, _PAGE), dict(serializer.validated_data)


def _page_json(page: query.Query, total: int, items: Sequence[dict[str, Any]]) -> Response:
    return Response(
        {
            "items": items,
            "total": total,
            "page": page.page,
            "per_page": page.per_page,
            "total_pages": -(-total // page.per_page),
        }
    )


def _part(page: query.Query) -> slice:
    start = (page.page - 1) * page.per_page
    return slice(start, start + page.per_page)


class WebhooksView(_ListView):
    """All webhooks; POST makes one."""

    serializer_class = NewWebhookSerializer
    wanted = WebhooksQuerySerializer

    @extend_schema(
        "webhooks_list",
        request=None,
        parameters=[WebhooksQuerySerializer, *_PAGE_PARAMETERS],
        responses={200: documents.WEBHOOKS},
    )
    def get(self, request: Request) -> Response:
        page, wanted = self.asked()
        found = selectors.webhooks(wanted.get("collection_name"), wanted.get("active"))
        return _page_json(page, len(found), [webhook_json(*one) for one in found[_part(page)]])

    @extend_schema(responses={201: documents.NEW_WEBHOOK})
    def post(self, request: Request) -> Response:
        given = self.cleaned(request)
        made = signing.generate_secret() if given["generate_secret"] else None
        webhook = services.webhook_create(
            url=given["url"],
            collection=given["collection_name"],
            events_wanted=given["events"],
            retry_count=given["retry_count"],
            secret=made or given.get("secret"),
        )
        shown = webhook_json(webhook, selectors.collection_name(webhook))
        return Response({**shown, "secret": made} if made else shown, status=status.HTTP_201_CREATED)


class WebhookView(_View):
    """One webhook. Switched on again, it is told of what waited for it."""

    serializer_class = WebhookSerializer

    @extend_schema(request=None, responses={200: documents.WEBHOOK})
    def get(self, request: Request, webhook_id: str) -> Response:
        return self._shown(selectors.webhook(webhook_id))

    @extend_schema(responses={200: documents.WEBHOOK})
    def patch(self, request: Request, webhook_id: str) -> Response:
        return self._shown(services.webhook_update(webhook_id, self.cleaned(request, partial=True)))

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, webhook_id: str) -> Response:
        services.webhook_delete(webhook_id)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _shown(self, webhook: Webhook) -> Response:
        return Response(webhook_json(webhook, selectors.collection_name(webhook)))


class RotateSecretView(_View):
    """A new secret. For a day deliveries carry signatures of both."""

    @extend_schema(request=None, responses={200: documents.SECRET})
    def post(self, request: Request, webhook_id: str) -> Response:
        self.cleaned(request)
        webhook, secret = services.rotate_secret(webhook_id)
        return Response({"secret": secret, "previous_valid_until": _moment(webhook.previous_secret_until)})


class TestView(_View):
    """Send a test here and now, one attempt, and tell what came of it."""

    crew = "outgoing"

    @extend_schema(request=None, responses={200: documents.DELIVERY})
    def post(self, request: Request, webhook_id: str) -> Response:
        self.cleaned(request)
        return Response(delivery_json(sending.send_test(selectors.webhook(webhook_id))))


class ReplayView(_View):
    """Send again all that happened since a moment."""

    serializer_class = ReplaySerializer

    @extend_schema(responses={200: documents.REPLAYED})
    def post(self, request: Request, webhook_id: str) -> Response:
        webhook = selectors.webhook(webhook_id)
        return Response({"count": services.replay_since(webhook, self.cleaned(request)["since"])})


class DeliveriesView(_ListView):
    """What the webhook was told, and what it is still to be told; the newest first."""

    wanted = DeliveriesQuerySerializer

    @extend_schema(
        "webhooks_deliveries_list",
        request=None,
        parameters=[DeliveriesQuerySerializer, *_PAGE_PARAMETERS],
        responses={200: documents.DELIVERIES},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        page, wanted = self.asked()
        found = selectors.deliveries(selectors.webhook(webhook_id), **wanted)
        return _page_json(page, found.count(), [_listed_json(one) for one in found[_part(page)]])


class DeliveryView(_View):
    """One delivery with the answer that it got."""

    @extend_schema(request=None, responses={200: documents.DELIVERY})
    def get(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        return Response(delivery_json(selectors.delivery(selectors.webhook(webhook_id), delivery_id)))


class ReplayDeliveryView(_View):
    """Send the event again, as a delivery of its own."""

    @extend_schema(request=None, responses={200: documents.DELIVERY})
    def post(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        self.cleaned(request)
        again = services.replay(selectors.delivery(selectors.webhook(webhook_id), delivery_id))
        return Response(delivery_json(again))


def webhook_json(webhook: Webhook, collection_name: str) -> dict[str, Any]:
    return {
        "id": str(webhook.pk),
        "url": webhook.url,
        "collection_name": collection_name,
        "events": webhook.events,
        "active": webhook.active,
        "retry_count": webhook.retry_count,
        "has_secret": bool(webhook.secret),
        "ended": webhook.ended or None,
        "created": clock.isoformat(webhook.created),
        "updated": clock.isoformat(webhook.updated),
    }


def _listed_json(delivery: Delivery) -> dict[str, Any]:
    waits = delivery.status == Delivery.Status.PENDING  # else it is when a lease ends
    return {
        "id": delivery.pk,
        "event_id": delivery.event_id or None,
        "event": delivery.event,
        "status": delivery.status,
        "attempt": delivery.attempt,
        "response_status": delivery.response_status,
        "error": delivery.error or None,
        "next_attempt_at": _moment(delivery.next_attempt_at) if waits else None,
        "created": clock.isoformat(delivery.created),
    }


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    return {
        **_listed_json(delivery),
        "record_id": delivery.record_id or None,
        "response_body": delivery.response_body,
        "duration_ms": delivery.duration_ms,
        "finished": _moment(delivery.finished),
        "payload": planning.payload(delivery),
    }


def _moment(moment: Any) -> str | None:
    return clock.isoformat(moment) if moment else None
