"""Logs"""

import re

import pytest

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 10
TIME = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: "


def logged(system: System, pattern: str) -> str:
    """The first line of the worker's log that matches."""
    found = wait_for(lambda: re.search(f"^.*{pattern}.*$", system.worker.log, re.MULTILINE), f"a line like {pattern}")
    return found[0]


def named(task: str, id: str) -> str:
    return re.escape(f"Task {task}[{id}]")


@pytest.mark.parametrize("name", ["add", "add_early"])
def test_received(system: System, name: str) -> None:
    """At INFO a worker logs `Task name[id] received`, once, after time, level and process."""
    result, task = system.call(name, 1, 1), system.task(name).name
    assert re.match(TIME + r"INFO/\S+\] ", logged(system, rf"{named(task, result.id)} received$"))
    logged(system, rf"{named(task, result.id)} succeeded in ")
    assert system.worker.log.count(f"[{result.id}] received") == 1


def test_succeeded(system: System) -> None:
    """It logs `Task name[id] succeeded in …s: result`, in the same format."""
    result = jobs.add.delay(20, 22)
    line = logged(system, rf"{named(jobs.add.name, result.id)} succeeded in [\d.e-]+s: 42$")
    assert re.match(TIME + r"INFO/\S+\] ", line)


def test_failed(system: System) -> None:
    """It logs `Task name[id] raised unexpected: …` at ERROR, with the traceback."""
    result = jobs.fail.delay("for the log")
    line = logged(system, rf"{named(jobs.fail.name, result.id)} raised unexpected: Unlucky\('for the log'\)$")
    assert ": ERROR/" in line
    after = system.worker.log.partition(line)[2].splitlines()
    assert after[1].startswith("Traceback (most recent call last)")
    assert any("raise Unlucky(text)" in line for line in after[:20])


def test_expected(system: System) -> None:
    """It logs `Task name[id] raised expected: …` at INFO where the task declares the exception in `throws`."""
    result = jobs.throws.delay("wanted")
    assert ": INFO/" in logged(system, rf"{named(jobs.throws.name, result.id)} raised expected: KeyError\('wanted'\)$")


def test_retried(system: System, key: str) -> None:
    """It logs `Task name[id] retry: Retry in …s: …`."""
    result = jobs.retries_with.delay(key, 1, {"countdown": 0})
    name = named(jobs.retries_with.name, result.id)
    assert ": INFO/" in logged(system, rf"{name} retry: Retry in 0s: Unlucky\('again'\)$")


def test_ignored(system: System, key: str) -> None:
    """It logs `Task name[id] ignored`."""
    result = jobs.ignores_itself.delay(key)
    assert ": INFO/" in logged(system, rf"{named(jobs.ignores_itself.name, result.id)} ignored$")


def test_revoked(system: System) -> None:
    """It logs `Discarding revoked task: name[id]`."""
    result = jobs.add.apply_async((1, 1), expires=-1)
    assert ": INFO/" in logged(system, re.escape(f"Discarding revoked task: {jobs.add.name}[{result.id}]"))


def test_shadow(system: System) -> None:
    """It logs the task's `shadow` in place of its name."""
    result = jobs.add.apply_async((1, 1), shadow="a shadow")
    logged(system, rf"{named('a shadow', result.id)} received$")
    logged(system, rf"{named('a shadow', result.id)} succeeded in ")


def test_limits(system: System, key: str) -> None:
    """It logs a hard time limit at ERROR and a soft one at WARNING."""
    hard, soft = jobs.hits_its_hard_limit.delay(key), jobs.hits_its_soft_limit.delay()
    about_hard = re.escape(f"Hard time limit (0.4s) exceeded for {jobs.hits_its_hard_limit.name}[{hard.id}]")
    about_soft = re.escape(f"Soft time limit (0.3s) exceeded for {jobs.hits_its_soft_limit.name}[{soft.id}]")
    assert ": ERROR/" in logged(system, about_hard)
    assert ": WARNING/" in logged(system, about_soft)


def test_logger_of_a_task(system: System, key: str) -> None:
    """What a task logs with `get_task_logger` has its name and id before it, by `worker_task_log_format`."""
    result = jobs.logs.delay(f"told {key}")
    line = logged(system, re.escape(f"{jobs.logs.name}[{result.id}]: told {key}") + "$")
    assert re.match(TIME + r"WARNING/\S+\] tests", line)


def test_print(system: System, key: str) -> None:
    """What a task prints is logged at WARNING, as `worker_redirect_stdouts` has it by default."""
    jobs.prints.delay(f"printed {key}")
    assert re.match(TIME + rf"WARNING/\S+\] printed {key}$", logged(system, f"printed {key}$"))


def test_ready(system: System) -> None:
    """A worker logs its name and `ready.` when it begins to consume."""
    logged(system, rf"INFO/\S+\] {re.escape(system.main)} ready\.$")
