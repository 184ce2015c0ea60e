"""What a task can read about itself"""

from typing import Any

from celery import chain, chord, group

from tests.celery_promises import jobs
from tests.celery_promises.system import System

PATIENCE = 10


def read(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = jobs.context.apply_async(**options).get(timeout=PATIENCE)
    return found


def test_identity(system: System) -> None:
    """`request.id`, `root_id` and `correlation_id` are the id; `parent_id` is None for a task that nobody started."""
    result = jobs.context.delay()
    found = result.get(timeout=PATIENCE)
    assert (found["id"], found["root_id"], found["correlation_id"]) == (result.id,) * 3
    assert found["parent_id"] is None


def test_delivery(system: System) -> None:
    """`request.delivery_info` has exchange, routing key, priority and whether the message was delivered before."""
    info = read(queue="side", priority=3)["delivery_info"]
    assert (info["exchange"], info["routing_key"], info["priority"], bool(info["redelivered"])) == (
        "",
        "side",
        3,
        False,
    )


def test_place(system: System) -> None:
    """`request.hostname` is the worker; `is_eager` and `called_directly` are false there."""
    found = read(queue="lane")
    assert (found["hostname"], found["is_eager"], found["called_directly"]) == (system.lane, False, False)


def test_origin(system: System) -> None:
    """`request.origin` names the process that sent it."""
    assert "@" in read()["origin"]


def test_first_try(system: System) -> None:
    """`request.retries` is 0 at the first try."""
    assert read()["retries"] == 0


def test_arguments(system: System) -> None:
    """`request.args` and `kwargs` are the arguments."""
    found = read()
    assert (found["args"], found["kwargs"], found["argsrepr"], found["kwargsrepr"]) == ([], {}, "()", "{}")


def test_no_times(system: System) -> None:
    """`request.eta` and `expires` are None unless they were set."""
    found = read()
    assert (found["eta"], found["expires"]) == (None, None)


def test_no_limits(system: System) -> None:
    """`request.timelimit` is a pair of None unless limits were set."""
    assert read()["timelimit"] == [None, None]


def test_ignore_result(system: System) -> None:
    """`request.ignore_result` says whether anybody wants the result."""
    assert read()["ignore_result"] is False


def test_group(system: System) -> None:
    """`request.group` is the id of the task's group."""
    result = group(jobs.context.s(), jobs.context.s())()
    assert {found["group"] for found in result.get(timeout=PATIENCE)} == {result.id}


def test_inherited_priority(system: System, key: str) -> None:
    """A task's priority is not handed on to tasks that it starts unless `task_inherit_parent_priority` is set."""
    jobs.starts_child_that_notes_its_priority.apply_async((key,), priority=6)
    assert system.noted(key) == [0]


def test_links(system: System) -> None:
    """`request.callbacks` and `errbacks` are the signatures that were linked to it."""
    found = read(link=jobs.echo.s("linked"), link_error=jobs.echo.si("failed"))
    (callback,), (errback,) = found["callbacks"], found["errbacks"]
    assert (callback["task"], callback["args"]) == (jobs.echo.name, ["linked"])
    assert (errback["task"], errback["args"]) == (jobs.echo.name, ["failed"])


def test_chain(system: System) -> None:
    """`request.chain` is what is left of its chain, the next one last."""
    result = chain(jobs.context.si(), jobs.total.si([1]), jobs.total.si([2]))()
    result.get(timeout=PATIENCE)
    found = result.parent.parent.get(timeout=PATIENCE)
    assert [step["args"] for step in found["chain"]] == [[[2]], [[1]]]


def test_chord(system: System) -> None:
    """`request.chord` is the body of its chord."""
    ((found, _),) = chord([jobs.context.si(), jobs.context.si()])(jobs.echo.s()).get(timeout=PATIENCE)["args"]
    assert found["chord"]["task"] == jobs.echo.name


def test_place_in_group(system: System) -> None:
    """`request.group_index` is its place in its group."""
    found = group(jobs.context.si() for _ in range(3))().get(timeout=PATIENCE)
    assert [each["group_index"] for each in found] == [0, 1, 2]


def test_replaced(system: System) -> None:
    """`request.replaced_task_nesting` tells how often it was replaced."""
    assert read()["replaced_task_nesting"] == 0
    assert jobs.replaced_by_context.delay().get(timeout=PATIENCE)["replaced_task_nesting"] == 1
