"""What the stop signals do: Ctrl-C, SIGTERM and the closing of the terminal all ask for the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Stop signals call ``handler`` while inside; one that is ignored (nohup) stays so.

    Outside of the main thread, where Python takes no signals, this does nothing.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@contextmanager
def deferred() -> Iterator[None]:
    """A stop signal that comes while inside takes effect at the end."""
    came: list[int] = []
    try:
        with handled(lambda number, _: came.append(number)):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


def interrupt(number: int, _: FrameType | None) -> None:
    """A handler that ends what is going on, as Ctrl-C does by default."""
    raise KeyboardInterrupt(signal.Signals(number).name)
