"""The egress rule: where HTTP tasks may go."""

import ipaddress

import pytest

from tasks.egress import EgressRefused, Unreachable, parse, resolve
from tests.tasks.conftest import Names

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "unspecified"),  # noqa: S104
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("169.254.169.254", "link-local"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("192.0.2.1", "documentation"),
        ("198.18.0.1", "benchmarking"),
        ("[::1]", "loopback"),
        ("[::]", "unspecified"),
        ("[fe80::1]", "link-local"),
        ("[fc00::1]", "private"),
        ("[fd12:3456::1]", "private"),
        ("[fec0::1]", "private"),
        ("[ff02::1]", "multicast"),
        ("[2001:db8::1]", "documentation"),
        ("[2001::1]", "reserved"),
        ("[100::1]", "reserved"),
        ("[4000::1]", "reserved"),
        ("[64:ff9b:1::a00:1]", "reserved"),
        ("[::ffff:127.0.0.1]", "carries 127.0.0.1, loopback"),
        ("[::ffff:a9fe:a9fe]", "carries 169.254.169.254, link-local"),
        ("[::7f00:1]", "carries 127.0.0.1, loopback"),
        ("[64:ff9b::10.0.0.1]", "carries 10.0.0.1, private"),
        ("[2002:7f00:1::]", "carries 127.0.0.1, loopback"),
        ("[2002:c0a8:101::1]", "carries 192.168.1.1, private"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str, kind: str) -> None:
    with pytest.raises(EgressRefused, match=f"\\({kind}\\)"):
        resolve(f"http://{address}/")


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "172.32.0.1",
        "100.128.0.1",
        "[2606:4700::1111]",
        "[64:ff9b::808:808]",
        "[2002:808:808::1]",
    ],
)
def test_a_public_address_is_permitted(address: str) -> None:
    assert resolve(f"https://{address}/").addresses == (address.strip("[]"),)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]"])
def test_a_private_network_that_is_allowed_can_be_reached(host: str) -> None:
    assert len(resolve(f"http://{host}:8080/x?y", LOOPBACK).addresses) == 1


def test_allowing_one_network_allows_no_other() -> None:
    with pytest.raises(EgressRefused, match="private"):
        resolve("http://10.0.0.1/", LOOPBACK)


def test_a_name_is_judged_by_its_addresses(names: Names) -> None:
    names.answers["intranet.example.com"] = [["10.0.0.7", "192.168.0.7"]]
    with pytest.raises(EgressRefused, match=r"10\.0\.0\.7 \(private\), 192\.168\.0\.7 \(private\)"):
        resolve("http://intranet.example.com/")


def test_of_a_name_with_public_and_private_addresses_only_the_public_ones_are_used(names: Names) -> None:
    names.answers["both.example.com"] = [["10.0.0.7", "93.184.216.34", "127.0.0.1"]]
    assert resolve("http://both.example.com/").addresses == ("93.184.216.34",)


def test_localhost_is_loopback() -> None:
    with pytest.raises(EgressRefused, match="loopback"):
        resolve("http://localhost/")


def test_a_name_without_an_address_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"nowhere\.invalid has no address"):
        resolve("http://nowhere.invalid/")


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.1",
        "1.0x",
        "127.0.0.256",
    ],
)
def test_an_odd_spelling_of_an_ipv4_address_is_refused(host: str) -> None:
    """C libraries read each of these as an address; who reads it otherwise is fooled."""
    with pytest.raises(EgressRefused, match="not a plain IPv4 address"):
        resolve(f"http://{host}/", LOOPBACK)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "give a text"),
        (None, "give a text"),
        ("example.com", "scheme"),
        ("//example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://example.com/", "scheme"),
        ("ftp://example.com/", "scheme"),
        ("http:///path", "not a host name"),
        ("http://?x", "not a host name"),
        ("http://user:password@example.com/", "credentials"),
        ("http://example.com@127.0.0.1/", "credentials"),
        ("http://@example.com/", "credentials"),
        ("http://example.com\\@127.0.0.1/", "backslash"),
        ("http://example.com/\r\nHost: evil", "white space"),
        ("http://exa\tmple.com/", "white space"),
        (" http://example.com/", "white space"),
        ("http://example.com/\x00", "control characters"),
        ("http://bücher.example/", "beyond ASCII"),
        ("http://\uff11\uff12\uff17.0.0.1/", "beyond ASCII"),
        ("http://example.com:0/", "port"),
        ("http://example.com:/", "port"),
        ("http://example.com:65536/", "cannot be read"),
        ("http://example.com:80a/", "cannot be read"),
        ("http://[::1/", "cannot be read"),
        ("http://[::1]x/", "in brackets and a port"),
        ("http://[fe80::1%25eth0]/", "network interface"),
        ("http://[v1.x]/", "not an IPv6 address"),
        ("http://127.0.0.1%2f/", "not a host name"),
        ("http://%31%32%37.0.0.1/", "not a plain IPv4 address"),
        ("http://-x.example.com/", "not a host name"),
        ("http://a..b/", "not a host name"),
        (f"http://{'a' * 64}.com/", "not a host name"),
        (f"http://example.com/{'a' * 2048}", "more than 2048"),
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(EgressRefused, match=complaint):
        parse(url)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("HTTP://EXAMPLE.com", "http://example.com/"),
        ("https://example.com.:443/a?b=c#d", "https://example.com/a?b=c"),
        ("http://example.com:8080//x", "http://example.com:8080//x"),
        ("http://[2606:4700:0:0::1111]:81/", "http://[2606:4700::1111]:81/"),
        ("http://xn--bcher-kva.example?q", "http://xn--bcher-kva.example/?q"),
    ],
)
def test_a_url_is_brought_into_its_plain_form(url: str, plain: str) -> None:
    assert parse(url).url == plain


def test_a_trailing_dot_does_not_hide_a_name(names: Names) -> None:
    names.answers["intranet"] = [["10.0.0.7"]]
    with pytest.raises(EgressRefused, match="private"):
        resolve("http://intranet./")
