"""What both tracers are tested in: a process in which jobs run as in a worker's child."""

from collections.abc import Iterator

import pytest
from celery import signals
from celery.app import trace

from penstock.ledger import backend


@pytest.fixture
def _in_a_child() -> Iterator[None]:
    """The ledger's backend leaves starts and silent ends to whoever runs the job, and tasks run as in workers."""
    backend.leave_to_tracer()
    trace._install_stack_protection()
    yield
    trace.reset_worker_optimizations()
    signals.task_prerun.connect(backend._on_prerun, weak=False)
    signals.task_postrun.connect(backend._on_postrun, weak=False)
