"""Pages fetched by coroutines, against a real site on loopback."""

import asyncio
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from tasks.egress import EgressRefused, Unreachable
from tasks.http import MAX_BODY_BYTES
from tasks.pages import PageDelayed, fetch
from tasks.webhooks import UnexpectedStatus
from tests.tasks.conftest import Names
from tests.tasks.site import Reply, Site


def got(url: str) -> dict[str, object]:
    return asyncio.run(fetch(url))


def test_what_came_is_told(site: Site) -> None:
    site.replies = [Reply(body=b"hello")]
    found = got(site.url("/a?b=c"))
    assert (found["status"], found["bytes"], found["cut"], found["url"]) == (200, 5, False, site.url("/a?b=c"))
    assert found["sha256"] == hashlib.sha256(b"hello").hexdigest()
    (request,) = site.requests
    assert (request.method, request.path, request.headers["Host"]) == ("GET", "/a?b=c", f"127.0.0.1:{site.port}")


def test_many_are_fetched_at_once(site: Site) -> None:
    together = threading.Barrier(30, timeout=10)
    site.by_path = {f"/{number}": Reply(meet=together) for number in range(30)}

    async def all_of_them() -> list[dict[str, object]]:
        return await asyncio.gather(*(fetch(site.url(path)) for path in site.by_path))

    assert {found["status"] for found in asyncio.run(all_of_them())} == {200}


def test_a_redirect_is_followed_and_checked(site: Site) -> None:
    site.replies = [Reply(302, {"Location": "/other"}), Reply(body=b"there")]
    assert got(site.url("/one"))["url"] == site.url("/other")
    site.replies = [Reply(302, {"Location": "http://10.0.0.1/"})]
    with pytest.raises(EgressRefused, match=r"10\.0\.0\.1 \(private\), where HTTP tasks may not go"):
        got(site.url("/two"))


def test_a_private_address_is_refused_and_nothing_is_sent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKS_EGRESS_ALLOW")
    with pytest.raises(EgressRefused, match="where HTTP tasks may not go"):
        got(site.url())
    assert site.requests == []


def test_the_connection_goes_to_the_address_that_was_checked(names: Names) -> None:
    """A name that changes its answer after the check (DNS rebinding) is not asked again."""
    with Site().running() as checked, Site(address="127.0.0.2", port=checked.port).running() as other:
        names.answers["rebinding.example"] = [["127.0.0.1"], ["127.0.0.2"]]
        got(checked.url("/x", host="rebinding.example"))
    assert [request.path for request in checked.requests] == ["/x"]
    assert other.requests == []
    assert names.asked == ["rebinding.example"]


def test_the_next_address_is_tried_when_one_takes_no_connection(site: Site, names: Names) -> None:
    names.answers["two.example"] = [["127.0.0.9", "127.0.0.1"]]
    assert got(site.url(host="two.example"))["status"] == 200


def test_tls_verifies_the_name_and_not_the_address(secure_site: Site, names: Names) -> None:
    names.answers["shop.example"] = names.answers["other.example"] = [["127.0.0.1"]]
    assert got(secure_site.url(host="shop.example"))["status"] == 200
    with pytest.raises(Unreachable, match=r"other\.example"):
        got(secure_site.url(host="other.example"))
    assert len(secure_site.requests) == 1


@pytest.mark.parametrize(("status", "error"), [(503, PageDelayed), (429, PageDelayed), (404, UnexpectedStatus)])
def test_other_answers_are_errors_that_say_whether_to_try_again(site: Site, status: int, error: type) -> None:
    site.replies = [Reply(status)]
    with pytest.raises(error, match=f"answered {status}"):
        got(site.url())
    assert fetch.defaults.retry is not None
    assert issubclass(error, fetch.defaults.retry.on) is (error is PageDelayed)


def test_a_long_body_is_cut(site: Site) -> None:
    site.replies = [Reply(body=b"x" * (MAX_BODY_BYTES + 10))]
    found = got(site.url())
    assert (found["bytes"], found["cut"]) == (MAX_BODY_BYTES, True)


def test_a_body_that_ends_too_soon_is_no_answer(site: Site) -> None:
    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    site.replies = [Reply(send=half)]
    with pytest.raises(Unreachable, match="IncompleteRead"):
        got(site.url())


def test_a_body_in_chunks_is_put_together(site: Site) -> None:
    def chunks(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

    site.replies = [Reply(send=chunks)]
    assert got(site.url())["bytes"] == 3


def test_what_is_not_http_or_does_not_answer_is_unreachable(site: Site) -> None:
    site.replies = [Reply(send=lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n") and None)]
    with pytest.raises(Unreachable, match="SSH"):
        got(site.url())
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(Unreachable, match="Connect call failed"):
        got(url)
