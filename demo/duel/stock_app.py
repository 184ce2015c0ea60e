"""Stock Celery as people run it, with its results in SQL. Imports nothing of ours."""

import json
import os

from celery import Celery

from demo.duel.tasks import declare

app = Celery("duel")
app.conf.update(json.loads(os.environ["DUEL_CONFIG"]))
declare(app)
