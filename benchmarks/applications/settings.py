"""Celery's settings of both sides. Where they say nothing, each side has its own defaults."""

import os

broker_url = os.environ["BENCH_REDIS"] + "/0"
result_backend = os.environ["BENCH_RESULT_BACKEND"] or None
task_ignore_result = os.environ["BENCH_RESULTS"] == "no"
worker_send_task_events = os.environ.get("BENCH_EVENTS", "yes") == "yes"
broker_connection_retry_on_startup = True
worker_hijack_root_logger = False

# Further tasks; and for beats entries that are due each hour.
imports = os.environ.get("BENCH_IMPORTS", "").split()
beat_schedule = {
    f"entry {number}": {
        "task": "benchmarks.applications.tasks.send_welcome",
        "schedule": 3600.0,
        "kwargs": {"user_id": number, "template": "short"},
    }
    for number in range(int(os.environ.get("BENCH_ENTRIES", "0")))
}
redbeat_redis_url = broker_url
