"""The shop: its tasks, its schedules and its kinds of workers. `celery -A demo.operations.shop …`"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from penstock import Settings, task
from penstock.app import make_app
from penstock.profile import Profile
from penstock.scheduler import Every, schedule

GATEWAY = "SHOP_GATEWAY"
"""Environment variable: a file that is there while the payment gateway is."""


class GatewayTimeout(Exception):
    """The payment gateway has not answered."""


@task(name="orders.charge_card", queue="orders")
def charge_card(order: int, amount: str, card_token: str) -> str:
    """Charges a customer."""
    del card_token  # The gateway of the demo takes any.
    if not Path(os.environ[GATEWAY]).exists():
        raise GatewayTimeout(f"POST https://pay.example/v1/charges for {amount} EUR: no answer within 30 s")
    return f"charged order {order}"


@task(name="mail.send_receipt", queue="mail")
def send_receipt(order: int, address: str) -> str:
    """Sends a receipt."""
    if "@" not in address:
        raise ValueError(f"{address!r} is no mail address")
    return f"receipt of order {order}"


@task(name="stock.import_feed", queue="imports")
def import_feed(supplier: str, rows: int) -> int:
    """Takes over a supplier's stock."""
    time.sleep(rows / 1000)
    print(f"{rows} rows of {supplier}")
    return rows


@task(name="reports.monthly_revenue", queue="reports")
def monthly_revenue(month: str) -> str:
    """Adds the month up."""
    return month


PROFILES = (
    Profile(name="front", queues=("orders", "mail"), children=2),
    Profile(name="imports", queues=("imports",), children=1),
    Profile(name="reports", queues=("reports",), children=1),
)
SCHEDULES = (
    schedule(
        "exchange rates",
        send_receipt.bind(order=0, address="rates@shop.example"),
        Every(seconds=5),
        catch_up=timedelta(seconds=20),
    ),
    schedule("month so far", monthly_revenue.bind(month="2026-11"), Every(seconds=3600)),
)
app = make_app("shop", settings=Settings.load(), profiles=PROFILES, schedules=SCHEDULES)
