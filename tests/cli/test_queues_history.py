"""`queues history` without a worker: what it reads, and how it shows that to people and to machines."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from penstock.cli.queue_history import bars, print_history
from penstock.cli.queues import STEPS, queues
from penstock.ledger.histogram import bucket_of
from penstock.ledger.minutes import LENGTHS, Counts, Depth, Span, write_counts, write_depths
from penstock.ledger.session import writing
from penstock.operations import history
from penstock.operations.history import look_back
from tests.cli.conftest import Run
from tests.conftest import NewLedger


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """One database will do: what is read is tested on each."""
    with new_ledger("sqlite") as url:
        yield url


@pytest.fixture
def measured(database_url: str) -> datetime:
    """A queue that was measured in six minutes and not in the one between; the beginning of the first."""
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=7)
    with writing(database_url) as connection:
        for number in (0, 1, 2, 4, 5, 6):
            at = begin + timedelta(minutes=number)
            second, age = int(at.timestamp()), 40.0 * number or None
            depth = Depth(10 * number, 0, 0, 2, age, 60 * number, at)
            span, quarter = (Span("mail", length, second // length * length) for length in LENGTHS)
            write_depths(connection, [(span, depth), (quarter, depth)])
            ran, waited = Counter({bucket_of(0.2): 30}), Counter({bucket_of(5): 30})
            write_counts(connection, "w", {span: Counts(30, number % 2, 0, 0, waited, ran)})
    return begin


def told(run: Run, *arguments: str) -> dict[str, Any]:
    result = run(queues, "history", "mail", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return dict(json.loads(result.stdout))


def shown(app: Any, since: datetime, width: int = 80) -> str:
    """What a terminal gets."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_history(console, look_back(app, "mail", since), as_json=False)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_json_has_all_numbers_and_null_where_nobody_measured(run: Run, measured: datetime) -> None:
    history = told(run, "--since", measured.isoformat())
    points = {datetime.fromisoformat(point["at"]): point for point in history["points"]}
    second, gap = points[measured + timedelta(minutes=1)], points[measured + timedelta(minutes=3)]
    assert (second["ready"], second["oldest_seconds"], second["in_flight"]) == (10, 40, 2)
    assert (second["accepted_per_second"], second["succeeded_per_second"], second["failed_per_second"]) == (
        1,
        0.5,
        1 / 60,
    )
    assert second["runs"]["p95"] == pytest.approx(0.2, rel=0.15)
    assert second["waits"]["p50"] == pytest.approx(5, rel=0.15)
    assert {name for name, value in gap.items() if value is not None} == {"at"}
    assert (history["queue"], history["step_seconds"]) == ("mail", 60)
    assert (history["summary"]["succeeded"], history["summary"]["failed"]) == (180, 2)
    assert datetime.fromisoformat(history["late_since"]) == measured + timedelta(minutes=2)


def test_a_pipe_gets_a_line_for_each_step(run: Run, measured: datetime) -> None:
    lines = run(queues, "history", "mail", "--since", measured.isoformat()).stdout.splitlines()
    second, gap = lines[1].split("\t"), lines[3].split("\t")
    assert second[:5] == [(measured + timedelta(minutes=1)).isoformat(), "10", "40.000", "2", "0"]
    assert len(second) == len(gap) == 17
    assert set(gap[1:]) == {""}


@pytest.mark.parametrize(("since", "step"), [("1h", 60), ("2h", 300), ("1d", 900), ("3d", 3600), ("30d", 21600)])
def test_a_history_is_made_of_steps_that_suit_its_time(run: Run, measured: datetime, since: str, step: int) -> None:
    assert told(run, "--since", since)["step_seconds"] == step


def test_a_step_can_be_asked_for(run: Run, measured: datetime) -> None:
    assert told(run, "--step", "5m")["step_seconds"] == 300
    assert run(queues, "history", "mail", "--step", "7m").exit_code == 2


def test_a_terminal_gets_a_line_of_bars_for_each_thing(app: Any, measured: datetime) -> None:
    text = shown(app, measured)
    lines = {line[:13].strip(): line for line in text.splitlines()}
    assert "60" in lines["ready"]
    assert "·▂▃ ▆▇█" in lines["ready"]
    assert "parked" not in lines
    assert "late since" in text
    assert "half ran up to" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminal_gets_what_fits(app: Any, measured: datetime, width: int) -> None:
    begin = measured - timedelta(minutes=60)
    table = shown(app, begin, width).partition("succeeded,")[0].splitlines()
    assert max(map(len, table)) <= width


def test_a_queue_that_nobody_has_measured_says_so(run: Run, app: Any, measured: datetime) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    print_history(console, look_back(app, "default", measured), as_json=False)
    assert "nobody has measured default" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_queue_that_nobody_knows_is_refused(run: Run) -> None:
    result = run(queues, "history", "defualt")
    assert result.exit_code == 1
    assert result.stderr == "penstock: there is no queue defualt; did you mean default?\n"


@pytest.mark.parametrize(("since", "why"), [("2126-01-01T00:00Z", "begins in the past"), ("99w", "a longer step")])
def test_a_time_that_makes_no_sense_is_refused(run: Run, measured: datetime, since: str, why: str) -> None:
    result = run(queues, "history", "mail", "--since", since, "--step", "1m")
    assert result.exit_code == 1
    assert why in result.stderr


def test_bars_are_as_high_as_their_values() -> None:
    assert bars([0, 1, 2, None, 8]) == "·▂▃ █"
    assert bars([0, None]) == "· "
    assert bars([]) == ""


def test_the_steps_that_can_be_asked_for_are_those_that_there_are() -> None:
    assert tuple(history.STEPS) == STEPS
