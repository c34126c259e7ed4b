"""Requests to providers: to the places that the operator set up and nowhere else, bounded in time and size."""

from __future__ import annotations

import logging
import time
from typing import Any
from urllib.parse import urlsplit

import requests

logger = logging.getLogger("fastcms.oauth")

TIMEOUT = (5, 10)  # seconds to connect, and between two pieces of an answer
WHOLE_SECONDS = 15
MAX_BYTES = 1024 * 1024


class Refused(requests.RequestException):
    """The provider's answer is one that we don't go along with."""


class Session(requests.Session):
    """Follows no redirects, and takes passwords from no ``.netrc``."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is

    def request(self, method: Any, url: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        started = time.monotonic()
        kwargs |= {"timeout": TIMEOUT, "allow_redirects": False, "stream": True}
        with super().request(method, url, **kwargs) as answer:
            body = b""
            for piece in answer.iter_content(64 * 1024):
                body += piece
                if len(body) > MAX_BYTES or time.monotonic() - started > WHOLE_SECONDS:
                    raise Refused("the answer is too long or takes too long")
            answer._content = body
        if answer.is_redirect:
            raise Refused("redirects are not followed")
        word = _error(answer)
        if word or not answer.ok:
            place = urlsplit(url)
            logger.warning("%s%s answered %d %s", place.hostname, place.path, answer.status_code, word)
        return answer


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _error(answer: requests.Response) -> str:
    """The provider's own word for what is wrong (``invalid_client``); nothing else of it is fit for a log."""
    try:
        word = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    except RecursionError as fault:
        raise Refused("the answer is too deep") from fault
    return word[:60] if isinstance(word, str) and word.isprintable() else ""
