"""What happens to an order, step by step."""

import time
from pathlib import Path

from celery import chain

from shop.books import note
from shop.celery import app
from shop.mail import confirm


class BankBusy(Exception):
    """The bank does not answer at once."""


@app.task
def price(order, items):
    return sum(items)


@app.task(bind=True, max_retries=3)
def charge(self, cents, order):
    """The bank answers at the second attempt."""
    if self.request.retries == 0:
        raise self.retry(exc=BankBusy(order), countdown=0.1)
    note("charged", order)
    return cents


@app.task
def ship(cents, order):
    note("shipped", order)
    return {"order": order, "paid": cents}


@app.task
def pack(order, until):
    """Takes as long as somebody needs to touch the file."""
    note("packing", order)
    while not Path(until).exists():
        time.sleep(0.05)
    note("packed", order)
    return order


def place(order, items):
    """Everything that an order needs; its result is that of the last step."""
    result = chain(price.s(order, items), charge.s(order), ship.s(order)).delay()
    confirm.delay(order)
    return result
