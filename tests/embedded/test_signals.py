"""What becomes of a stop signal."""

import signal
from collections.abc import Iterator

import pytest

from penstock.embedded import signals


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The handlers are as before at the end, whatever a test does."""
    before = {number: signal.getsignal(number) for number in signals.STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", signals.STOP_SIGNALS)
def test_it_reaches_the_handler_inside_and_the_former_one_afterwards(number: signal.Signals) -> None:
    came: list[str] = []
    signal.signal(number, lambda *_: came.append("outside"))
    with signals.handled(lambda *_: came.append("inside")):
        signal.raise_signal(number)
    signal.raise_signal(number)
    assert came == ["inside", "outside"]


def test_one_that_is_ignored_stays_ignored() -> None:
    """`nohup` does that."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    came: list[int] = []
    with signals.handled(lambda number, _: came.append(number)):
        signal.raise_signal(signal.SIGHUP)
    assert not came


def test_a_deferred_one_takes_effect_at_the_end() -> None:
    came: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: came.append("signal"))
    with signals.deferred():
        signal.raise_signal(signal.SIGTERM)
        came.append("work")
    assert came == ["work", "signal"]
