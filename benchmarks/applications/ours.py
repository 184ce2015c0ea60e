"""The same, adopted by Penstock."""

from celery import Celery

import penstock

app = Celery("ours", include=["benchmarks.applications.tasks"])
app.config_from_object("benchmarks.applications.settings")
app.set_default()
penstock.adopt(app)
