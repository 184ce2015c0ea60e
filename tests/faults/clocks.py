"""W23: a host whose clock is wrong."""

from __future__ import annotations

from tests.faults.ground import Ground
from tests.faults.scenario import fault
from tests.faults.sides import LATE, OURS

AHEAD = 3_700


@fault("W23", "a worker whose clock is an hour ahead joins while jobs run", sides=(LATE, OURS))
def clock_an_hour_ahead(ground: Ground) -> None:
    gate = ground.gate()
    ground.worker(children=2)
    jobs = ground.enqueue("until", gate, count=2)
    ground.started(*jobs)
    ground.worker(children=2, **ground.clock_ahead(AHEAD))
    ground.watch(*jobs, seconds=12)
    ground.open(gate)
    ground.settle()
