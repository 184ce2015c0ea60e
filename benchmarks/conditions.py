"""What a run waits for, and how it says that it says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class BenchmarkError(Exception):
    """The run says nothing: something did not start, did not end, or was not what it claimed to be."""


def wait_for(condition: Callable[[], T], what: str, timeout: float, pause: float = 0.01) -> T:
    """The first truthy value of ``condition``, which is asked each ``pause`` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not within {timeout:g} s: {what}")
        time.sleep(pause)
    return value
