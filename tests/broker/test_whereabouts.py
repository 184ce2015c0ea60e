"""Where one job is, and what is known of workers, as Redis has it."""

import json

import pytest

from penstock.broker import whereabouts
from penstock.broker.whereabouts import Whereabouts
from tests.broker.bench import QUEUE, WORKER, Bench
from tests.broker.messages import raw_message


def find(bench: Bench, id: str) -> Whereabouts:
    return whereabouts.find(bench.scripts, id)


def test_a_claimed_message_is_found_with_the_one_that_its_claimer_has_first(bench: Bench) -> None:
    bench.hold(raw_message("1"), raw_message("2"))
    claim = find(bench, "2").claim
    assert claim is not None
    assert (claim.worker, claim.queue, claim.first) == (WORKER, QUEUE, "1")


def test_a_stock_producer_s_spacing_is_read_as_well(bench: Bench) -> None:
    bench.hold(json.dumps(json.loads(raw_message("1"))).encode())
    assert find(bench, "1").claim is not None


def test_a_message_whose_body_looks_like_a_job_s_own_is_another_s(bench: Bench) -> None:
    message = json.loads(raw_message("1"))
    message["headers"]["about"] = {"id": "2"}
    bench.hold(json.dumps(message).encode())
    assert find(bench, "2").claim is None


def test_a_message_that_names_a_job_is_told_apart_from_its_own(bench: Bench) -> None:
    bench.hold(raw_message("1", "job-2"))
    found = find(bench, "job-2")
    assert found.claim is None
    assert found.named_by is not None
    assert found.named_by["headers"]["id"] == "1"


def test_it_looks_at_so_many_messages_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "MOST_MESSAGES", 2)
    bench.hold(raw_message("1"), raw_message("2"), raw_message("3"))
    found = find(bench, "2")
    assert (found.claim, found.is_cut) == (None, True)


def test_looking_changes_nothing(bench: Bench) -> None:
    bench.hold(raw_message("1"))
    before = bench.space
    find(bench, "1")
    find(bench, "nobody")
    assert bench.space == before


def test_a_card_is_written_with_a_lease_and_read_back(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    card = {"queues": ["mail"], "stopped": ["web"], "full": True, "away": bench.now, "places": 2, "single": False}
    assert bench.scripts.renew(WORKER, json.dumps(card))
    (told,) = find(bench, "1").workers
    assert (told.queues, told.stopped, told.is_full, told.places, told.is_single) == (
        ("mail",),
        ("web",),
        True,
        2,
        False,
    )
    assert told.ledger_away_since is not None


@pytest.mark.parametrize("card", ["no JSON", "[]", '{"queues": 7, "away": "x", "places": "many"}', '{"queues": [1]}'])
def test_a_card_that_nobody_can_read_says_nothing(bench: Bench, card: str) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.renew(WORKER, card)
    (told,) = find(bench, "1").workers
    assert (told.queues, told.is_full, told.places, told.ledger_away_since) == ((), False, 0, None)


def test_a_worker_without_a_lease_gets_no_card(bench: Bench) -> None:
    assert not bench.scripts.renew(WORKER, "{}")
    assert bench.space == {}


def test_a_job_that_is_parked_under_its_name_is_due_when_its_message_is(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.publish("p", 1, QUEUE, 0, [("1", raw_message("1"))], 0)
    bench.claim()
    due = bench.now + 60_000
    bench.settle("park", str(due), "1")
    found = find(bench, "1")
    assert found.waits_since is not None
    assert int(found.waits_since.timestamp() * 1000) == due
    assert found.parked is not None
