"""The jobs around a job as a graph: generations from left to right, and each job a link."""

import re
from typing import Any

from penstock.flower.family_chart import family_chart
from penstock.job import State
from penstock.operations.jobs.family import Family, Kin, Member
from tests.operations.jobs.lives import job


def member(id: str, kin: Kin, generation: int, of: str | None = None, **values: Any) -> Member:
    return Member(job(id=id, **values), kin, generation, of)


def drawn(*members: Member) -> str:
    return family_chart(Family([member("one", Kin.ITSELF, 0), *members], is_cut=False), lambda id: f"/job/{id}")


def columns(chart: str) -> list[str]:
    """How far from the left each job is, in their order."""
    return re.findall(r'<rect class="node [^"]*" x="(\d+)"', chart)


def test_a_job_alone_is_no_graph() -> None:
    assert drawn() == ""


def test_generations_go_from_left_to_right() -> None:
    chart = drawn(member("parent", Kin.PARENT, -1), member("child", Kin.CHILD, 1, "one"))
    itself, parent, child = map(int, columns(chart))
    assert parent < itself < child


def test_each_job_is_a_link_with_its_state_and_says_what_it_is() -> None:
    chart = drawn(member("child", Kin.CHILD, 1, "one", state=State.FAILED))
    assert re.search(r'<a href="/job/child" aria-label="t child, failed, child">.*class="node node-failed"', chart)
    assert chart.count("aria-current") == 1


def test_edges_go_to_what_a_job_comes_from_and_replays_have_their_own() -> None:
    chart = drawn(member("child", Kin.CHILD, 1, "one"), member("new", Kin.REPLAY, 0, "one"))
    assert chart.count('class="edge"') == 1
    assert chart.count('class="edge replay"') == 1


def test_names_of_somebody_else_are_text() -> None:
    chart = drawn(member('<script>"', Kin.CHILD, 1, "one", task="<b>\u202e"))
    assert "<script>" not in chart
    assert "<b>" not in chart
    assert "\u202e" not in chart
