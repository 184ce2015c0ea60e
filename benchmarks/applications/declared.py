"""The task of :mod:`benchmarks.applications.tasks` as Penstock declares one; the stock side never imports this."""

from penstock import task


@task(queue="celery")
def send_welcome(user_id: int, template: str = "default") -> None:
    """The same as the plain one."""
