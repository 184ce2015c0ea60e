"""One request to Flower, exactly as it is given: no redirection is followed, no cookie kept, no header made up."""

from __future__ import annotations

import base64
import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tests.flower.live.ground import PASSWORD

TOKEN = "a-token-of-this-test"
"""A form's token is whatever its cookie says as well."""
OWN_FORM = {"Cookie": f"_xsrf={TOKEN}", "X-XSRFToken": TOKEN}
"""What Flower's own scripts send with an action."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    text: str


def by_password(user: str, password: str = PASSWORD) -> dict[str, str]:
    """The header of basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def ask(
    url: str,
    path: str,
    method: str = "GET",
    *,
    fields: Mapping[str, str] | None = None,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    unix_socket: str | None = None,
) -> Answer:
    """Asks once.

    Args:
        url: Flower's.
        path: with its query, encoded.
        fields: of a form.
        body: in place of one.
        headers: all that are sent beside those of HTTP itself.
        unix_socket: the file that Flower listens at, in place of the address of ``url``.
    """
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    if unix_socket is not None:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(unix_socket)
    sent = urlencode(fields, doseq=True) if fields is not None else body or ""
    form = {"Content-Type": "application/x-www-form-urlencoded"} if fields is not None else {}
    try:
        connection.request(method, path, body=sent.encode() or None, headers={**form, **(headers or {})})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read().decode(errors="replace"))
    finally:
        connection.close()
