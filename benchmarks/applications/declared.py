"""Tasks of :mod:`benchmarks.applications.tasks` as Penstock declares them, for producers: the names are those of the
plain ones, which workers run. The stock side never imports this.
"""

from penstock import task

PLAIN = "benchmarks.applications.tasks"


@task(queue="celery", name=f"{PLAIN}.send_welcome")
def send_welcome(user_id: int, template: str = "default") -> None:
    """The same as the plain one."""


@task(queue="celery", name=f"{PLAIN}.note")
def note(slot: int) -> None:
    """The same as the plain one."""
