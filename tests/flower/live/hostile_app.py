"""The app of deployments whose jobs mean harm: `celery -A tests.flower.live.hostile_app …`."""

from penstock import Settings
from penstock.app import make_app
from tests.flower.live import hostile_tasks as hostile_tasks

app = make_app("tests", settings=Settings.load())
