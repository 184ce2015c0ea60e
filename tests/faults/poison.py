"""Results and errors that are hard to store: large, or such as no database or no format takes."""

from __future__ import annotations

from tests.faults.ground import Ground
from tests.faults.scenario import POSTGRESQL, fault
from tests.faults.sides import LATE, OURS

BOTH = (LATE, OURS)
TEN_MB = 10 * 2**20
BOUND = 10.0


@fault(
    "poison",
    "three results of 10 MB",
    sides=BOTH,
    store=POSTGRESQL,
    bound=BOUND,
    not_reproducible="its child writes each by itself",
)
def large_results(ground: Ground) -> None:
    worker = ground.tried_worker(children=2)
    ground.watch_memory(worker, 30 * TEN_MB)
    ground.enqueue("bulky", TEN_MB, count=3)
    _others_work(ground)


@fault("poison", "NUL in a result", sides=BOTH, store=POSTGRESQL, bound=BOUND, not_reproducible="it stores bytes")
def nul_in_a_result(ground: Ground) -> None:
    ground.tried_worker()
    ground.enqueue("nul")
    _others_work(ground)


@fault("poison", "NUL in an error's text", sides=BOTH, store=POSTGRESQL, bound=BOUND)
def nul_in_an_error(ground: Ground) -> None:
    _fails(ground, "nul_error", "ValueError")


@fault(
    "poison",
    "a result that JSON has no form for",
    sides=BOTH,
    store=POSTGRESQL,
    bound=BOUND,
    not_reproducible="it stores the encoder's error",
)
def unserialisable_result(ground: Ground) -> None:
    _fails(ground, "unserialisable", "EncodeError")


@fault("poison", "an exception that cannot be pickled", sides=BOTH, store=POSTGRESQL, bound=BOUND)
def unpicklable_exception(ground: Ground) -> None:
    _fails(ground, "unpicklable", "_Unpicklable")


def _fails(ground: Ground, task: str, error: str) -> None:
    ground.tried_worker()
    ground.expect_error(error, *ground.enqueue(task))
    _others_work(ground)


def _others_work(ground: Ground) -> None:
    ground.strike(*ground.enqueue("work", count=3))
    ground.settle()
