"""The app of the beats and workers here: `celery -A tests.scheduler.live.app beat`."""

from penstock import Settings
from penstock.app import make_app
from tests.scheduler.live.timetables import chosen

app = make_app("tests", settings=Settings.load(), schedules=chosen())
