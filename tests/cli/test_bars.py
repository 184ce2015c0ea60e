"""The bars of a job's phases."""

import io
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from penstock.cli.portrait import SHOWN_ATTEMPTS, print_life
from penstock.ledger.rows import AttemptRow, JobRow
from penstock.operations.jobs.life import Life
from tests.operations.jobs.lives import at, attempt, job


def drawn(row: JobRow, *attempts: AttemptRow, width: int = 80) -> list[str]:
    """The lines of the phases."""
    console = Console(file=io.StringIO(), width=width, no_color=True)
    print_life(console, Life(row, list(attempts), None, [], [], None, None, [], []), ZoneInfo("UTC"))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.split("phases\n")[1].split("\n\n")[0].splitlines()


def test_bars_lie_on_one_scale_and_touch() -> None:
    wait, first, second, last = drawn(job(), attempt(1, 5, 6, "retried"), attempt(2, 8, 10))
    assert wait.rstrip().endswith("░")
    assert len(wait) == first.index("█") == len(wait.rstrip())
    assert second.index("░") == len(first[: -len("  retried")].rstrip())
    assert last.index("█") == len(second)
    assert last.endswith("█  succeeded")
    assert 0.45 < wait.count("░") / (last.rindex("█") + 1 - wait.index("░")) < 0.55


@pytest.mark.parametrize("width", [40, 80, 120])
def test_bars_fit_the_terminal(width: int) -> None:
    lines = drawn(job(), attempt(1, 5, 6, "retried"), attempt(2, 8, 10), width=width)
    assert max(map(len, lines)) == width


def test_a_phase_of_no_length_is_seen() -> None:
    lines = drawn(job(finished_at=at(0)), attempt(1, 0, 0))
    assert [line.count("░") + line.count("█") for line in lines] == [1, 1]
    assert "█" in drawn(job(), attempt(1, 10, 10))[1]


def test_of_very_many_attempts_the_last_are_drawn() -> None:
    many = [attempt(number, number, number + 0.5, "retried") for number in range(1, 31)]
    row = replace(job(), finished_at=at(31), attempts=30)
    lines = drawn(row, *many)
    assert len(lines) == 2 * SHOWN_ATTEMPTS
    assert lines[-1].startswith("  attempt 30  500ms")
