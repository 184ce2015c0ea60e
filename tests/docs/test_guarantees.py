"""Every guarantee has its ground, its limits and tests that show it; each number of the drawing has its row."""

import re

import pytest

from docs.pictures import how_a_job_moves as script
from tests.live import ROOT

PAGES = ROOT / "docs"
GUARANTEES = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (PAGES / "guarantees.md").read_text(), re.DOTALL | re.MULTILINE)
NOT_YET = "Not yet"


@pytest.mark.parametrize(("name", "text"), GUARANTEES, ids=[name for name, _ in GUARANTEES])
def test_a_guarantee_is_a_sentence_with_its_ground_its_limits_and_its_tests(name: str, text: str) -> None:
    if name == NOT_YET:
        return
    parts = re.fullmatch(
        r"\n\*\*[^*]+\.\*\*\n\n- Rests on: .+?\n- Limits: .+?\n- Shown by:\s(?P<shown>.+?)\n*", text, re.DOTALL
    )
    assert parts, text
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", parts["shown"]), "it names no test"


def test_every_number_of_the_drawing_has_its_row() -> None:
    picture = script.PICTURE.read_text()
    numbers = re.findall(r'class="number"[^>]*>(\d+)<', picture)
    rows = re.findall(r"^\| (\d+) \|", (PAGES / "how-a-job-moves.md").read_text(), re.MULTILINE)
    assert sorted(numbers, key=int) == rows
    assert len(rows) >= 9


def test_the_drawing_is_what_its_script_draws() -> None:
    assert script.PICTURE.read_text() == script.drawn().picture(), "run python docs/pictures/how_a_job_moves.py"
