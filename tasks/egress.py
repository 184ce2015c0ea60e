"""Where HTTP tasks may go. Whoever enqueues a job names a URL; this keeps it out of the private network.

The rule: only http and https, no credentials in the URL, no odd spellings of a host. The name is resolved
here, once, and every address that is not public is dropped unless ``TASKS_EGRESS_ALLOW`` names its network.
The connection then goes to one of the addresses that are left (``tasks.http``) and the name is never
resolved again, so a name that changes its answer between check and use gains nothing. Redirects are new
URLs and are checked anew.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}

#: IANA's special-purpose registries, written out: the ``is_private`` of ``ipaddress`` differs between
#: Python releases.
NOT_PUBLIC: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
    )
)
PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_BRACKETED = re.compile(r"\[[^\[\]]*\](:[0-9]+)?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class EgressRefused(Exception):
    """The URL is malformed or leads to where HTTP tasks may not go; nothing was sent. Correct the URL."""


class Unreachable(Exception):
    """The name has no address, or nothing answered in time. It may be better later."""


@dataclass(frozen=True)
class Target:
    """A URL that may be requested, and at which addresses; nobody parses or resolves it again."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query; what stands in the request line."""
    addresses: tuple[str, ...] = ()

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL in its plain form."""
        return f"{self.scheme}://{self.authority}{self.path}"


def resolve(url: str, allow: Sequence[Network] = ()) -> Target:
    """The target of ``url`` with the addresses at which it may be requested.

    Args:
        allow: networks that are not public and may be reached all the same.

    Raises:
        EgressRefused: the URL is malformed, or every address of its host is forbidden.
        Unreachable: the host has no address.
    """
    target = parse(url)
    found = _addresses(target)
    permitted = [str(address) for address in found if _why_refused(address, allow) is None]
    if not permitted:
        listed = ", ".join(f"{address} ({_why_refused(address, allow)})" for address in found)
        raise EgressRefused(
            f"{target.host} leads to {listed}, where HTTP tasks may not go; use a public host, or add the "
            "network to TASKS_EGRESS_ALLOW"
        )
    return Target(target.scheme, target.host, target.port, target.path, tuple(permitted))


def parse(url: str) -> Target:
    """The parts of ``url``, without looking its host up.

    Raises:
        EgressRefused: it is not a plain http:// or https:// URL.
    """
    _check_text(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressRefused(f"the URL cannot be read ({error}); write https://host/path") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise EgressRefused(f"the URL's scheme is {parts.scheme!r}; only http and https are requested")
    if "@" in parts.netloc:
        raise EgressRefused(
            "the URL carries credentials, which would be kept with the job; leave out what is before the @"
        )
    if port == 0 or parts.netloc.endswith(":"):
        raise EgressRefused("the URL's port is missing or 0; leave out the colon or name a port from 1 to 65535")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, _host(parts), port or DEFAULT_PORTS[parts.scheme], path)


def _check_text(url: str) -> None:
    # Before urlsplit, which silently removes tabs and line breaks and would let another text be checked
    # than is sent.
    if not isinstance(url, str) or not url:
        raise EgressRefused(f"the URL is {url!r}; give a text such as https://example.com/path")
    if len(url) > MAX_URL_LENGTH:
        raise EgressRefused(f"the URL has {len(url)} characters, more than {MAX_URL_LENGTH}")
    if not all("!" <= character <= "~" for character in url):
        raise EgressRefused(
            "the URL contains white space, control characters or letters beyond ASCII; percent-encode the "
            "path and write the host in its xn-- form"
        )
    if "\\" in url:
        raise EgressRefused("the URL contains a backslash, which programs read differently; write / or %5C")


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        # Python's parser takes [::1]anything as ::1.
        if not _BRACKETED.fullmatch(parts.netloc):
            raise EgressRefused(f"{parts.netloc!r} is not an IPv6 address in brackets and a port")
        return str(_ipv6_literal(host))
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return str(_ipv4_literal(host))
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise EgressRefused(f"{host!r} is not a host name")
    return ".".join(labels)


def _ipv6_literal(host: str) -> ipaddress.IPv6Address:
    if "%" in host:
        raise EgressRefused(f"[{host}] names a network interface; HTTP tasks reach no link-local addresses")
    try:
        return ipaddress.IPv6Address(host)
    except ValueError:
        raise EgressRefused(f"[{host}] is not an IPv6 address") from None


def _ipv4_literal(host: str) -> ipaddress.IPv4Address:
    """Only the plain form: C libraries also read 127.1, 0x7f000001, 017700000001 and 2130706433 as hosts."""
    try:
        return ipaddress.IPv4Address(host)
    except ValueError:
        raise EgressRefused(f"{host!r} is not a plain IPv4 address; write four decimal numbers from 0 to 255") from None


def _addresses(target: Target) -> list[Address]:
    try:
        answers = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{target.host} has no address ({error})") from error
    # The zone that a resolver may add to a link-local address says nothing about where it leads.
    found = [ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
    return list(dict.fromkeys(found))


def _why_refused(address: Address, allow: Sequence[Network]) -> str | None:
    """The kind of address that makes it forbidden, or None."""
    embedded = _embedded(address)
    if _within(address, allow) or (embedded is not None and _within(embedded, allow)):
        return None
    if embedded is not None:
        kind = _why_refused(embedded, ())
        return f"carries {embedded}, {kind}" if kind else None
    for network, kind in NOT_PUBLIC:
        if address.version == network.version and address in network:
            return kind
    if address.version == 6 and address not in PUBLIC_IPV6:
        return "reserved"
    return None


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address at which a packet to this IPv6 address would arrive in the end."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address in NAT64 or (address in IPV4_COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
