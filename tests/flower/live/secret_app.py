"""The app of deployments whose jobs hold secrets: `celery -A tests.flower.live.secret_app …`."""

from penstock import Settings
from penstock.app import make_app
from tests.flower.live import secret_tasks as secret_tasks

app = make_app("tests", settings=Settings.load())
