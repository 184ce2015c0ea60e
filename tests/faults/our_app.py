"""The application of our side: the same plain Celery app, adopted."""

import json
import os
from dataclasses import replace
from datetime import timedelta

from celery import Celery

import penstock
from penstock.engine import child
from penstock.ledger.backend import LedgerBackend
from penstock.scheduler.declarations import from_entry
from tests.faults.tasks import declare, hold_after_claim, hold_before_commit
from tests.faults.timetable import declare_schedules

app = Celery("faults")
app.conf.update(json.loads(os.environ["FAULTS_CONFIG"]))
within = declare_schedules(app)
entries = {key: from_entry(key, app.conf.beat_schedule.pop(key)) for key in within}
schedules = [replace(entry, catch_up=timedelta(seconds=within[key])) for key, entry in entries.items()]
penstock.adopt(app, ledger=os.environ["DATABASE_URL"], schedules=schedules)
hold_before_commit(LedgerBackend)
hold_after_claim(child)
declare(app)
