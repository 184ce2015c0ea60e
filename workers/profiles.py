"""The kinds of workers of this deployment, as data: which queues each serves, and how many jobs at a time."""

from penstock.profile import Profile

PROFILES = (
    Profile(name="main", queues=("default",), children=2),
    Profile(name="web", queues=("web",), children=2),
)
