"""docs/schedules.md: what its examples say comes next is what comes next."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from penstock.ledger.fires import FireState
from penstock.scheduler.forecast import planned_times
from penstock.scheduler.planning import Standing, plan
from penstock.scheduler.schedule import Schedule
from tests.live import ROOT

PAGE = (ROOT / "docs" / "schedules.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FROM = datetime(2026, 12, 1, tzinfo=UTC)
TEN = datetime(2026, 12, 1, 10, tzinfo=UTC)
NEXT, TAKES, DOWN, CALLS = "# → ", "# a job takes ", "# no beat until ", "# first call: "
CASES = (NEXT, TAKES, DOWN, CALLS)


def statements() -> Iterator[tuple[str, str]]:
    """Each `schedule(...)` of the page with the comment that says what it does."""
    for block in BLOCKS:
        code = ""
        for line in block.splitlines():
            if line.startswith(CASES):
                yield code.strip(), line
                code = ""
            else:
                code += line + "\n"
        if code.strip():
            yield code.strip(), ""


@pytest.fixture(scope="module")
def namespace() -> dict[str, Any]:
    """What the blocks share."""
    return {"__name__": "docs_schedules"}


EXAMPLES = list(statements())


@pytest.mark.parametrize(("code", "says"), EXAMPLES, ids=[str(number) for number in range(len(EXAMPLES))])
def test_an_example_does_what_the_page_says(namespace: dict[str, Any], code: str, says: str) -> None:
    made = run(code, namespace)
    if says.startswith(NEXT):
        assert upcoming(made, says.removeprefix(NEXT).count(",") + 1) == says.removeprefix(NEXT)
    elif says.startswith(TAKES):
        seconds, expected = re.fullmatch(r"(\d+) s: (.*)", says.removeprefix(TAKES)).groups()  # type: ignore[union-attr]
        assert while_a_job_runs(made, timedelta(seconds=int(seconds)), expected.count(",") + 1) == expected
    elif says.startswith(DOWN):
        end, expected = says.removeprefix(DOWN).split(": ", 1)
        assert after_an_outage(made, end) == expected
    elif says.startswith(CALLS):
        assert calls(made) == says.removeprefix("# ")


def test_the_page_has_examples_of_each_kind() -> None:
    counts = {case: sum(says.startswith(case) for _, says in EXAMPLES) for case in CASES}
    assert counts[NEXT] >= 15
    assert counts[TAKES] >= 4
    assert counts[DOWN] >= 5
    assert counts[CALLS] == 1


def run(code: str, namespace: dict[str, Any]) -> Schedule:
    """The schedule that the last statement of the code makes."""
    made: list[Schedule] = []
    if "schedule" in namespace:
        declare = namespace.setdefault("declare", namespace["schedule"])

        def noted(*args: Any, **kwargs: Any) -> Schedule:
            made.append(declare(*args, **kwargs))
            return made[-1]

        namespace["schedule"] = noted
    exec(code, namespace)  # noqa: S102  the page's own code
    return made[-1] if made else Schedule(name="none", task="none", when=namespace["Every"](60))


def upcoming(schedule: Schedule, count: int) -> str:
    times = islice(planned_times(schedule, FROM), count)
    return ", ".join(
        f"{time:%Y-%m-%d %H:%M}{'' if is_utc(schedule) else ' ' + time.isoformat()[-6:]}" for time in times
    )


def is_utc(schedule: Schedule) -> bool:
    return schedule.timezone is None


def while_a_job_runs(schedule: Schedule, takes: timedelta, count: int) -> str:
    """What becomes of the times when each job takes so long; what waits starts when the job has ended."""
    told, standing, end = [], Standing(schedule.after(TEN - timedelta(seconds=1))), None
    while len(told) < count and standing.planned_at:
        now = standing.planned_at
        if end and end <= now:
            starts = standing.waiting > 0
            end = end + takes if starts else None
            standing = Standing(now, standing.fires, None, starts, max(standing.waiting - 1, 0))
        decided = plan(schedule, standing, now)
        (decision,) = decided.decisions
        told.append(f"{decision.planned_at:%H:%M} {decision.state.value}")
        standing = decided.standing
        if decision.state is FireState.FIRED and end is None:
            end = now + takes
    return ", ".join(told)


def after_an_outage(schedule: Schedule, end: str) -> str:
    """What becomes of the times after ten o'clock when the first beat is up at ``end``."""
    now = datetime.combine(TEN.date(), datetime.strptime(end, "%H:%M:%S").time(), UTC)
    decided = plan(schedule, Standing(schedule.after(TEN)), now)
    return ", ".join(f"{each.planned_at:%H:%M} {each.state.value}" for each in decided.decisions)


def calls(schedule: Schedule) -> str:
    first, second = islice(planned_times(schedule, FROM), 2)
    told = []
    for time, previous in ((first, None), (second, first)):
        args, kwargs = schedule.arguments(time, previous)
        words = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        told.append(f"report({', '.join(words)})")
    return f"first call: {told[0]}; then: {told[1]}"
