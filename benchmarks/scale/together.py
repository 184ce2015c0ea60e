"""Several processes of our side that do the same at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from benchmarks.harness import OURS, Bench, Caller
from benchmarks.servers import Server

T = TypeVar("T")


@contextmanager
def callers(bench: Bench, servers: Sequence[Server]) -> Iterator[list[Caller]]:
    """A process for each server that is given; a server may be given several times."""
    with ExitStack() as stack:
        yield [stack.enter_context(bench.caller(OURS, server)) for server in servers]


def call_all(callers: Sequence[Caller], function: Callable[..., T], arguments: Sequence[Mapping[str, Any]]) -> list[T]:
    """What each returns."""
    with ThreadPoolExecutor(len(callers)) as pool:
        return list(pool.map(lambda each: each[0].call(function, **each[1]), zip(callers, arguments, strict=True)))
