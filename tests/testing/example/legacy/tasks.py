"""Its tasks, which know nothing of Penstock."""

import os
from pathlib import Path

from celery import shared_task


@shared_task
def price(items):
    return sum(items)


@shared_task
def ship(cents, order):
    with Path(os.environ["SHOP_BOOKS"]).open("a") as books:
        books.write(f"shipped {order}\n")
    return {"order": order, "paid": cents}


@shared_task(bind=True, max_retries=2)
def stubborn(self, times):
    if self.request.retries < times:
        raise self.retry(exc=ConnectionError("not yet"), countdown=30)
    return self.request.retries
