"""Requests to providers: to the places that the operator set up and nowhere else, bounded in time and size."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from accounts.oauth import providers
from core import networks

logger = logging.getLogger("fastcms.oauth")

TIMEOUT = (5, 10)  # seconds to connect, and between two pieces of an answer
WHOLE_SECONDS = 15
MAX_BYTES = 1024 * 1024


class Refused(requests.RequestException):
    """The provider's answer is one that we don't go along with."""


class Session(requests.Session):
    """Follows no redirects, and takes passwords from no ``.netrc``.

    The environment may name an issuer anywhere. While a setting names one, nothing but the public internet
    is reached, by no proxy: where to go is what the issuer says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is
        if providers.is_issuer_set():
            self.trust_env = False
            for scheme in ("http://", "https://"):
                self.mount(scheme, _PublicOnly())

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


class _Public(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        timeout = self.timeout if isinstance(self.timeout, int | float) else None
        try:
            return networks.connect(self._dns_host, self.port or self.default_port, timeout)
        except OSError as fault:
            raise NewConnectionError(self, str(fault)) from fault


class _PublicTLS(_Public, HTTPSConnection):
    pass


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _Public


class _PublicTLSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTLS


class _PublicOnly(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTLSPool}


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
