"""The timetable: what is done to both sides, and when. Seconds are those of a duel of a minute, and scale with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from demo.duel.side import Side

CHILD, WORKER, CONNECTIONS, SQL = "child", "worker", "connections", "sql"
TITLES = {
    CHILD: "a child is killed during a job",
    WORKER: "a worker is frozen, then killed",
    CONNECTIONS: "a worker's connections are cut",
    SQL: "SQL is stopped for {sql:.0f} s",
}
MINUTE = 60.0
SQL_STOPS, SQL_STARTS = 27.0, 37.0
LOAD_ENDS = 41.0


@dataclass(frozen=True)
class Step:
    """One thing that is done to both sides at the same time."""

    at: float
    fault: str
    act: Callable[[Side, str], None]


STEPS = (
    Step(5.0, CHILD, Side.kill_child),
    Step(11.0, WORKER, Side.freeze_worker),
    Step(14.0, WORKER, Side.kill_worker),
    Step(17.0, WORKER, Side.replace_worker),
    Step(22.0, CONNECTIONS, Side.cut_connections),
    Step(SQL_STOPS, SQL, Side.stop_sql),
    Step(SQL_STARTS, SQL, Side.start_sql),
)
BEGINS = {fault: min(step.at for step in STEPS if step.fault == fault) for fault in TITLES}


def title(fault: str, seconds: float) -> str:
    """What happens, for a duel of so many seconds."""
    return TITLES[fault].format(sql=(SQL_STARTS - SQL_STOPS) * seconds / MINUTE)
