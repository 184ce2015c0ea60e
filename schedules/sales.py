"""The nightly sales report."""

from penstock.scheduler.schedule import Cron, Schedule
from tasks import sales

SCHEDULES = (Schedule(name="nightly sales", task=sales.nightly, when=Cron("0 2 * * *")),)
