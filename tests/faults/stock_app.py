"""The application of the stock side: Celery as people run it, on Redis or SQL. Imports nothing of ours."""

import json
import os

from celery import Celery
from celery.app.backends import by_url

from tests.faults.tasks import declare, hold_before_commit, note_commits
from tests.faults.timetable import declare_schedules

app = Celery("faults")
app.conf.update(json.loads(os.environ["FAULTS_CONFIG"]))
declare_schedules(app)
backend, _ = by_url(app.conf.result_backend, app.loader)
note_commits(backend)
hold_before_commit(backend)
declare(app)
