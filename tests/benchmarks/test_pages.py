"""The pages are made of what was found, all of it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.comparison import page
from benchmarks.comparison.catalogue import SYSTEMS
from benchmarks.comparison.outcome import UNITS, Drained, Outcome, Run
from benchmarks.found import Found
from benchmarks.report import Figure, Row
from benchmarks.scale import page as scale
from benchmarks.scale.claimers import Claiming
from benchmarks.scale.recorders import Recording

WHERE = {"processor": "2 cores (x86_64)", "load": "load 0.1 before the run"}
FACTS = {
    "pool": "celery.concurrency.prefork.TaskPool",
    "transport": "kombu.transport.redis.Transport",
    "backend": "celery.backends.base.DisabledBackend",
    "consumer": "celery.worker.consumer.consumer.Consumer",
    "configuration": "children 2, events off",
}


def outcome(name: str, rate: float) -> Outcome:
    drained = Drained(1000, rate, 764.0, 95.5, None, 9.0, 64.2)
    run = Run(drained, enqueue_many=5000.0, enqueue=2500.0, idle=[2.0, 3.0, 5.0], facts=FACTS)
    system = SYSTEMS[name]
    return Outcome(name, system.title, system.keeps, system.settings, {"celery": "5.7.0"}, [run] * 3)


CLAIMING = [
    Claiming(count, servers, rate, 8.0, busy, 1.3, 850.0)
    for count, servers, rate, busy in ((1, 1, 50_000.0, 0.4), (16, 1, 50_000.0, 0.4), (16, 2, 60_000.0, 0.2))
]
SCALE = scale.Scale(CLAIMING, [Recording(8, 40_000.0, 20.0, 900.0, 700.0)])
OUTCOMES = [outcome("celery_none", 1300.0), outcome("penstock_pg", 30_000.0), outcome("bullmq", 9000.0)]


def test_each_system_has_a_row_with_what_it_keeps_and_how_many_times_faster_ours_is() -> None:
    text = "\n".join(page.as_markdown(OUTCOMES, {"LPUSH": 45_000.0}, WHERE))
    (row,) = re.findall(r"^\| stock Celery prefork -c2 \| nothing \| 1,300 .*$", text, re.MULTILINE)
    assert "| 2,500 | 5,000 | 764 | 95.5 | — | 9 | 64.2 | 3 / 5 / 5 | 23.08 x |" in row
    assert "LPUSH 45,000/s" in text
    assert "kombu.transport.redis.Transport" in text
    assert "medians of 3" in text


def test_the_page_says_which_targets_hold_and_which_are_missed() -> None:
    text = "\n".join(page.as_markdown(OUTCOMES, {}, WHERE))
    assert "| run: times stock Celery prefork that keeps nothing ≥ 15 x | 23.1 | holds |" in text
    assert "| enqueue many: jobs/s from one process ≥ 80,000 | 5,000 | MISSED |" in text


def test_raw_data_has_the_median_of_every_quantity() -> None:
    medians = OUTCOMES[0].as_data()["medians"]
    assert len(medians) == len(UNITS)
    assert medians["run (jobs/s)"] == 1300
    assert medians["sql_cpu (µs/job)"] is None


def found() -> Found:
    figure = Figure("delay", "Submitting", "How.", [Row("delay()", "µs", [200.0], [500.0], less_is_better=True)])
    made = Found(WHERE, [figure], OUTCOMES, OUTCOMES, ran={"stock": {}, "ours": {}})
    made.scale = SCALE
    return made


@pytest.mark.parametrize(
    ("measured", "files"),
    [
        (["comparison", "sleeps"], ["comparison.md", "comparison.json", "pictures/comparison.svg"]),
        (["delay"], ["benchmarks.md", "benchmarks.json", "pictures/benchmarks.svg"]),
        (["comparison"], []),
        (["bulk"], []),
    ],
)
def test_a_page_is_written_by_a_run_that_has_measured_all_of_it(
    tmp_path: Path, measured: list[str], files: list[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    assert found().write(tmp_path, measured, ["delay"]) == [*files, "scale.md"]
    for name in (name for name in files if name.endswith(".md")):
        text = (tmp_path / name).read_text()
        assert WHERE["processor"] in text
        assert f"({name.replace('.md', '.json')})" in text


def test_the_picture_has_a_bar_for_each_system() -> None:
    picture = ElementTree.fromstring(page.picture(OUTCOMES))  # noqa: S314  our own
    said = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    for found in OUTCOMES:
        assert found.title in said
        assert f"keeps {found.keeps}" in said


def test_the_page_about_scale_says_where_each_server_is_at_its_end() -> None:
    text = scale.as_markdown(SCALE, WHERE)
    assert "| 8 µs of its one processor | 125,000 jobs/s |" in text
    assert "| 20 µs of any of its processors | 50,000 jobs/s for each |" in text
    assert "| 16 | 2 | 60,000 | 8 | 20% | 1.30 | 850 |" in text
    assert "{" not in text
