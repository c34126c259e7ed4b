"""Which host names are served: Django's ``ALLOWED_HOSTS``, asked once per name."""

from __future__ import annotations

from django.conf import settings
from django.http.request import split_domain_port, validate_host

_MOST = 256  # names that are remembered


class Hosts:
    """``host in hosts`` as ``HttpRequest.get_host`` would have it."""

    def __init__(self) -> None:
        allowed = list(settings.ALLOWED_HOSTS)
        if settings.DEBUG and not allowed:
            allowed = [".localhost", "127.0.0.1", "[::1]"]
        self._allowed = allowed
        self._served: set[str] = set()

    def __contains__(self, host: str) -> bool:
        if host in self._served:
            return True
        domain, _ = split_domain_port(host)
        if not domain or not validate_host(domain, self._allowed):
            return False
        if len(self._served) >= _MOST:
            self._served.clear()
        self._served.add(host)
        return True
