"""Who runs it: makes the app that `celery -A workers …` finds."""

from penstock.app import exit_with_sentence, make_app
from penstock.config import Settings, load

with exit_with_sentence():
    import workers.lifecycle  # noqa: F401  connects itself to Celery's signals
    from schedules import TIMETABLE
    from tasks.config import TaskSettings
    from workers.profiles import PROFILES

    settings, _ = load(Settings, TaskSettings)
    app = make_app("workers", settings=settings, profiles=PROFILES, schedules=TIMETABLE)
