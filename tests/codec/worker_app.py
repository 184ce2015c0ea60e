"""The app of the workers that run the shop's tasks."""

from tests.codec import shop
from tests.worker_app import app

__all__ = ["app", "shop"]
