"""The shop's Celery app: `celery -A shop worker`."""

from celery import Celery

app = Celery("shop", include=["shop.orders", "shop.mail"])
app.config_from_object("shop.celeryconfig")
