"""Celery's settings."""

import os

broker_url = os.environ["SHOP_BROKER"]
broker_connection_retry_on_startup = True
result_backend = os.environ["SHOP_RESULTS"]
task_routes = {"shop.mail.*": {"queue": "mail"}}
timezone = "Europe/Berlin"
worker_prefetch_multiplier = 2
