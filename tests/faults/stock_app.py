"""The application of the stock side: Celery on Redis as people run it. Imports nothing of ours."""

import json
import os

from celery import Celery
from celery.backends.redis import RedisBackend

from tests.faults.tasks import declare, hold_at_commit

app = Celery("faults")
app.conf.update(json.loads(os.environ["FAULTS_CONFIG"]))
hold_at_commit(RedisBackend)
declare(app)
