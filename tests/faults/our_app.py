"""The application of our side: the same plain Celery app, adopted."""

import json
import os

from celery import Celery

import penstock
from penstock.engine import child
from penstock.ledger.backend import LedgerBackend
from tests.faults.tasks import declare, hold_after_claim, hold_before_commit

app = Celery("faults")
app.conf.update(json.loads(os.environ["FAULTS_CONFIG"]))
penstock.adopt(app)
hold_before_commit(LedgerBackend)
hold_after_claim(child)
declare(app)
