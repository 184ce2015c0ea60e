"""Who runs it: makes the app that `celery -A workers …` finds."""

import sys

import workers.lifecycle  # noqa: F401  connects itself to Celery's signals
from penstock.app import make_app
from penstock.config import Settings, load
from penstock.errors import PenstockError
from schedules import TIMETABLE
from tasks.config import TaskSettings
from workers.profiles import PROFILES

try:
    settings, _ = load(Settings, TaskSettings)
except PenstockError as error:
    # The command line shows an import error with its whole traceback; a person needs the sentences.
    sys.exit(f"penstock: {error}")

app = make_app("workers", settings=settings, profiles=PROFILES, schedules=TIMETABLE)
