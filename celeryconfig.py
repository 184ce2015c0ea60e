"""Every Celery setting of this deployment. Values come from the environment, through penstock.Settings."""

from penstock.config import Settings as _Settings

_settings = _Settings.load()

broker_url = _settings.redis_url
broker_transport_options = _settings.broker_options
broker_connection_retry_on_startup = True
result_backend = _settings.result_backend
result_extended = True

# JSON only: a message or a row must never be able to run code.
accept_content = ["json"]
result_accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"
event_serializer = "json"

# A job is settled after it ran, so a worker that is killed does not take it along.
task_acks_late = True
task_store_errors_even_if_ignored = True
worker_deduplicate_successful_tasks = True
worker_prefetch_multiplier = 1
# Seconds after which a job whose process is gone counts as lost: a result that is still in the pipe has come by then.
worker_lost_wait = 0.5
worker_soft_shutdown_timeout = _settings.drain_seconds

task_default_queue = "default"
timezone = _settings.timezone

# What Flower shows.
worker_send_task_events = True
task_send_sent_event = True
