"""Requests by the egress rule, against real servers on loopback."""

import ipaddress
import os
import socket
import time
from http.server import BaseHTTPRequestHandler

import pytest

from tasks import http
from tasks.egress import EgressRefused, Unreachable
from tests.tasks.conftest import Names
from tests.tasks.site import Reply, Site

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def test_the_connection_goes_to_the_address_that_was_checked(names: Names) -> None:
    """A name that changes its answer after the check (DNS rebinding) is not asked again."""
    with (
        Site().running() as checked,
        Site(address="127.0.0.2", port=checked.port).running() as other,
    ):
        names.answers["rebinding.example"] = [["127.0.0.1"], ["127.0.0.2"]]
        http.request("GET", checked.url("/x", host="rebinding.example"), allow=LOOPBACK)
    assert [request.path for request in checked.requests] == ["/x"]
    assert other.requests == []
    assert names.asked == ["rebinding.example"]


def test_the_server_is_told_the_name_and_the_port(site: Site, names: Names) -> None:
    names.answers["shop.example"] = [["127.0.0.1"]]
    http.request("GET", site.url("/path?query=1", host="shop.example"), allow=LOOPBACK)
    (request,) = site.requests
    assert (request.path, request.headers["Host"]) == ("/path?query=1", f"shop.example:{site.port}")


def test_tls_verifies_the_name_and_not_the_address(secure_site: Site, names: Names) -> None:
    names.answers["shop.example"] = names.answers["other.example"] = [["127.0.0.1"]]
    assert http.request("GET", secure_site.url(host="shop.example"), allow=LOOPBACK).status == 200
    with pytest.raises(Unreachable, match=r"not valid for 'other\.example'"):
        http.request("GET", secure_site.url(host="other.example"), allow=LOOPBACK)
    assert len(secure_site.requests) == 1


def test_an_untrusted_certificate_is_refused(secure_site: Site, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    names.answers["shop.example"] = [["127.0.0.1"]]
    with pytest.raises(Unreachable, match="self-signed certificate"):
        http.request("GET", secure_site.url(host="shop.example"), allow=LOOPBACK)


def test_a_connection_is_used_again(site: Site) -> None:
    for _ in range(3):
        http.request("GET", site.url(), allow=LOOPBACK)
    assert len({request.client_port for request in site.requests}) == 1


def test_the_next_address_is_tried_when_one_takes_no_connection(site: Site, names: Names) -> None:
    names.answers["two.example"] = [["127.0.0.9", "127.0.0.1"]]
    answer = http.request("POST", site.url(host="two.example"), allow=LOOPBACK, body=b"x")
    assert answer.status == 200
    assert [request.body for request in site.requests] == [b"x"]


def test_an_answer_that_broke_off_is_not_asked_for_again(site: Site, names: Names) -> None:
    """Not even at another address: the server may have done what it was asked to do."""
    names.answers["two.example"] = [["127.0.0.1", "127.0.0.2"]]
    site.replies = [Reply(send=lambda _: None)]
    with (
        Site(address="127.0.0.2", port=site.port).running() as other,
        pytest.raises(Unreachable, match="closed connection without response"),
    ):
        http.request("POST", site.url(host="two.example"), allow=LOOPBACK, body=b"x")
    assert len(site.requests) == 1
    assert other.requests == []


def test_redirects_are_followed_and_counted(site: Site) -> None:
    for step in range(5):
        site.by_path[f"/{step}"] = Reply(302, {"Location": f"/{step + 1}"})
    assert http.fetch(site.url("/0"), LOOPBACK).url == site.url("/5")
    site.by_path["/5"] = Reply(308, {"Location": "/0"})
    with pytest.raises(EgressRefused, match="more than 5 redirects"):
        http.fetch(site.url("/0"), LOOPBACK)


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("http://10.0.0.1/", "private"),
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("//[::1]/", "loopback"),
        ("file:///etc/passwd", "scheme"),
        ("http://user@127.0.0.1/", "credentials"),
        ("http://[", "cannot be read"),
        ("http://0x7f000001/", "plain IPv4"),
    ],
)
def test_a_redirect_to_where_a_url_may_not_lead_is_refused(site: Site, location: str, complaint: str) -> None:
    site.replies = [Reply(302, {"Location": location})]
    with pytest.raises(EgressRefused, match=complaint):
        http.fetch(site.url(), LOOPBACK)
    assert len(site.requests) == 1


def test_a_redirect_to_a_name_with_a_private_address_is_refused(site: Site, names: Names) -> None:
    names.answers["intranet.example"] = [["10.0.0.7"]]
    site.replies = [Reply(301, {"Location": "http://intranet.example/"})]
    with pytest.raises(EgressRefused, match=r"intranet\.example leads to 10\.0\.0\.7"):
        http.fetch(site.url(), LOOPBACK)


def test_a_large_body_is_read_up_to_its_bound(site: Site) -> None:
    site.replies = [Reply(body=b"x" * (http.MAX_BODY_BYTES + 1)), Reply(body=b"x" * http.MAX_BODY_BYTES)]
    cut, whole = (http.request("GET", site.url(), allow=LOOPBACK) for _ in range(2))
    assert (len(cut.body), cut.is_cut) == (http.MAX_BODY_BYTES, True)
    assert (len(whole.body), whole.is_cut) == (http.MAX_BODY_BYTES, False)


def test_a_body_that_drips_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte arrives within the read timeout; only the whole takes too long."""
    monkeypatch.setattr(http, "BODY_SECONDS", 0.2)
    site.replies = [Reply(send=_drip)]
    with pytest.raises(Unreachable, match="took longer than"):
        http.request("GET", site.url(), allow=LOOPBACK)


def _drip(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        handler.wfile.write(b"x")
        time.sleep(0.02)


def test_a_server_that_says_nothing_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreachable, match="timed out"):
        http.request("GET", f"http://127.0.0.1:{silent.getsockname()[1]}/", allow=LOOPBACK)


def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable, match="Connection refused"):
        http.request("GET", f"http://127.0.0.1:{port}/", allow=LOOPBACK)


def test_what_is_not_http_is_unreachable(site: Site) -> None:
    site.replies = [Reply(send=lambda handler: handler.wfile.write(b"220 mail.example\r\n\r\n") and None)]
    with pytest.raises(Unreachable, match="220 mail"):
        http.request("GET", site.url(), allow=LOOPBACK)


def test_a_forked_child_opens_a_pool_of_its_own(site: Site) -> None:
    http.request("GET", site.url(), allow=LOOPBACK)
    child = os.fork()
    if child == 0:
        os._exit(0 if http._pool is None and http.request("GET", site.url(), allow=LOOPBACK) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    http.request("GET", site.url(), allow=LOOPBACK)
    first, of_child, second = (request.client_port for request in site.requests)
    assert first == second != of_child
