"""Celery's autoscaler for children that claim for themselves: by what they run, and by what waits in the queues."""

from __future__ import annotations

import time
from typing import Any

from celery.worker.autoscale import AUTOSCALE_KEEPALIVE
from celery.worker.autoscale import Autoscaler as CeleryAutoscaler
from redis.exceptions import RedisError

from penstock.broker.keys import PRIORITY_STEPS
from penstock.engine.pool import Pool

LOOK_SECONDS = 1.0


class Autoscaler(CeleryAutoscaler):
    """`worker_autoscaler = "penstock.engine.autoscale:Autoscaler"`; with any other pool it is Celery's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_ours = isinstance(self.pool, Pool)
        if self._is_ours:
            # Celery looks when a job has come, which this process does not see, and each half minute.
            self._scale_down_after = AUTOSCALE_KEEPALIVE
            self.keepalive = LOOK_SECONDS

    @property
    def qty(self) -> int:
        """How many jobs there are to run now."""
        if not self._is_ours:
            return int(super().qty)
        living = self.pool.slots.live()
        running = sum(len(slot.shown) for slot in living)
        waiting = self._waiting()
        if running or waiting:
            self._last_task_received = time.monotonic()
        # Celery takes it for the number of children that these jobs want.
        return -(-(running + waiting) // max((len(slot.places) for slot in living), default=1))

    def _waiting(self) -> int:
        connection = self.worker.consumer.connection
        if connection is None:
            return 0
        scripts = connection.default_channel.scripts
        queues = [queue.name for queue in self.worker.consumer.task_consumer.queues]
        try:
            with scripts.client.pipeline(transaction=False) as pipeline:
                for queue in queues:
                    for step in PRIORITY_STEPS:
                        pipeline.llen(scripts.keys.ready(queue, step))
                return sum(pipeline.execute())
        except (RedisError, OSError):
            return 0

    def scale_down(self, n: int) -> Any:
        """Celery's, after the time that Celery waits."""
        if not self._is_ours:
            return super().scale_down(n)
        last = max(filter(None, (self._last_scale_up, self._last_task_received)), default=None)
        if last is not None and time.monotonic() - last > self._scale_down_after:
            return self._shrink(n)
        return None

    def _update_consumer_prefetch_count(self, new_max: int) -> None:
        if not self._is_ours:
            super()._update_consumer_prefetch_count(new_max)
