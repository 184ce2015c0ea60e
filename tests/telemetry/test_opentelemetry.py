"""OpenTelemetry's Celery instrumentation in real workers: the spans of each job, and that each comes once."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.servers import Server
from tests.telemetry.place import EVERY_POOL, names_pool, produced, variables, worker

pytestmark = pytest.mark.slow
APP, PRODUCER = "tests.telemetry.opentelemetry_app", "tests.telemetry.opentelemetry_producer"
Span = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """All spans of all processes, from the first one's start until the last one's end."""

    ids: dict[str, str]
    spans: list[Span]

    def runs_of(self, name: str) -> list[Span]:
        """The spans of a job in the worker, in order."""
        runs = [span for span in self._of(name) if span["name"].startswith("run/")]
        return sorted(runs, key=lambda span: str(span["start_time"]))

    def sends_of(self, name: str) -> list[Span]:
        """The spans of publishing a job, in order."""
        sends = [span for span in self._of(name) if span["name"].startswith("apply_async/")]
        return sorted(sends, key=lambda span: str(span["start_time"]))

    def named(self, name: str) -> Span:
        """The one span of this name."""
        (span,) = [span for span in self.spans if span["name"] == name]
        return span

    def below(self, parent: Span) -> list[Span]:
        """The spans that name this one as their parent."""
        return [span for span in self.spans if span["parent_id"] == parent["context"]["span_id"]]

    def _of(self, name: str) -> list[Span]:
        wanted = self.ids[name]
        return [span for span in self.spans if span["attributes"].get("messaging.message.id") == wanted]


@pytest.fixture(scope="module", params=EVERY_POOL)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return watched(tmp_path_factory.mktemp("opentelemetry"), *request.param)


def watched(folder: Path, *options: str) -> Seen:
    """What a worker and a producer tell of all jobs."""
    spans = folder / "spans"
    spans.mkdir()
    with Server(folder / "redis") as server:
        environment = variables(server, SPANS=str(spans))
        with worker(APP, environment, folder / "worker.log", *options) as started:
            ids = produced(PRODUCER, environment)
    assert names_pool(started.log, options), started.log
    return Seen(ids, [json.loads(line) for file in spans.iterdir() for line in file.read_text().splitlines()])


def trace(span: Span) -> str:
    return str(span["context"]["trace_id"])


def test_a_run_is_below_the_span_that_sent_it(seen: Seen) -> None:
    (send,), (run,) = seen.sends_of("add"), seen.runs_of("add")
    assert (send["kind"], run["kind"]) == ("SpanKind.PRODUCER", "SpanKind.CONSUMER")
    assert send["parent_id"] == seen.named("/add")["context"]["span_id"]
    assert run["parent_id"] == send["context"]["span_id"]
    assert trace(run) == trace(send) == trace(seen.named("/add"))


def test_a_run_tells_task_job_and_state(seen: Seen) -> None:
    (run,) = seen.runs_of("add")
    told = run["attributes"]
    assert run["name"] == f"run/{APP}.add"
    assert told["celery.task_name"] == f"{APP}.add"
    assert told["celery.action"] == "run"
    assert told["celery.state"] == "SUCCESS"
    assert told["messaging.message.id"] == seen.ids["add"]
    assert run["status"]["status_code"] == "UNSET"


def test_what_a_body_does_is_below_its_run(seen: Seen) -> None:
    (run,) = seen.runs_of("add")
    assert [span["name"] for span in seen.below(run)] == ["look up the price"]


def test_an_error_is_told_once(seen: Seen) -> None:
    (run,) = seen.runs_of("fail")
    (event,) = [event for event in run["events"] if event["name"] == "exception"]
    assert event["attributes"]["exception.type"] == "ValueError"
    assert event["attributes"]["exception.message"] == "order 7 has no lines"
    assert run["status"] == {"status_code": "ERROR", "description": "order 7 has no lines"}
    assert run["attributes"]["celery.state"] == "FAILURE"


def test_each_attempt_is_a_run_of_one_trace(seen: Seen) -> None:
    first, last = seen.runs_of("second_time")
    assert [run["attributes"]["celery.state"] for run in (first, last)] == ["RETRY", "SUCCESS"]
    assert "nobody answers" in first["attributes"]["celery.retry.reason"]
    assert trace(first) == trace(last) == trace(seen.named("/second_time"))
    assert [send["context"]["span_id"] for send in seen.sends_of("second_time")] == [
        run["parent_id"] for run in (first, last)
    ]


def test_the_steps_of_a_chain_are_one_trace(seen: Seen) -> None:
    (first,), (send,), (second,) = seen.runs_of("first"), seen.sends_of("second"), seen.runs_of("second")
    assert send["parent_id"] == first["context"]["span_id"]
    assert second["parent_id"] == send["context"]["span_id"]
    assert trace(first) == trace(second) == trace(seen.named("/chain"))


def test_a_job_that_our_client_sent_is_joined_as_well(seen: Seen) -> None:
    (send,), (run,) = seen.sends_of("enqueued"), seen.runs_of("enqueued")
    assert send["parent_id"] == seen.named("/enqueued")["context"]["span_id"]
    assert run["parent_id"] == send["context"]["span_id"]


def test_a_job_knows_nothing_of_those_before_it_in_its_child(seen: Seen) -> None:
    (bare,), (send,) = seen.runs_of("bare"), seen.sends_of("bare")
    assert send["parent_id"] is None
    assert trace(bare) not in {trace(run) for name in seen.ids if name != "bare" for run in seen.runs_of(name)}


def test_no_job_has_a_span_too_many(seen: Seen) -> None:
    attempts = {name: 2 if name == "second_time" else 1 for name in seen.ids}
    assert {name: len(seen.runs_of(name)) for name in seen.ids} == attempts
    assert {name: len(seen.sends_of(name)) for name in seen.ids} == attempts


@pytest.mark.parametrize("options", EVERY_POOL)
def test_a_child_that_makes_room_has_told_everything(options: tuple[str, ...], tmp_path: Path) -> None:
    seen = watched(tmp_path, "--max-tasks-per-child", "1", *options)
    assert all(seen.runs_of(name) for name in seen.ids)
