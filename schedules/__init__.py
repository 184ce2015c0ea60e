"""When it runs: one timetable per domain, collected here."""

from penstock.scheduler import timetable
from schedules import housekeeping, sales

TIMETABLE = timetable(housekeeping.SCHEDULES, sales.SCHEDULES)
