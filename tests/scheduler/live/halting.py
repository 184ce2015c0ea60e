"""The same app, whose beat halts at a step of its work: `celery -A tests.scheduler.live.halting beat`."""

from tests.scheduler.live.app import app as app
from tests.scheduler.live.steps import prepare

prepare()
