"""The app of the deployments that Flower's pages are tested on: `celery -A tests.flower.live.app …`."""

from penstock import Settings
from penstock.app import make_app
from tests.flower.live import tasks as tasks

app = make_app("tests", settings=Settings.load())
