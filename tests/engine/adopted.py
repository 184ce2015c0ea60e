"""A plain Celery app, adopted: `celery -A tests.engine.adopted worker`."""

import json
import os

from celery import Celery

import penstock
from penstock.engine.running import pace
from tests.engine import breaker_bodies, cancelled_bodies, coroutine_bodies, deciding_bodies, talking_bodies
from tests.engine.tasks import declare

if patience := os.environ.get("ENGINE_PATIENCE"):
    # For so many seconds nothing goes back that waits in a child which runs many jobs at once.
    pace.SLOW_SECONDS = float(patience)
app = Celery("engine")
app.conf.update(json.loads(os.environ["ENGINE_CONFIG"]))
penstock.adopt(app)
declare(app)
coroutine_bodies.declare(app)
deciding_bodies.declare(app)
breaker_bodies.declare(app)
talking_bodies.declare(app)
cancelled_bodies.declare(app)
