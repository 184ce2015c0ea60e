"""Celery's settings of both sides. Where they say nothing, each side has its own defaults."""

import os

broker_url = os.environ["BENCH_REDIS"] + "/0"
result_backend = os.environ["BENCH_RESULT_BACKEND"] or None
task_ignore_result = os.environ["BENCH_RESULTS"] == "no"
worker_send_task_events = os.environ.get("BENCH_EVENTS", "yes") == "yes"
broker_connection_retry_on_startup = True
worker_hijack_root_logger = False
