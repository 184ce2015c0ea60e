"""Messages that were with a worker when it was killed."""

from __future__ import annotations

import kombu


def put_back(redis_url: str) -> None:
    """Returns messages that a worker took and never settled to the front of their queues.

    Celery's transport does so by itself an hour later, because it cannot know whether their worker lives. Call this
    only where that is certain: before the first worker of a server that was started just now.
    """
    with kombu.Connection(redis_url, transport_options={"visibility_timeout": 0}) as connection:
        connection.default_channel.qos.restore_visible(num=None, interval=1)
