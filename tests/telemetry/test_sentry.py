"""Sentry's Celery integration in real workers: what a Sentry server gets of each job, and that it gets it once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.servers import Server
from tests.telemetry.collector import Collector
from tests.telemetry.place import EVERY_POOL, names_pool, produced, variables, worker

pytestmark = pytest.mark.slow
APP, PRODUCER = "tests.telemetry.sentry_app", "tests.telemetry.sentry_producer"


@dataclass(frozen=True)
class Seen:
    """What arrived, from the first process's start until the last one's end."""

    ids: dict[str, str]
    collector: Collector

    def errors_of(self, name: str) -> list[dict[str, Any]]:
        """The events of a job."""
        wanted = self.ids[name]
        return [event for event in self.collector.errors if event["tags"].get("celery_task_id") == wanted]

    def runs_of(self, name: str) -> list[dict[str, Any]]:
        """The transactions of a job in the worker."""
        wanted = self.ids[name]
        return [run for run in self.collector.transactions if run.get("tags", {}).get("celery_task_id") == wanted]

    def request(self, name: str) -> dict[str, Any]:
        """The transaction in the producer."""
        (found,) = [each for each in self.collector.transactions if each["transaction"] == name]
        return found


@pytest.fixture(scope="module", params=EVERY_POOL)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("sentry")
    with Server(folder / "redis") as server, Collector() as collector:
        environment = variables(server, COLLECTOR_DSN=collector.dsn)
        with worker(APP, environment, folder / "worker.log", *request.param) as started:
            ids = produced(PRODUCER, environment)
        assert names_pool(started.log, request.param), started.log
        yield Seen(ids, collector)


def trace(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = event["contexts"]["trace"]
    return found


def test_an_error_arrives_once_with_its_task_and_its_job(seen: Seen) -> None:
    (event,) = seen.errors_of("fail")
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("ValueError", "order 7 has no lines")
    assert error["mechanism"] == {"type": "celery", "handled": False}
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert event["extra"]["celery-job"]["task_name"] == event["transaction"] == f"{APP}.fail"


def test_an_error_belongs_to_the_trace_of_its_run(seen: Seen) -> None:
    (event,), (run,) = seen.errors_of("fail"), seen.runs_of("fail")
    assert trace(event)["trace_id"] == trace(run)["trace_id"]
    assert trace(run)["status"] == "internal_error"


def test_a_run_is_joined_to_the_request_that_sent_it(seen: Seen) -> None:
    (run,), request = seen.runs_of("add"), seen.request("/add")
    submitted = [span["span_id"] for span in request["spans"] if span["op"] == "queue.submit.celery"]
    assert trace(run)["trace_id"] == trace(request)["trace_id"]
    assert trace(run)["parent_span_id"] in submitted
    assert (run["transaction"], trace(run)["op"], trace(run)["status"]) == (f"{APP}.add", "queue.task.celery", "ok")


def test_a_run_tells_how_its_message_was_received(seen: Seen) -> None:
    (run,) = seen.runs_of("add")
    (process,) = [span for span in run["spans"] if span["op"] == "queue.process"]
    assert process["data"]["messaging.message.id"] == seen.ids["add"]
    assert process["data"]["messaging.destination.name"] == "celery"
    assert process["data"]["messaging.message.retry.count"] == 0
    assert process["data"]["messaging.message.receive.latency"] > 0
    assert process["data"]["messaging.system"] == "redis"


def test_jobs_of_other_requests_are_other_traces(seen: Seen) -> None:
    names = ("add", "fail", "decline", "hopeless", "overrun", "name_customer", "log_error", "first")
    assert len({trace(seen.runs_of(name)[0])["trace_id"] for name in names}) == len(names)


def test_an_expected_error_is_none(seen: Seen) -> None:
    assert seen.errors_of("decline") == []
    assert len(seen.runs_of("decline")) == 1


def test_each_attempt_is_a_run_and_the_last_one_alone_an_error(seen: Seen) -> None:
    (event,) = seen.errors_of("hopeless")
    assert event["exception"]["values"][-1]["type"] == "ConnectionError"
    first, last = seen.runs_of("hopeless")
    assert (trace(first)["status"], trace(last)["status"]) == ("aborted", "internal_error")
    assert trace(first)["trace_id"] == trace(last)["trace_id"] == trace(seen.request("/hopeless"))["trace_id"]


def test_overruns_of_a_task_are_one_issue(seen: Seen) -> None:
    (event,) = seen.errors_of("overrun")
    assert event["exception"]["values"][-1]["type"] == "SoftTimeLimitExceeded"
    assert event["fingerprint"] == ["celery", "SoftTimeLimitExceeded", f"{APP}.overrun"]


def test_what_a_body_tells_sentry_stays_with_its_job(seen: Seen) -> None:
    (event,), (after,) = seen.errors_of("name_customer"), seen.errors_of("log_error")
    assert event["tags"]["customer"] == "Ada"
    assert "looked at the basket" in [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    assert "customer" not in after["tags"]
    assert "looked at the basket" not in [crumb.get("message") for crumb in after["breadcrumbs"]["values"]]


def test_an_error_line_of_a_body_is_an_error_of_its_job(seen: Seen) -> None:
    (event,) = seen.errors_of("log_error")
    assert (event["logger"], event["logentry"]["message"]) == ("shop", "the printer is out of paper")


def test_the_steps_of_a_chain_are_one_trace(seen: Seen) -> None:
    (first,), (second,), request = seen.runs_of("first"), seen.runs_of("second"), seen.request("/chain")
    assert trace(first)["trace_id"] == trace(second)["trace_id"] == trace(request)["trace_id"]
    spans = [span["span_id"] for span in first["spans"]] + [trace(first)["span_id"]]
    assert trace(second)["parent_span_id"] in spans


def test_nothing_else_is_an_error(seen: Seen) -> None:
    wanted = {seen.ids[name] for name in ("fail", "hopeless", "overrun", "name_customer", "log_error")}
    assert {event["tags"].get("celery_task_id") for event in seen.collector.errors} == wanted
    assert len(seen.collector.errors) == len(wanted)


@pytest.mark.parametrize("options", EVERY_POOL)
def test_a_child_that_makes_room_has_told_everything(
    options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sentry")
    with Server(folder / "redis") as server, Collector() as collector:
        environment = variables(server, COLLECTOR_DSN=collector.dsn)
        with worker(APP, environment, folder / "worker.log", "--max-tasks-per-child", "1", *options):
            seen = Seen(produced(PRODUCER, environment), collector)
        assert all(seen.runs_of(name) for name in seen.ids)
        assert len(seen.errors_of("fail")) == len(seen.errors_of("name_customer")) == 1
