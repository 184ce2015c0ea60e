"""An app with a profile for each limit: `celery -A tests.workers.profile_app worker --profile io`."""

from penstock import Settings
from penstock.app import make_app
from penstock.profile import Profile
from tests.workers import profile_tasks  # noqa: F401

PROFILES = (
    Profile(name="io", queues=("web", "mail"), children=3),
    Profile(name="growing", queues=("growing",), children=1, autoscale_to=3),
    Profile(name="soft", queues=("soft",), children=1, soft_time_limit=0.5, time_limit=60),
    Profile(name="hard", queues=("hard",), children=1, time_limit=0.5),
    Profile(name="short-lived", queues=("short-lived",), children=1, max_tasks_per_child=2),
    Profile(name="loop", queues=("loop",), children=1, kind="asyncio", size=20),
    Profile(name="small", queues=("small",), children=1, max_mib_per_child=200),
)

app = make_app("profiles", settings=Settings.load(), profiles=PROFILES)
