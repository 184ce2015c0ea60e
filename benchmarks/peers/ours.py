"""Penstock's producer, as an application is one; its worker is :mod:`benchmarks.side`."""

from __future__ import annotations

from collections.abc import Sequence

import penstock
from benchmarks.applications.declared import note
from benchmarks.applications.ours import app
from benchmarks.peers import producer


def enqueue_many(slots: Sequence[int]) -> None:
    """One call."""
    penstock.enqueue_many(note.bind(slot) for slot in slots)


if __name__ == "__main__":
    app.finalize()
    producer.serve(note.enqueue, enqueue_many)
