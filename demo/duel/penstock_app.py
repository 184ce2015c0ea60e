"""The same plain Celery application, adopted."""

import json
import os

from celery import Celery

import penstock
from demo.duel.tasks import declare

app = Celery("duel")
app.conf.update(json.loads(os.environ["DUEL_CONFIG"]))
penstock.adopt(app)
declare(app)
