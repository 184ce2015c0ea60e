"""Waiting beside the loop of coroutines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_a_thread(call: Callable[..., T], *args: Any) -> T:
    """What waits for a server, beside the loop. Whoever awaits this has imported asyncio; others save its 20 ms."""
    import asyncio

    return await asyncio.to_thread(call, *args)
