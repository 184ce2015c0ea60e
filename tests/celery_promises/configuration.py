"""The Celery settings that every engine's application has in common."""

from typing import Any

from kombu import Queue
from kombu.common import Broadcast

COMMON: dict[str, Any] = {
    "imports": ["tests.celery_promises.jobs"],
    "timezone": "America/New_York",
    "result_extended": True,
    "task_send_sent_event": True,
    "worker_hijack_root_logger": True,
    "worker_prefetch_multiplier": 1,
    "worker_pool_restarts": True,
    "broker_transport_options": {"queue_order_strategy": "priority", "priority_steps": [0, 3, 6, 9]},
    "broker_connection_retry_on_startup": True,
    "task_queues": [Queue("celery"), Broadcast("everyone")],
    "task_routes": {
        "tests.celery_promises.jobs.routed_by_name": {"queue": "side"},
        "tests.celery_promises.jobs.routed_by_glob_*": {"queue": "side"},
    },
}
