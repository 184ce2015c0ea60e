"""Its app: `celery -A legacy.celery worker`."""

from celery import Celery

import penstock

app = Celery("legacy", include=["legacy.tasks"], broker="redis://production.invalid/0", backend="rpc://")
app.conf.task_routes = {"legacy.tasks.ship": {"queue": "parcels"}}
penstock.adopt(app)
