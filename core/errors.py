"""Domain errors with stable codes, and the one body that every answer uses.

Whoever finds a fault raises one of these; whoever answers (DRF's handler, the
404 and 500 pages, the ASGI layers) calls :func:`body`. Nobody else builds an
error. Shape and codes: docs/errors.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core import clock, request_id

FieldMessages = Mapping[str, Sequence[str]]


class DomainError(Exception):
    """A refusal that a client can understand.

    ``message`` is a sentence for people, ``fields`` maps a field's name to its
    messages, ``headers`` go with the answer, ``extra`` is merged into the body
    (counts, examples, the index within a batch).
    """

    status = 400
    code = "BAD_REQUEST"
    default_message = "Bad request"

    def __init__(
        self,
        message: str | None = None,
        *,
        fields: FieldMessages | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.fields = {name: list(messages) for name, messages in (fields or {}).items()}
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        super().__init__(self.message)


class BadRequest(DomainError):
    pass


class Unauthorized(DomainError):
    status, code = 401, "UNAUTHORIZED"
    default_message = "Authentication required. Please log in."

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.headers.setdefault("WWW-Authenticate", "Bearer")


class Forbidden(DomainError):
    status, code = 403, "FORBIDDEN"
    default_message = "You do not have permission to do this."


class NotFound(DomainError):
    status, code = 404, "NOT_FOUND"
    default_message = "Resource not found"


class MethodNotAllowed(DomainError):
    status, code = 405, "METHOD_NOT_ALLOWED"
    default_message = "Method not allowed"


class NotAcceptable(DomainError):
    status, code = 406, "NOT_ACCEPTABLE"
    default_message = "None of the representations that you accept can be made."


class Conflict(DomainError):
    status, code = 409, "CONFLICT"
    default_message = "This conflicts with what is stored."


class PreconditionFailed(DomainError):
    status, code = 412, "PRECONDITION_FAILED"
    default_message = "The record has changed since you read it."


class PayloadTooLarge(DomainError):
    status, code = 413, "PAYLOAD_TOO_LARGE"
    default_message = "The request body is too large."


class UnsupportedMediaType(DomainError):
    status, code = 415, "UNSUPPORTED_MEDIA_TYPE"
    default_message = "Unsupported media type"


class ValidationFailed(DomainError):
    """Well-formed but invalid values; ``fields`` carries all of them at once."""

    status, code = 422, "VALIDATION_ERROR"
    default_message = "Validation failed"


class RateLimited(DomainError):
    status, code = 429, "RATE_LIMIT_EXCEEDED"
    default_message = "Rate limit exceeded."

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        seconds = self.headers.get("Retry-After")
        if message is None and seconds is not None:
            self.message = f"{self.message} Try again in {seconds} second{'s'[: seconds != '1']}."


class ServiceUnavailable(DomainError):
    status, code = 503, "SERVICE_UNAVAILABLE"
    default_message = "The service is busy. Please try again."

    def __init__(self, message: str | None = None, *, retry_after: int = 1, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.headers.setdefault("Retry-After", str(retry_after))


class InternalError(DomainError):
    status, code = 500, "INTERNAL_ERROR"
    default_message = "Internal server error"


BY_STATUS: dict[int, type[DomainError]] = {
    cls.status: cls
    for cls in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable,
        Conflict, PreconditionFailed, PayloadTooLarge, UnsupportedMediaType, ValidationFailed,
        RateLimited, InternalError, ServiceUnavailable,
    )
}  # fmt: skip


def body(error: DomainError) -> dict[str, Any]:
    """The JSON body of a refusal, the same on every surface."""
    lines = [f"{name}: {text}" for name, texts in error.fields.items() for text in texts]
    return {
        "success": False,
        "message": error.message,
        "error_code": error.code,
        "errors": lines or [error.message],
        "fields": error.fields,
        "detail": error.message,
        "request_id": request_id.current(),
        "timestamp": clock.isoformat(clock.now()),
        **error.extra,
    }
