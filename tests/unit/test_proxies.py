"""Whose address a request has, and what it is counted as."""

from ipaddress import ip_network

import pytest

from bootstrap.limits import kind_of
from bootstrap.proxies import TrustedProxies, address_of, home_of, hops_to_caller, is_within

OURS = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"]
NETWORKS = [ip_network(network) for network in OURS]


def seen(peer, networks=OURS, **headers):
    """The address, scheme and host that the application sees."""
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_HOST": "z.example"}
    environ |= {f"HTTP_X_FORWARDED_{name.upper()}": value for name, value in headers.items()}
    found: list[object] = []

    def application(given, _):
        found.extend(given[name] for name in ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST"))
        return [b""]

    list(TrustedProxies(application, networks)(environ, lambda *_: lambda _: None))
    return tuple(found)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("127.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.1.2.3", "203.0.113.5, 10.9.9.9", "203.0.113.5"),
        ("10.1.2.3", "198.51.100.1, 203.0.113.5, 10.9.9.9", "203.0.113.5"),  # the first was written by the client
        ("10.1.2.3", "127.0.0.1, 203.0.113.5", "203.0.113.5"),
        ("10.1.2.3", "10.4.4.4, 10.9.9.9", "10.4.4.4"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.1.2.3", "203.0.113.5", "203.0.113.5"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("", "198.51.100.1", ""),
    ],
)
def test_a_proxy_of_ours_says_for_whom_it_asks_and_nobody_else(peer, forwarded, address):
    assert seen(peer, **{"for": forwarded}) == (address, "http", "z.example")


def test_without_proxies_of_ours_nobody_is_believed():
    assert seen("127.0.0.1", networks=[], **{"for": "203.0.113.5", "proto": "https"})[:2] == ("127.0.0.1", "http")


def test_the_scheme_is_taken_and_the_host_never():
    headers = {"for": "203.0.113.5", "proto": "https", "host": "localhost"}
    assert seen("10.1.2.3", **headers) == ("203.0.113.5", "https", "z.example")
    assert seen("203.0.113.9", **headers) == ("203.0.113.9", "http", "z.example")


@pytest.mark.parametrize(("forwarded", "hops"), [("", 1), ("x", 1), ("a, b", 1), ("10.0.0.1", 1), ("x, 10.0.0.1", 2)])
def test_odd_entries_end_the_chain(forwarded, hops):
    assert hops_to_caller(forwarded, NETWORKS) == hops


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:4711", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("unix:", "unknown"),
        ("x" * 5000, "unknown"),
    ],
)
def test_an_ipv6_customer_is_one_home(text, home):
    assert home_of(text) == home


def test_what_is_no_address_is_within_nothing():
    assert address_of("x") is None
    assert not is_within("x", NETWORKS)
    assert is_within("10.0.0.1:80", NETWORKS)


@pytest.mark.parametrize(
    ("method", "rule", "kind"),
    [
        ("GET", "/api/whatsapp/status", "read"),
        ("HEAD", "/api/whatsapp/status", "read"),
        ("GET", "/", "read"),
        ("DELETE", "/api/tokens/<uuid:token_id>", "write"),
        ("POST", "/api/whatsapp/disconnect", "write"),
        ("POST", "/api/ws/ticket", "write"),
        ("POST", "/api/whatsapp/connect", "connect"),
        ("POST", "/api/whatsapp/send", "send"),
        ("POST", "/api/tokens", "token"),
        ("GET", "/api/tokens", "read"),
        ("POST", "/login", "login"),
        ("GET", "/login", "read"),
        ("GET", "/login/<token>", "login"),
        ("HEAD", "/login/<token>", "login"),
        ("POST", "/api/webhook/test", None),
        ("GET", "/livez", None),
        ("GET", "/readyz", None),
        ("GET", "/health", None),
        ("GET", "/metrics", None),
        ("GET", "/ws", None),
        ("GET", "/ws/instances/<instance_id>", None),
        ("OPTIONS", "/api/whatsapp/send", None),
    ],
)
def test_what_a_request_is_counted_as(method, rule, kind):
    assert kind_of(method, rule) == kind
