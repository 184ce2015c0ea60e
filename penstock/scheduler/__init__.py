"""When jobs start: schedules as data, their fires as rows, and any number of schedulers that share the work.

    schedule · arguments · timetables/   what is declared, and which times it plans
    planning                              what becomes of a planned time; no clock, no database
    firing · sending · publishing         one transaction for what is due; its jobs; their way to Redis
    following                             what comes after the job: fires that wait, failures in a row
    known                                 schedules that were read, ahead of their time
    foresight                             timetables that others have written, asked ahead of time
    declarations · changes · forecast     rows from declarations, changes at run time, what comes next
    turning · beat                        a scheduler's life, and Celery's way to start it
    crontab/                              declarations from a crontab

Importing this loads neither Celery nor SQLAlchemy.
"""

from penstock.scheduler.schedule import Schedule as Schedule
from penstock.scheduler.schedule import schedule as schedule
from penstock.scheduler.schedule import timetable as timetable
from penstock.scheduler.timetables.calendar import Calendar as Calendar
from penstock.scheduler.timetables.cron import Cron as Cron
from penstock.scheduler.timetables.foreign import Foreign as Foreign
from penstock.scheduler.timetables.interval import At as At
from penstock.scheduler.timetables.interval import Every as Every
