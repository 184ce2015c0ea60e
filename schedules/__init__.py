"""When it runs: one timetable per domain, collected here."""

from penstock.scheduler.schedule import timetable
from schedules import housekeeping

TIMETABLE = timetable(housekeeping.SCHEDULES)
