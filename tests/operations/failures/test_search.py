"""Errors of failed jobs, found by what they say."""

from datetime import UTC, datetime, timedelta

import pytest

from penstock.job import Reason, State
from penstock.ledger.failure_groups import GroupFilter
from penstock.ledger.records import Encoded
from penstock.ledger.rows import Failure, Outcome
from penstock.ledger.session import reading
from penstock.operations.failures.search import Errors, find_errors
from penstock.operations.failures.trends import Change
from tests.ledger.making import delivery, end, write

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def fail(url: str, id: str, message: str, fingerprint: str, ago: timedelta = timedelta(), task: str = "t") -> None:
    """A job that fails for good."""
    failure = Failure(type="ValueError", message=message, exception=Encoded("{}"), fingerprint=fingerprint)
    outcome = Outcome(state=State.FAILED, reason=Reason.ERROR, failure=failure)
    write(url, end(delivery(id, task=task, token=id), outcome, at=NOW - ago, started_at=NOW - ago))


def found(url: str, text: str | None = None, hours: int = 24, limit: int = 10) -> Errors:
    with reading(url) as connection:
        chosen = GroupFilter(since=NOW - timedelta(hours=hours))
        return find_errors(connection, chosen, text, NOW, limit)


@pytest.mark.parametrize("text", ["no CUSTOMER", "ValueError", "aaaa"])
def test_text_is_looked_for_in_the_error_and_its_fingerprint(database_url: str, text: str) -> None:
    fail(database_url, "1", "no customer 7", "aaaa")
    fail(database_url, "2", "disk full", "bbbb", task="other")
    groups = found(database_url, text).groups
    assert "aaaa" in {each.group.fingerprint for each in groups}
    assert ("bbbb" in {each.group.fingerprint for each in groups}) is (text == "ValueError")


def test_sums_are_of_what_fits(database_url: str) -> None:
    fail(database_url, "1", "no customer 7", "aaaa")
    fail(database_url, "2", "disk full", "bbbb")
    fail(database_url, "3", "disk full", "bbbb")
    everything, some = found(database_url), found(database_url, "customer")
    assert (everything.total, everything.jobs) == (2, 3)
    assert (some.total, some.jobs, sum(some.counts)) == (1, 1, 1)


def test_a_short_time_is_counted_alone_and_still_shows_the_day_before_it(database_url: str) -> None:
    fail(database_url, "1", "no", "aaaa", timedelta(hours=20))
    fail(database_url, "2", "no", "aaaa", timedelta(hours=10))
    fail(database_url, "3", "no", "aaaa")
    errors = found(database_url, hours=1)
    (only,) = errors.groups
    assert only.group.count == 1
    assert (len(errors.hours), sum(only.parts)) == (25, 3)
    assert only.parts[-1] == 1
    assert only.change is Change.STEADY


def test_nothing_is_no_error(database_url: str) -> None:
    errors = found(database_url)
    assert (errors.groups, errors.total, sum(errors.counts)) == ([], 0, 0)
    assert len(errors.counts) == len(errors.hours)


def test_a_time_that_begins_long_ago_is_counted_as_a_whole_and_drawn_for_a_month(database_url: str) -> None:
    fail(database_url, "1", "no", "aaaa", timedelta(days=90))
    fail(database_url, "2", "no", "aaaa")
    errors = found(database_url, hours=24 * 365)
    assert errors.jobs == 2
    assert (len(errors.hours), sum(errors.counts)) == (31 * 24 + 1, 1)


def test_hours_are_those_of_all_errors_also_of_those_that_are_not_listed(database_url: str) -> None:
    fail(database_url, "1", "no customer 7", "aaaa")
    fail(database_url, "2", "no customer 8", "aaaa")
    fail(database_url, "3", "disk full", "bbbb")
    errors = found(database_url, limit=1)
    assert [each.group.fingerprint for each in errors.groups] == ["aaaa"]
    assert (errors.total, errors.counts[-1]) == (2, 3)
