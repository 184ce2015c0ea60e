"""Declaring tasks: options are checked when the module is imported, arguments when a job is submitted."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Task, current_job, task
from penstock.errors import ArgumentError, DeclarationError, UnknownOption
from penstock.task import Options
from tests import jobs

ROOT = Path(__file__).parent.parent


def body(number: int) -> int:
    return number


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"queue": ""}, "a name without spaces"),
        ({"queue": "a b"}, "a name without spaces"),
        ({"retry": 3}, "give a Retry"),
        ({"timeout": 0}, "more than 0"),
        ({"timeout": True}, "more than 0"),
        ({"expires": -1}, "more than 0"),
        ({"schedule_timeout": 0}, "schedule_timeout=0: seconds, more than 0"),
        ({"priority": 10}, "from 0 .first. to 9 .last."),
        ({"priority": True}, "from 0"),
        ({"tags": "nightly"}, "at most 10 words"),
        ({"tags": ["a b"]}, "at most 10 words"),
        ({"tags": ["x"] * 11}, "at most 10 words"),
    ],
)
def test_an_option_out_of_bounds_is_refused_at_declaration(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DeclarationError, match=complaint):
        task(**options)(body)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("quue", r"task\(quue=\.\.\.\): there is no such option; did you mean queue\?"),
        ("max_retries", r"did you mean retry\?"),
        ("soft_time_limit", r"did you mean timeout\?"),
        (
            "countdown",
            "the options are queue, retry, breaker, timeout, expires, schedule_timeout, priority, tags, name",
        ),
    ],
)
def test_a_misspelt_option_is_refused_at_declaration(option: str, complaint: str) -> None:
    with pytest.raises(UnknownOption, match=complaint):
        task(**{option: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("prioriti", r"options\(prioriti=\.\.\.\): there is no such option; did you mean priority\?"),
        ("countdown", r"did you mean delay\?"),
        ("eta", r"did you mean at\?"),
        ("zzz", "the options are queue, priority, expires, schedule_timeout, delay, at, tags, session"),
    ],
)
def test_a_misspelt_option_of_one_call_is_refused_as_well(option: str, complaint: str) -> None:
    with pytest.raises(UnknownOption, match=complaint):
        jobs.add.options(**{option: 1})  # type: ignore[arg-type]


def test_another_mistake_in_the_call_keeps_its_own_words() -> None:
    with pytest.raises(TypeError, match="takes 0 positional arguments but 1 was given"):
        task(body)  # type: ignore[arg-type]


async def coroutine(number: int) -> int:
    return number


def generator() -> Iterator[int]:
    yield 1


async def asynchronous_generator() -> AsyncIterator[int]:
    yield 1


def test_a_coroutine_is_a_task_and_calling_it_gives_what_can_be_awaited() -> None:
    declared = task(name="test.coroutine")(coroutine)
    assert (declared.is_async, task(name="test.body")(body).is_async) == (True, False)
    assert asyncio.run(declared(3)) == 3
    with pytest.raises(ArgumentError, match="missing a required argument"):
        declared.check_arguments((), {})


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (generator, "returns once"),
        (asynchronous_generator, "returns once"),
        (lambda: None, "module level"),
        (int, "a task is a function"),
    ],
    ids=["generator", "asynchronous generator", "lambda", "class"],
)
def test_what_cannot_be_a_task_is_refused(function: Any, complaint: str) -> None:
    with pytest.raises(DeclarationError, match=complaint):
        task()(function)


def test_a_nested_function_is_refused_because_no_worker_could_import_it() -> None:
    def nested() -> None: ...

    with pytest.raises(DeclarationError, match="module level"):
        task()(nested)


def test_two_tasks_cannot_have_one_name() -> None:
    task(name="tests.taken")(body)
    with pytest.raises(DeclarationError, match="another task has this name"):
        task(name="tests.taken")(problem)


def problem() -> None: ...


def test_calling_a_task_runs_its_body_here() -> None:
    assert jobs.add(2, 3) == 5
    assert current_job() is None


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1,), {}), ((1, 2, 3), {}), ((1, 2), {"speed": 1})], ids=["few", "many", "unknown"]
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(args: Any, kwargs: Any) -> None:
    with pytest.raises(ArgumentError, match=r"tests\.jobs\.add\(left: int, right: int\)"):
        jobs.add.enqueue(*args, **kwargs)


def plain(a, b=1): ...  # type: ignore[no-untyped-def]
def keyword_only(a, *, b, c=1): ...  # type: ignore[no-untyped-def]
def positional_only(a, /, b): ...  # type: ignore[no-untyped-def]
def variable(a, *rest, **named): ...  # type: ignore[no-untyped-def]
def nothing(): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize("function", [plain, keyword_only, positional_only, variable, nothing])
@given(
    args=st.lists(st.integers(), max_size=3).map(tuple),
    kwargs=st.dictionaries(st.sampled_from("abcd"), st.integers(), max_size=3),
)
def test_arguments_fit_when_python_says_so(function: Any, args: Any, kwargs: Any) -> None:
    declared = Task("t", function, Options(), inspect.signature(function))
    try:
        function(*args, **kwargs)
        fits = True
    except TypeError:
        fits = False
    try:
        declared.check_arguments(args, kwargs)
        assert fits
    except ArgumentError:
        assert not fits


def test_a_bound_call_keeps_its_task_options_and_arguments() -> None:
    call = jobs.add.options(priority=3).bind(1, right=2)
    assert (call.task, call.options.priority, call.args, call.kwargs) == (jobs.add, 3, (1,), {"right": 2})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"delay": -1}, "seconds, from 0 to 10,000,000,000"),
        ({"delay": float("inf")}, "seconds, from 0 to"),
        ({"delay": 1e306}, "seconds, from 0 to"),
        ({"expires": 1e306}, "at most 10,000,000,000"),
        ({"expires": float("inf")}, "more than 0"),
        ({"at": datetime(2026, 1, 1)}, "give it a time zone"),
        ({"priority": -1}, "from 0"),
        ({"expires": 0}, "more than 0"),
        ({"schedule_timeout": True}, "more than 0"),
        ({"tags": "nightly"}, "at most 10 words"),
        ({"tags": [7]}, "at most 10 words"),
    ],
)
def test_options_of_one_call_are_checked_as_well(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DeclarationError, match=complaint):
        jobs.add.options(**options)


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("package", ["asyncio", "celery", "kombu", "sqlalchemy", "redis", "urllib3"])
def test_a_producer_that_imports_the_tasks_does_not_load(package: str) -> None:
    assert run_python(f"import tasks, sys; print({package!r} in sys.modules)").strip() == "False"


def test_tags_of_a_call_stand_in_place_of_those_of_its_task() -> None:
    declared = task(name="tests.tagged", tags=["nightly"])(body)
    assert declared.defaults.tags == ("nightly",)
    assert declared.options(tags=["customer-7"]).chosen.tags == ("customer-7",)
    assert declared.options(priority=1).chosen.tags == ("nightly",)
    assert declared.options(tags=()).chosen.tags == ()
