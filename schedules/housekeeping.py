"""The system's own upkeep."""

from penstock.scheduler.schedule import Cron, Every, Schedule
from tasks import housekeeping

HEARTBEAT_DAYS = 1

SCHEDULES = (
    Schedule(name="heartbeat", task=housekeeping.heartbeat, when=Every(5)),
    Schedule(
        name="retention",
        task=housekeeping.retain,
        when=Cron("15 3 * * *"),
        kwargs={"days_by_task": {housekeeping.heartbeat.name: HEARTBEAT_DAYS}},
    ),
)
