"""The worker's side of its keeper, without a keeper."""

from typing import Any

from kombu.asynchronous import Hub

from penstock.engine.link import KeeperLink


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
