"""A plain Celery app, adopted: `celery -A tests.engine.adopted worker`."""

import json
import os

from celery import Celery

import penstock
from tests.engine import breaker_bodies, cancelled_bodies, coroutine_bodies, deciding_bodies, talking_bodies
from tests.engine.tasks import declare

app = Celery("engine")
app.conf.update(json.loads(os.environ["ENGINE_CONFIG"]))
penstock.adopt(app)
declare(app)
coroutine_bodies.declare(app)
deciding_bodies.declare(app)
breaker_bodies.declare(app)
talking_bodies.declare(app)
cancelled_bodies.declare(app)
