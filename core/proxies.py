"""Who is calling, when proxies stand between: ``X-Forwarded-For`` read only as far as it is trusted."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


class Proxies:
    """The proxies whose word is taken, by address."""

    def __init__(self, networks: list[Network]) -> None:
        self._networks = networks
        self._remembered = lru_cache(4096)(self._client)

    def trusts(self, peer: str) -> bool:
        """Whether what this peer says of its clients is believed."""
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The nearest address that is not a trusted proxy, walking back from ``peer``.

        What stands left of it was written by strangers. An entry that is no address ends
        the walk: the client is then whoever handed it on.
        """
        is_short = len(forwarded_for) < 200  # strangers decide what is remembered
        return (self._remembered if is_short else self._client)(peer, forwarded_for)

    def _client(self, peer: str, forwarded_for: str) -> str:
        hops = forwarded_for.split(",")
        while hops and self.trusts(peer):
            address = _address(hops.pop())
            if address is None:
                break
            peer = str(address)
        return peer


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """``1.2.3.4``, ``1.2.3.4:80``, ``::1``, ``[::1]:80``; an IPv4 address wrapped in IPv6 is unwrapped."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
