"""The list Breakers of the page Failures: tasks that are not started, and who may change that."""

from collections.abc import Iterator

import pytest

from tests.flower.live.conftest import NewGround
from tests.flower.live.ground import Flower, Ground, Visitor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TASK = "tests.flower.live.tasks.fail"
LIST = "/failures?view=breakers"


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground() as made:
        yield made


def test_an_operator_opens_and_closes_the_breaker_of_a_task(flower: Flower) -> None:
    otto: Visitor = flower.visitor("otto")
    assert "No task declares a breaker" in otto.get(LIST).text
    opened = otto.post(LIST, {"deed": "open-breaker", "breaker": TASK, "note": "maintenance"})
    assert "is not started any more" in opened.text
    listed = otto.get(LIST).text
    assert "maintenance" in listed
    assert 'value="close-breaker"' in listed
    assert "is started again" in otto.post(LIST, {"deed": "close-breaker", "breaker": TASK}).text
    assert "No task declares a breaker" in otto.get(LIST).text
    log = otto.get("/audit?view=log").text
    assert "open breaker" in log
    assert "close breaker" in log


def test_a_viewer_sees_breakers_and_may_not_switch_them(flower: Flower) -> None:
    vera = flower.visitor("vera")
    assert "open-breaker" not in vera.get(LIST).text
    assert vera.post(LIST, {"deed": "open-breaker", "breaker": TASK}).status == 403


@pytest.mark.parametrize(("task", "says"), [("", "no task is named"), ("none.such", "this app has no task none.such")])
def test_what_cannot_be_opened_says_why(flower: Flower, task: str, says: str) -> None:
    assert says in flower.visitor("otto").post(LIST, {"deed": "open-breaker", "breaker": task}).text
