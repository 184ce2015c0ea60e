"""The shop's app: `celery -A shop.workers worker`."""

import shop.tasks  # noqa: F401  declares what the workers run
from penstock import Settings
from penstock.app import make_app
from penstock.scheduler import Cron, Every, schedule
from shop.tasks import report

settings = Settings.load()
CONFIG = {"broker_url": "redis://production.invalid:6379/0", "task_always_eager": True}
"""What must never be reached from a test."""
app = make_app(
    "shop",
    settings=settings,
    config=CONFIG,
    schedules=[
        schedule("nightly", report.bind("sales of {fire_time:%d.%m.}"), Cron("30 2 * * *"), timezone="Europe/Berlin"),
        schedule("stock", report.bind("stock"), Every(6 * 3600)),
    ],
)
