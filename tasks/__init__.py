"""What runs: one module per domain. A worker, and a producer, get them all by importing this package."""

from tasks import housekeeping, webhooks

__all__ = ["housekeeping", "webhooks"]
