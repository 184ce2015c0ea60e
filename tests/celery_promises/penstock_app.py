"""The same application, adopted by Penstock: `celery -A tests.celery_promises.penstock_app worker`.

The results stay in Redis as on the stock side, so that the two differ in nothing but transport and consumer.
"""

import os

from celery import Celery

import penstock
from tests.celery_promises.configuration import COMMON

app = Celery("adopted", broker=os.environ["PROMISES_BROKER"], backend=os.environ["PROMISES_RESULTS"])
app.conf.update(COMMON)
penstock.adopt(app)
