"""The relay: rows of committed transactions reach their queues, each once."""

from tests.outbox.ground import Ground


def test_rows_that_are_committed_are_published_in_their_order(ground: Ground) -> None:
    ground.put("a", "b", "c")
    assert ground.relay().turn() == 3
    assert (ground.ready, ground.waiting, ground.published) == (["a", "b", "c"], [], ["a", "b", "c"])
