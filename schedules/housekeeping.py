"""The system's own upkeep."""

from penstock.scheduler import Cron, Every, schedule
from tasks import housekeeping

HEARTBEAT_DAYS = 1

SCHEDULES = (
    # One that was missed says nothing later that the next one does not.
    schedule("heartbeat", housekeeping.heartbeat.bind(), Every(5), catch_up="none"),
    schedule(
        "retention",
        housekeeping.retain.bind(days_by_task={housekeeping.heartbeat.name: HEARTBEAT_DAYS}),
        Cron("15 3 * * *"),
    ),
)
