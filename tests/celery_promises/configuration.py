"""The Celery settings that every engine's application has in common, and those that one worker has for a test."""

import json
import os
from typing import Any

from kombu import Queue
from kombu.common import Broadcast

COMMON: dict[str, Any] = {
    "imports": ["tests.celery_promises.jobs", "tests.celery_promises.starting"],
    "timezone": "America/New_York",
    "result_extended": True,
    "task_send_sent_event": True,
    "worker_hijack_root_logger": True,
    "worker_prefetch_multiplier": 1,
    "worker_pool_restarts": True,
    "broker_transport_options": {"queue_order_strategy": "priority", "priority_steps": [0, 3, 6, 9]},
    "broker_connection_retry_on_startup": True,
    "task_queues": [Queue("celery"), Queue("kept"), Broadcast("everyone")],
    "task_routes": {
        "tests.celery_promises.jobs.routed_by_name": {"queue": "side"},
        "tests.celery_promises.jobs.routed_by_glob_*": {"queue": "side"},
    },
    # For workers that run beat as well.
    "beat_schedule": {
        "often": {
            "task": "tests.celery_promises.jobs.note",
            "schedule": 0.5,
            "args": ("beaten", "by beat"),
            "options": {"queue": "beaten"},
        }
    },
} | json.loads(os.environ.get("PROMISES_SETTINGS", "{}"))
