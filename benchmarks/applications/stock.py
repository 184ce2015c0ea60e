"""Celery and kombu as they come."""

from celery import Celery

app = Celery("stock", include=["benchmarks.applications.tasks"])
app.config_from_object("benchmarks.applications.settings")
app.set_default()
