"""What a person reads when an assertion fails: what was enqueued, the nearest miss first, and what is different."""

import pytest

from tests.testing.project import Run, run

TESTS = """
from penstock import task

@task(queue="mail")
def welcome(user_id: int, template: str = "default") -> None: ...

@task(queue="money")
def charge(cents: int) -> None: ...

def test_miss(jobs):
    charge.enqueue(5)
    welcome.enqueue(8, template="new")
    welcome.options(delay=600).enqueue(7)
    jobs.assert_enqueued(welcome, user_id=8, template="old", queue="mail")

def test_nothing(jobs):
    jobs.assert_enqueued(welcome, user_id=8)

def test_count(jobs):
    welcome.enqueue(1)
    jobs.assert_enqueued(welcome, count=2)

def test_unwanted(jobs):
    welcome.enqueue(1)
    jobs.assert_not_enqueued(welcome)

def test_something(jobs):
    welcome.enqueue(1)
    jobs.assert_enqueued_nothing()
"""


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("failing")
    (folder / "test_it.py").write_text(TESTS)
    return run(folder, folder / "report.xml")


def test_the_nearest_miss_comes_first_with_what_is_different(failing: Run) -> None:
    expected = """\
AssertionError: No job was enqueued like test_it.welcome(user_id=8, template='old') with queue='mail'.
Enqueued were 3 jobs, the nearest first:
  test_it.welcome  (user_id=8, template='new')  queue=mail
                   ^ template: wanted 'old', got 'new'
  test_it.welcome  (user_id=7, template='default')  queue=mail due in 600 s
                   ^ user_id: wanted 8, got 7
                   ^ template: wanted 'old', got 'default'
  test_it.charge   (cents=5)  queue=money"""
    assert failing.outcomes["test_miss"].message.startswith(expected)


def test_it_ends_at_the_tests_own_line(failing: Run) -> None:
    message = failing.outcomes["test_miss"].message
    assert "test_it.py:14: in test_miss" in message
    assert "penstock/testing" not in message


def test_nothing_is_said_to_be_nothing(failing: Run) -> None:
    assert "Nothing was enqueued." in failing.outcomes["test_nothing"].message


def test_another_number_is_told(failing: Run) -> None:
    assert "Wanted 2 jobs like test_it.welcome(), and there are 1." in failing.outcomes["test_count"].message


def test_what_should_not_be_there_is_shown(failing: Run) -> None:
    assert "1 job was enqueued like test_it.welcome(), and none should be." in failing.outcomes["test_unwanted"].message
    said = failing.outcomes["test_something"].message
    assert "1 job was enqueued, and none should be.\nEnqueued was 1 job:\n  test_it.welcome" in said
