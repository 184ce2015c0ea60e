"""The task modules as producers import them."""

import json
import subprocess
import sys

import tasks
from penstock.task import declared_tasks

HEAVY = ("celery", "sqlalchemy", "urllib3", "billiard", "psycopg")


def test_a_producer_that_imports_the_tasks_loads_nothing_heavy() -> None:
    code = f"import json, sys, tasks; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert json.loads(output) == []


def test_every_task_has_a_bound_and_a_docstring() -> None:
    ours = {name: task for name, task in declared_tasks().items() if name.startswith("tasks.")}
    assert {name.split(".")[1] for name in ours} == set(tasks.__all__)
    for name, task in ours.items():
        assert task.defaults.timeout or task.defaults.expires, f"{name} may run for ever"
        assert task.__doc__, f"{name} says nothing about itself"
