"""Stock Celery's producer; its worker is :mod:`benchmarks.side`."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.applications.stock import app
from benchmarks.applications.tasks import note
from benchmarks.peers import producer


def enqueue_many(slots: Sequence[int]) -> None:
    """The fastest way of kombu's; Celery itself does not use it."""
    with app.producer_or_acquire() as kombu, kombu.batch():
        for slot in slots:
            note.apply_async((slot,), producer=kombu)


if __name__ == "__main__":
    producer.serve(note.delay, enqueue_many)
