"""The same app as Celery runs it; imports nothing of ours."""

import json
import os

from celery import Celery

from tests.engine.tasks import declare

app = Celery("engine")
app.conf.update(json.loads(os.environ["ENGINE_CONFIG"]))
declare(app)
