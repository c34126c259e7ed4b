"""Which addresses of the internet anybody may be reached at.

Asked before the server connects to a place that somebody else has named. The tables are ours,
not ``ipaddress``'s ``is_global``, which differs between Python's versions and takes multicast,
translated and tunnelled addresses for global ones.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# IANA's special-purpose registry, multicast, reserved; and Azure's 168.63.129.16, which answers guests only.
_NOT_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
        "240.0.0.0/4",
    )
)  # fmt: skip
# Only what is given out to networks. Outside it are loopback, link-local and private addresses, and those that
# hold an IPv4 address: mapped, compatible, translated (64:ff9b::/96, 64:ff9b:1::/48).
_IPV6 = IPv6Network("2000::/3")
# Protocols' own (Teredo among them), documentation, 6to4, AS112.
_NOT_IPV6 = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    """Whether this is the address of somebody on the public internet; ValueError where it is no address."""
    found = ip_address(address) if isinstance(address, str) else address
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _NOT_IPV4)
    return found.scope_id is None and found in _IPV6 and not any(found in network for network in _NOT_IPV6)


class NotPublic(OSError):
    """Nobody on the public internet is called that."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is not on the public internet")


def connect(host: str, port: int, timeout: float | None) -> socket.socket:
    """A connection to whoever is called that now, at a public address; other addresses are not even tried.

    Raises NotPublic where there is no such address, and what the last of the others raised.
    """
    fault: OSError = NotPublic(host)
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not is_public(str(address[0])):
            continue
        connected = socket.socket(family, kind, protocol)
        try:
            connected.settimeout(timeout)
            connected.connect(address)
        except OSError as refused:
            connected.close()
            fault = refused
        else:
            return connected
    raise fault
