"""Whose address a request has: the peer's, unless that is a proxy of ours, which says for whom it asks.

Only TRUSTED_PROXIES are believed, and of a chain of them each: the address is the last one that is none of ours. The
host is never taken from a header: a proxy passes `Host` on.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import structlog
from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()
FORWARDED = "HTTP_X_FORWARDED_FOR"
ONE_HOME = 64  # bits: an IPv6 customer has all addresses behind them


class TrustedProxies:
    """`application`, behind them. A stranger that says it is a proxy is told of once in the log."""

    def __init__(self, application: "WSGIApplication", networks: Iterable[str]) -> None:
        self._application = application
        self._networks = [ip_network(network) for network in networks]
        self._told = False

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        application = self._application
        if FORWARDED in environ:
            if is_within(environ.get("REMOTE_ADDR", ""), self._networks):
                hops = hops_to_caller(environ[FORWARDED], self._networks)
                application = ProxyFix(application, x_for=hops, x_proto=1, x_host=0)
            elif not self._told:
                self._told = True
                log.warning("proxy_not_trusted", peer=environ.get("REMOTE_ADDR"))
        return application(environ, start_response)


def hops_to_caller(forwarded: str, networks: Sequence[IPv4Network | IPv6Network]) -> int:
    """Which entry of X-Forwarded-For, counted from its end, is the first that none of our proxies has."""
    entries = [entry.strip() for entry in forwarded.split(",")]
    for place, entry in enumerate(reversed(entries), start=1):
        if not is_within(entry, networks):
            return place
    return len(entries)


def is_within(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    found = address_of(address)
    return found is not None and any(found in network for network in networks)


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """`203.0.113.5`, `203.0.113.5:4711`, `[2001:db8::1]:4711`, `::ffff:203.0.113.5`; None for what is none."""
    for candidate in (text, text.rpartition(":")[0]):
        try:
            found = ip_address(candidate.strip("[]"))
        except ValueError:
            continue
        return getattr(found, "ipv4_mapped", None) or found
    return None


def home_of(text: str) -> str:
    """Whom an address is counted as: an IPv6 one for all of its /64."""
    found = address_of(text)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, ONE_HOME), strict=False))
    return str(found or "unknown")
