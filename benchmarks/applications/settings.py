"""Celery's settings of both sides. Where they say nothing, each side has its own defaults."""

import os

broker_url = os.environ["BENCH_REDIS"] + "/0"
result_backend = os.environ["BENCH_RESULT_BACKEND"]
task_ignore_result = os.environ["BENCH_RESULTS"] == "no"
worker_send_task_events = True
broker_connection_retry_on_startup = True
worker_hijack_root_logger = False
