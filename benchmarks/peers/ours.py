"""Penstock's producer, as an application is one; its worker is :mod:`benchmarks.side`.

``coroutine`` as its argument: of the task that is one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import penstock
from benchmarks.applications.ours import app
from benchmarks.peers import producer

if sys.argv[1:] == ["coroutine"]:
    from benchmarks.applications.coroutines import note
else:
    from benchmarks.applications.declared import note


def enqueue_many(slots: Sequence[int]) -> None:
    """One call."""
    penstock.enqueue_many(note.bind(slot) for slot in slots)


if __name__ == "__main__":
    app.finalize()
    producer.serve(note.enqueue, enqueue_many)
