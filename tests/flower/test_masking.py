"""What Flower keeps of events and reports of workers: the same without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from penstock.flower.masking import Masking
from penstock.redaction import Redaction

SECRET = "open-sesame"


@pytest.fixture(scope="module")
def masking() -> Masking:
    app = Celery("none", set_as_current=False)

    @app.task(name="log_in")
    def log_in(user: str, password: str, *more: Any) -> None: ...

    @app.task(name="add")
    def add(x: int, y: int) -> None: ...

    return Masking(app, Redaction())


def masked(masking: Masking, **fields: Any) -> dict[str, Any]:
    """An event that has gone through."""
    event = {"type": "task-received", "uuid": "1", **fields}
    masking.event(event)
    return event


def test_an_event_without_secrets_stays_as_it_is(masking: Masking) -> None:
    event = {"name": "add", "args": "(1, 'two')", "kwargs": "{'z': [3]}", "result": "'3'", "runtime": 0.5}
    assert masked(masking, **event) == {"type": "task-received", "uuid": "1", **event}


def test_an_argument_is_hidden_by_its_parameters_name(masking: Masking) -> None:
    assert masked(masking, name="log_in", args=f"('vera', '{SECRET}', 3)")["args"] == "('vera', '***', 3)"
    assert masked(masking, name="log_in", kwargs=f"{{'password': '{SECRET}'}}")["kwargs"] == "{'password': '***'}"


@pytest.mark.parametrize("args", [f"('vera', '{SECRET}...", f"<object {SECRET}>", "(" * 500 + SECRET, f"{SECRET}\x00"])
def test_arguments_that_cannot_be_told_apart_are_hidden_as_a_whole(masking: Masking, args: str) -> None:
    assert SECRET not in masked(masking, name="log_in", args=args)["args"]


def test_arguments_of_a_task_that_nobody_knows_are_searched_for_names(masking: Masking) -> None:
    assert masked(masking, name="unknown", args=f"('password={SECRET}',)")["args"] == "('password=***',)"


def test_errors_are_searched_for_names_and_addresses(masking: Masking) -> None:
    event = masked(masking, exception=f"Refused('db://u:{SECRET}@h/d')", traceback=f"token={SECRET}\nin line 3")
    assert (event["exception"], event["traceback"]) == ("Refused('db://u:***@h/d')", "token=***\nin line 3")


@pytest.mark.parametrize("method", ["active", "reserved", "scheduled"])
def test_jobs_that_a_worker_tells_of_have_no_secrets(masking: Masking, method: str) -> None:
    told = {"id": "1", "name": "log_in", "args": ["vera", SECRET], "kwargs": {"api_key": SECRET, "x": 1}}
    response = [{"eta": None, "request": told}] if method == "scheduled" else [told]
    shown = str(masking.report(method, response))
    assert SECRET not in shown
    assert "vera" in shown
    assert SECRET in str(response)


def test_the_settings_of_a_worker_have_no_secrets(masking: Masking) -> None:
    conf = {"result_backend": f"db+postgresql://u:{SECRET}@h/d", "s3_secret": SECRET, "timezone": "UTC"}
    assert masking.report("conf", conf) == {
        "result_backend": "db+postgresql://u:***@h/d", "s3_secret": "***", "timezone": "UTC",
    }  # fmt: skip


def test_figures_of_a_task_that_is_called_like_a_secret_stay(masking: Masking) -> None:
    stats = {"total": {"tasks.rotate_token": 5}}
    assert masking.report("stats", stats) == stats
