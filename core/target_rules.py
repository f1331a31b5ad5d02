"""Which URLs alerts may go to: for `core.settings` and for `monitor`. Pure; names are resolved by a callable that is
handed in.

A target's URL makes this server open connections, so it must not lead inside: only listed schemes and parameters, and
every address of its host must be public (ALERT_ALLOW_PRIVATE lifts that). Checked when a target is saved and before
each send; `monitor.alerting.channels` also looks at what is really connected to. No message here quotes the URL.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from core.errors import Malformed

Resolve = Callable[[str], Sequence[str]]
LONGEST: Final = 2_000
WHATSAPP: Final = "whatsapp"
MAIL: Final = frozenset({"from", "to", "cc", "bcc", "reply", "name", "user", "pass", "smtp", "mode"})
PARAMETERS: Final = {  # apprise has more, some of which fetch files, follow redirects or switch certificates off
    "mailto": MAIL,
    "mailtos": MAIL,
    "tgram": frozenset({"topic", "thread", "silent"}),
    "slack": frozenset({"to"}),
    "discord": frozenset({"thread"}),
    "ntfy": frozenset({"priority", "token", "auth"}),
    "ntfys": frozenset({"priority", "token", "auth"}),
    "json": frozenset[str](),  # beside `+Header=value`
    "jsons": frozenset[str](),
    WHATSAPP: frozenset[str](),
}
SERVICES: Final = frozenset({"tgram", "slack", "discord"})  # what stands where a host stands is a token
NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9_-]{0,62})(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
INSTANCE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
NUMBER: Final = re.compile(r"[0-9]{8,15}")
PRINTABLE: Final = re.compile(r"[!-\[\]-~]+")  # ASCII without spaces and the backslash, which some read as a slash
NAT64: Final = ip_network("64:ff9b::/96")
UNICAST: Final = ip_network("2000::/3")
INVALID, FORBIDDEN, UNRESOLVED = "ALERT_TARGET_INVALID", "ALERT_TARGET_FORBIDDEN", "ALERT_TARGET_UNRESOLVED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """`host`: whom we connect to, None where the scheme's own service is meant. `shown`: what may be shown of the URL.
    `instance` and `number`: of a WhatsApp target."""

    scheme: str
    shown: str
    host: str | None = None
    instance: str = ""
    number: str = ""


def check(url: str, *, resolve: Resolve, allow_private: bool) -> Place:
    """Raises Malformed, with the code INVALID, UNRESOLVED or FORBIDDEN."""
    place = read(url)
    if place.host is not None and not allow_private:
        try:
            addresses = resolve(place.host)
        except (OSError, UnicodeError):
            addresses = ()
        if not addresses:
            raise Malformed("The target's host has no address", code=UNRESOLVED)
        if not all(is_public(address) for address in addresses):
            raise Malformed("The target's host is not a public one (see ALERT_ALLOW_PRIVATE)", code=FORBIDDEN)
    return place


def read(url: str) -> Place:
    """What the URL says, without asking anybody. Raises Malformed (INVALID)."""
    if not PRINTABLE.fullmatch(url) or len(url) > LONGEST:
        raise _invalid("must be a URL of at most 2,000 printable characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid("is not a URL") from None
    if parts.scheme not in PARAMETERS:
        raise _invalid(f"must begin with one of {', '.join(f'{name}://' for name in sorted(PARAMETERS))}")
    given = _parameters(parts)
    if parts.scheme == WHATSAPP:
        return _whatsapp(parts)
    if parts.scheme in SERVICES or (parts.scheme in ("ntfy", "ntfys") and not parts.path.strip("/")):
        return Place(scheme=parts.scheme, shown=f"{parts.scheme}://…")
    host = given.get("smtp") or _host(parts)
    if not (NAME.fullmatch(host) or _is_address(host)):
        raise _invalid("has no host that can be read")
    return Place(scheme=parts.scheme, shown=f"{parts.scheme}://{host}", host=host)


def is_public(address: str) -> bool:
    """Whether it leads to the internet and nowhere else, also by way of an IPv4 address inside an IPv6 one."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast for one in _leads_to(found))


def _leads_to(found: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    if isinstance(found, IPv4Address):
        return (found,)
    if found.ipv4_mapped:
        return (found.ipv4_mapped,)
    if found in NAT64:
        return (IPv4Address(int(found) & 0xFFFFFFFF),)
    if found not in UNICAST:
        return (IPv6Address("::1"),)  # not given to anybody in the world
    return (found, *([found.sixtofour] if found.sixtofour else []))


def _parameters(parts: SplitResult) -> dict[str, str]:
    """By name, values as they are meant. Split at `;` too, as apprise does: nothing may hide behind one."""
    given: dict[str, str] = {}
    for pair in re.split("[&;]", parts.query) if parts.query else []:
        name, _, value = pair.partition("=")
        name = unquote(name).strip().lower()
        is_header = name.startswith("+") and parts.scheme in ("json", "jsons")
        if name in given or not (is_header or name in PARAMETERS[parts.scheme]):
            raise _invalid(f"has a parameter that {parts.scheme}:// does not take, or has it twice")
        given[name] = unquote(value)
    return given


def _host(parts: SplitResult) -> str:
    try:
        _ = parts.port
    except ValueError:
        raise _invalid("has a port that is none") from None
    if parts.netloc.count("@") > 1 or parts.fragment:
        raise _invalid("has an @ or # that must be written as %40 or %23")
    return unquote(parts.hostname or "")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _whatsapp(parts: SplitResult) -> Place:
    number = parts.path.strip("/").removeprefix("+")
    if not (INSTANCE.fullmatch(parts.netloc) and NUMBER.fullmatch(number)):
        raise _invalid("must look like whatsapp://<instance name>/<number with country>")
    shown = f"whatsapp://{parts.netloc}/{number[:4]}*****{number[-2:]}"
    return Place(scheme=WHATSAPP, shown=shown, instance=parts.netloc, number=number)


def _invalid(what: str) -> Malformed:
    return Malformed(f"The target {what}", code=INVALID)
