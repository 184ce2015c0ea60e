"""A keeper's turn: however much bodies say of themselves, it comes to an end, and the lease is renewed."""

import json
import os
import socket
from typing import Any

from penstock.engine.keeper import MOST_REPORTS, Keeper


class Talkative:
    """Takes what a body says, which says the next thing meanwhile."""

    def __init__(self, body: socket.socket) -> None:
        self._body = body
        self.heard = 0

    def take(self, words: dict[str, Any]) -> None:
        self.heard += 1
        assert self.heard <= MOST_REPORTS, "the keeper listens for ever"
        self._body.send(json.dumps(words).encode())


class Attentive:
    """Takes what it is told, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def take(self, words: dict[str, Any]) -> None:
        self.heard += words


def test_a_body_that_never_stops_talking_does_not_keep_the_keeper_from_its_duties() -> None:
    link, _worker = socket.socketpair()
    reports, body = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    keeper = Keeper(link, reports, parent=os.getppid())
    keeper._outcomes = outcomes = Talkative(body)  # type: ignore[assignment]
    body.send(b'{"note": {}}')
    keeper._read_reports()
    assert outcomes.heard == MOST_REPORTS
    for each in (link, _worker, reports, body):
        each.close()


def test_what_a_body_has_said_is_taken_before_the_word_of_its_end() -> None:
    link, worker = socket.socketpair()
    reports, body = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    keeper = Keeper(link, reports, parent=os.getppid())
    keeper._outcomes = outcomes = Attentive()  # type: ignore[assignment]
    body.send(b'{"note": "said"}')
    worker.send(b'{"record": "ended"}\n')
    keeper._read()
    assert outcomes.heard == ["note", "record"]
    for each in (link, worker, reports, body):
        each.close()
