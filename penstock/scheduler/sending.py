"""The message of a fire's job, as the application would have sent it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from penstock import tags
from penstock.client import put_scheduled
from penstock.ledger.records import FollowUp
from penstock.message import SCHEDULE, TAGS
from penstock.outbox import Drawer
from penstock.scheduler.lazy import computed, has_marks
from penstock.scheduler.patience import within_a_second
from penstock.scheduler.schedule import CARRIED, Schedule
from penstock.task import BoundCall, declared_task


def message_of(app: Any, schedule: Schedule, planned: datetime, previous: datetime | None) -> FollowUp:
    """The first message of the job that a fire starts; nothing is sent.

    Args:
        previous: the planned time of the fire before that started a job.

    Raises:
        Exception: whatever is wrong with the call: its arguments, its options, its task's own ``apply_async``.
    """
    args, kwargs = schedule.arguments(planned, previous)
    if not schedule.is_template and has_marks(args, kwargs):
        args, kwargs = within_a_second(partial(computed, app, schedule.name))
    return _message(app, schedule, schedule.task, args, kwargs, schedule.options)


def message_of_missed(app: Any, schedule: Schedule, planned: Sequence[datetime], reason: str) -> FollowUp:
    """The message that tells the schedule's ``on_missed`` of fires that were missed.

    Raises:
        Exception: as :func:`message_of`.
    """
    assert schedule.on_missed is not None
    times = [each.astimezone(schedule.zone).isoformat() for each in planned]
    return _message(app, schedule, schedule.on_missed, [schedule.name, times, reason], {}, {})


def _message(
    app: Any, schedule: Schedule, task: str, args: Sequence[Any], kwargs: dict[str, Any], options: Mapping[str, Any]
) -> FollowUp:
    drawer = Drawer()
    declared = declared_task(task)
    if declared is not None and not (options or schedule.tags):
        # Nearly all of them; making options anew checks them anew.
        put_scheduled(drawer, BoundCall(declared, declared.defaults, tuple(args), kwargs), schedule.name)
        return drawer.messages[0]
    own = options.get("tags", declared.defaults.tags if declared else ())
    options = {**options, "tags": tags.together(schedule.tags, own)}
    if declared is not None and options.keys() <= set(CARRIED):
        chosen = replace(declared.defaults, **options)
        put_scheduled(drawer, BoundCall(declared, chosen, tuple(args), kwargs), schedule.name)
    else:
        # A task of Celery's may have any apply_async.
        within_a_second(partial(_send_by_celery, app, drawer, schedule.name, task, args, kwargs, options))
    (message,) = drawer.messages
    return message


def _send_by_celery(
    app: Any,
    drawer: Drawer,
    schedule: str,
    task: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    options: Mapping[str, Any],
) -> None:
    """As Celery's beat sends: by the task if this process knows it, else by its name alone."""
    # An id names one job, and each fire has its own.
    given = {name: value for name, value in options.items() if name not in ("task_id", "tags")}
    headers = options.get("headers") or {}
    tagged = tags.together(options["tags"], tags.of_header(headers.get(TAGS)))
    given["headers"] = {**headers, SCHEDULE: schedule, **({TAGS: list(tagged)} if tagged else {})}
    known = app.tasks.get(task)
    with drawer:
        if known is not None:
            known.apply_async(args, kwargs, **given)
        else:
            app.send_task(task, args, kwargs, **given)
