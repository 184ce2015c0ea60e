"""The app of a deployment with schedules: `celery -A tests.flower.live.scheduled_app …`."""

from __future__ import annotations

from datetime import date

from penstock import Settings
from penstock.app import make_app
from penstock.scheduler import Cron, Every, schedule
from tests.flower.live.tasks import add, fail, wait_at_gate

SECOND, HOUR = Every(1), Every(3600)
BERLIN = "Europe/Berlin"

app = make_app(
    "tests",
    settings=Settings.load(),
    schedules=[
        schedule("ticks", add.bind(1), SECOND, overlap="allow", tags=["often"]),
        schedule("held", wait_at_gate.bind(), SECOND, overlap="skip"),
        schedule("punctual", add.bind(2), HOUR, catch_up="none"),
        schedule("hourly", add.bind(3), HOUR),
        schedule("by hand", fail.bind("no such customer", password="open sesame"), HOUR),
        schedule("late", add.bind(5), HOUR, catch_up="all"),
        schedule(
            "monthly sales/Berlin",
            add.bind(4),
            Cron("0 4 1 * *"),
            timezone=BERLIN,
            overlap="buffer one",
            jitter=60.0,
            max_fires=500,
            exclude=[date(2030, 12, 24)],
            tags=["monthly"],
        ),
    ],
)
