"""Names of the messages of an outcome: the outbox knows them apart, however long the job's id is."""

import pytest

from penstock.ledger.collecting import Collection, collecting, current_of
from penstock.ledger.tables import ID_LENGTH


@pytest.mark.parametrize("length", [36, ID_LENGTH - 1, ID_LENGTH, 1000])
def test_each_message_of_a_job_has_a_key_of_its_own_that_its_column_takes(length: int) -> None:
    id = "x" * length
    keys = [Collection(id).key_for(id, retries) for retries in range(12)]
    keys.append(Collection(id, is_replacing=True).key_for(id, 0))
    assert len(set(keys)) == len(keys)
    assert max(map(len, keys)) <= ID_LENGTH


def test_the_first_message_of_a_job_is_called_like_the_job() -> None:
    assert Collection("parent").key_for("child", 0) == "child"


def test_a_body_that_another_one_calls_does_not_report_for_it() -> None:
    with collecting("outer") as outer:
        assert current_of("outer") is outer
        assert current_of("inner") is None
