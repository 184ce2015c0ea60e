"""The kinds of workers of this deployment, as data: which queues each serves, with how many children, in which limits.

`celery -A workers worker --profile io` starts one. The time limits are for tasks that declare no timeout of their own.
"""

from penstock.profile import Profile

PROFILES = (
    # Computes: as many children as there are processors to spare; a child that has grown makes room.
    Profile(name="cpu", queues=("default",), children=2, time_limit=7200, max_mib_per_child=384),
    # Waits for other servers: more children than processors, and nobody waits for a server for ever.
    Profile(name="io", queues=("web",), children=4, soft_time_limit=300, time_limit=330),
    # Waits for other servers in coroutines: one process, and hundreds of pages at a time.
    Profile(name="fetch", queues=("pages",), children=1, kind="asyncio", size=300, soft_time_limit=120, time_limit=150),
    # Everything in one worker, for a small host.
    Profile(
        name="mixed",
        queues=("default", "web", "pages"),
        children=2,
        autoscale_to=4,
        time_limit=7200,
        max_mib_per_child=384,
        by_hand=True,
    ),
)
