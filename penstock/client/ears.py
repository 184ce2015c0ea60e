"""Hearing of ended jobs in a loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from penstock.client.publishing import publisher

if TYPE_CHECKING:
    from penstock.broker.hearing import AsyncEar


@asynccontextmanager
async def alistening(ids: Iterable[str]) -> AsyncIterator[AsyncEar]:
    """The ear of a task for these jobs, inside of the block."""
    hearing = await publisher().ahearing()
    from penstock.broker.hearing import AsyncEar

    ear = AsyncEar()
    with hearing.listening(ids, ear):
        yield ear
