"""When jobs start: schedules as data, their fires as rows, and any number of schedulers that share the work.

    schedule · cron · calendar · interval · foreign    what is declared, and which times it plans
    planning                                           what becomes of a planned time
    firing · following · publishing · beat             who does it: claims, what comes after the job, Celery's beat
    declarations · changes · forecast                  rows from declarations, changes at run time, what comes next

Importing this loads neither Celery nor SQLAlchemy.
"""

from penstock.scheduler.calendar import Calendar as Calendar
from penstock.scheduler.cron import Cron as Cron
from penstock.scheduler.foreign import Foreign as Foreign
from penstock.scheduler.interval import At as At
from penstock.scheduler.interval import Every as Every
from penstock.scheduler.schedule import Schedule as Schedule
from penstock.scheduler.schedule import schedule as schedule
from penstock.scheduler.schedule import timetable as timetable
