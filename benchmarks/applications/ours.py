"""The same, adopted by Penstock."""

import os

from celery import Celery

import penstock

app = Celery("ours", include=["benchmarks.applications.tasks"])
app.config_from_object("benchmarks.applications.settings")
app.set_default()
app.conf.penstock_kind = os.environ.get("BENCH_KIND") or None
app.conf.penstock_size = int(os.environ.get("BENCH_SIZE") or 0) or None
penstock.adopt(app)
