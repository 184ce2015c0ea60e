"""What runs: one module per domain. A worker, and a producer, get them all by importing this package."""

from tasks import housekeeping, pages, reports, sales, shell, webhooks

__all__ = ["housekeeping", "pages", "reports", "sales", "shell", "webhooks"]
