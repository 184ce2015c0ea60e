"""The worker's side of its keeper, without a keeper."""

import time
from typing import Any

from kombu.asynchronous import Hub

from penstock.engine.attempts import Attempt
from penstock.engine.link import REPORT_SECONDS, KeeperLink
from penstock.engine.reporting.attempt import Packet


def test_an_event_loop_hears_the_keeper_at_once() -> None:
    """Nobody watches here: a job that follows from another would wait so long for its answer."""
    news: list[dict[str, Any]] = []
    link, hub = KeeperLink({}, news.append), Hub()
    link.open()
    link.join(hub)
    assert link._theirs is not None
    link._theirs.send(b'{"started":[["token","won"]]}\n')
    loop = hub.create_loop()
    while not news:
        next(loop)
    assert news == [{"started": [["token", "won"]]}]
    hub.close()


def test_an_event_loop_forgets_a_keeper_that_is_gone() -> None:
    """The worker's children hold its socket as well, so the system would tell of it for ever."""
    link, hub = KeeperLink({}, lambda _: None), Hub()
    link.open()
    link.join(hub)
    (listened_to,) = hub.readers
    link._close_socket()
    assert listened_to not in hub.readers
    hub.close()


def test_what_a_body_says_and_how_it_ended_never_waits_for_a_keeper_that_stands_still() -> None:
    """Whoever hands it over has a lock that all bodies of the process want."""
    link = KeeperLink({}, lambda _: None)
    link.open()
    packet = Packet("1", 1, "w:1", 0, (1.0, None, "x" * 1000, 1.0), None, (), is_repeated=False)
    began = time.monotonic()
    while link.hand_over(packet):
        pass
    link.tell_attempt(Attempt("t", "1:1:0", True, "down"))
    assert not link.hand_over(packet)
    assert time.monotonic() - began < REPORT_SECONDS / 2
