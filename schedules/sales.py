"""The nightly sales report."""

from penstock.scheduler import Cron, schedule
from tasks import sales

SCHEDULES = (schedule("nightly sales", sales.nightly.bind(), Cron("0 2 * * *")),)
