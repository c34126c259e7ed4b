"""From whatever was raised to the domain error that answers it; the only such place."""

from __future__ import annotations

import errno
import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    ValidationError,
)
from django.db import DatabaseError, DataError, IntegrityError, OperationalError
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions as drf

from core import errors

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
NON_FIELD = "non_field_errors"

# SQLSTATE: lock_not_available, deadlock, serialization, statement timeout, too many clients, shutdown.
_BUSY_STATES = {"55P03", "40P01", "40001", "57014", "53300", "57P01", "57P03"}


def domain_error(fault: BaseException) -> errors.DomainError | None:
    """The refusal that ``fault`` means to a client; None when it is a fault of ours."""
    if isinstance(fault, errors.DomainError):
        if isinstance(fault.__cause__, DatabaseError):
            let_go_of_cursors(fault.__cause__)
        return fault
    if isinstance(fault, drf.APIException):
        return _from_drf(fault)
    if isinstance(fault, Http404):
        return errors.NotFound()
    if isinstance(fault, PermissionDenied):
        return errors.Forbidden()
    if isinstance(fault, ValidationError):
        return errors.ValidationFailed(fields=_from_django_validation(fault))
    if isinstance(fault, RequestDataTooBig):
        return errors.PayloadTooLarge()
    if isinstance(fault, TooManyFieldsSent):
        return errors.BadRequest("The request has too many fields.")
    if isinstance(fault, (SuspiciousOperation, UnreadablePostError)):
        return errors.BadRequest()
    if isinstance(fault, OSError) and fault.errno in _FULL:
        logger.error("there is no room left: %s", fault)
        return errors.ServiceUnavailable("The server has no room left. Please try again later.", retry_after=60)
    if isinstance(fault, OperationalError):
        if is_too_complex(fault):
            return errors.BadRequest("This is too complex for the database.")
        if not is_busy(fault):
            return None
        let_go_of_cursors(fault)
        return errors.ServiceUnavailable(headers={"Retry-After": "1"})
    if isinstance(fault, IntegrityError):
        logger.warning("integrity error reached the boundary", exc_info=fault)
        let_go_of_cursors(fault)
        return errors.Conflict()
    if isinstance(fault, DataError):
        logger.warning("data error reached the boundary", exc_info=fault)
        let_go_of_cursors(fault)
        return errors.BadRequest("A value does not fit.")
    return None


def let_go_of_cursors(fault: BaseException) -> None:
    """Empty the frames that the error came through, here and now.

    Django's errors of the database are cycles, which would keep cursors for the garbage
    collector. That runs in any thread, and closing an SQLite cursor waits for its
    connection: the event loop stood still while a writer waited for the lock.
    """
    error: BaseException | None = fault
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__


def is_too_complex(fault: OperationalError) -> bool:
    """Whether a statement is beyond the limits of the database's own parser or planner (SQLSTATE class 54)."""
    state = getattr(fault.__cause__, "sqlstate", None)
    if state is not None:
        return str(state).startswith("54")
    text = str(fault)  # SQLite's: "too many SQL variables", "too many terms in …"
    return (
        "parser stack overflow" in text
        or "tree is too large" in text
        or "too many SQL" in text
        or "too many terms" in text
    )


def is_busy(fault: OperationalError) -> bool:
    """Whether the database could not answer in time: locked, deadlocked, out of connections."""
    state = getattr(fault.__cause__, "sqlstate", None)
    if state is not None:
        return state in _BUSY_STATES
    text = str(fault)
    return "is locked" in text or "schema has changed" in text or "connection" in text


def _from_drf(fault: drf.APIException) -> errors.DomainError:
    if isinstance(fault, drf.ValidationError):
        return errors.ValidationFailed(fields=flatten(fault.detail))
    headers: dict[str, str] = {}
    if wait := getattr(fault, "wait", None):  # Throttled, in seconds
        headers["Retry-After"] = str(int(wait) + 1)
    kind = errors.BY_STATUS.get(fault.status_code, errors.BadRequest)
    message = fault.detail if isinstance(fault.detail, str) else None
    if isinstance(fault, drf.NotAuthenticated):
        message = None  # our sentence, not DRF's
    return kind(message and str(message), headers=headers)


def flatten(detail: Any, name: str = "") -> dict[str, list[str]]:
    """Nested messages of serializers as ``{"address.city": ["Required."]}``."""
    if isinstance(detail, Mapping):
        found: dict[str, list[str]] = {}
        for key, inner in detail.items():
            for path, messages in flatten(inner, f"{name}.{key}" if name else str(key)).items():
                found.setdefault(path, []).extend(messages)
        return found
    if isinstance(detail, Sequence) and not isinstance(detail, str):
        found = {}
        for index, inner in enumerate(detail):
            inner_name = name if isinstance(inner, str) else f"{name}.{index}" if name else str(index)
            for path, messages in flatten(inner, inner_name).items():
                found.setdefault(path, []).extend(messages)
        return found
    return {name or NON_FIELD: [str(detail)]}


def _from_django_validation(fault: ValidationError) -> dict[str, list[str]]:
    if hasattr(fault, "error_dict"):
        return {NON_FIELD if name == "__all__" else name: messages for name, messages in fault.message_dict.items()}
    return {NON_FIELD: fault.messages}
