"""Stock Celery on stock kombu: `celery -A tests.celery_promises.stock_app worker`. Nothing of Penstock in here."""

import os

from celery import Celery

from tests.celery_promises.configuration import COMMON

app = Celery("stock", broker=os.environ["PROMISES_BROKER"], backend=os.environ["PROMISES_RESULTS"])
app.conf.update(COMMON)
