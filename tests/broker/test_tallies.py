"""What is counted for the balance sheet, and that everything there is can be found again."""

from datetime import UTC, datetime

import pytest

from penstock.broker import census
from penstock.broker.census import Held, Place
from tests.broker.bench import QUEUE, WORKER, Bench
from tests.broker.messages import raw_message


def tally(bench: Bench) -> dict[str, int]:
    """What was counted, without the time."""
    found = {field.decode(): int(count) for field, count in bench.client.hgetall(bench.keys.tally).items()}
    found.pop("since", None)
    return found


def publish(bench: Bench, *ids: str, call: int = 1, queue: str = QUEUE, due: int = 0, is_new: bool = True) -> None:
    """Publishes jobs as our producers do."""
    bench.scripts.publish("p", call, queue, 0, [(id, raw_message(id)) for id in ids], due, is_new=is_new)


def held(bench: Bench, queue: str = QUEUE) -> Held:
    return census.take(bench.scripts).queues[queue]


def met(bench: Bench, *names: str, upstream: bool = False) -> list[tuple[str, Place, str]]:
    """(job, place, holder) of each message, in order."""
    found = census.messages(bench.scripts, names or [QUEUE], upstream=upstream)
    return sorted((message.job_id, message.place, message.holder) for message in found)


def test_new_jobs_are_counted_by_queue(bench: Bench) -> None:
    publish(bench, "1", "2")
    publish(bench, "3", call=2, queue="other")
    assert tally(bench) == {f"accepted:{QUEUE}": 2, "accepted:other": 1}


def test_the_first_count_notes_since_when_and_later_ones_leave_it(bench: Bench) -> None:
    publish(bench, "1")
    since = bench.client.hget(bench.keys.tally, "since")
    assert bench.recent == int(since)
    bench.client.hset(bench.keys.tally, "since", 5)
    publish(bench, "2", call=2, queue="other")
    assert bench.client.hget(bench.keys.tally, "since") == b"5"


def test_a_repeated_call_counts_once(bench: Bench) -> None:
    publish(bench, "1")
    publish(bench, "1")
    assert tally(bench) == {f"accepted:{QUEUE}": 1}


def test_a_job_that_goes_on_is_not_counted_again(bench: Bench) -> None:
    publish(bench, "1", is_new=False)
    assert tally(bench) == {}


def test_an_id_that_waits_already_is_one_job_however_often_it_is_sent(bench: Bench) -> None:
    publish(bench, "1", "1")
    publish(bench, "1", "2", call=2)
    assert tally(bench) == {f"accepted:{QUEUE}": 2}


def test_jobs_for_later_are_counted_when_they_are_accepted(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    publish(bench, "1", due=bench.now + 60_000)
    assert tally(bench) == {f"accepted:{QUEUE}": 1}


def test_what_is_swept_off_the_index_was_taken_elsewhere(bench: Bench) -> None:
    publish(bench, "1", "2")
    assert bench.scripts.sweep(QUEUE, bench.now + 1) == 2
    publish(bench, "3", call=2)
    assert bench.scripts.sweep(QUEUE, bench.now - 60_000) == 0
    assert tally(bench) == {f"accepted:{QUEUE}": 3, f"elsewhere:{QUEUE}": 2}
    assert bench.client.zrange(bench.keys.waiting(QUEUE), 0, -1) == [b"3"]


def test_the_census_finds_everything_where_it_is(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    publish(bench, "dead", "gone", "blocked", "running")
    for token, verb, arguments in (("1:0", "bury", ("bad", "dead")), ("2:0", "quarantine", ("bad",))):
        bench.claim(base=int(token[0]) - 1, count=1)
        bench.settle(verb, *arguments, token=token)
    bench.claim(base=2, count=1)
    bench.settle("block", "none.such", "blocked", token="3:0")
    bench.claim(base=3, count=1)
    publish(bench, "later", call=2, due=bench.now + 60_000)
    publish(bench, "next", "last", call=3)
    expected = Held(ready=2, parked=1, blocked=1, in_flight=1, buried=1, quarantined=1, accepted=7)
    assert held(bench) == expected
    assert expected.messages == 6
    assert met(bench) == [
        ("blocked", Place.BLOCKED, ""),
        ("dead", Place.BURIED, f"{WORKER}:1:0"),
        ("gone", Place.QUARANTINED, f"{WORKER}:2:0"),
        ("last", Place.READY, ""),
        ("later", Place.PARKED, ""),
        ("next", Place.READY, ""),
        ("running", Place.IN_FLIGHT, WORKER),
    ]
    assert met(bench, upstream=True) == met(bench)


def test_the_census_is_one_call_that_changes_nothing(bench: Bench) -> None:
    publish(bench, "1")
    bench.scripts.join(WORKER)
    bench.claim()
    before = bench.space
    census.take(bench.scripts, ["named"])
    assert bench.space == before


def test_a_queue_that_only_the_app_names_is_counted_as_well(bench: Bench) -> None:
    bench.push(b"a", queue="named")
    assert census.take(bench.scripts, ["named"]).queues["named"].ready == 1


def test_the_claims_of_a_dying_worker_are_still_in_flight(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.client.zrem(bench.keys.leases, WORKER)
    bench.client.hset(bench.keys.dying, WORKER, 1)
    assert held(bench).in_flight == 2


def test_a_message_of_ours_is_told_from_one_of_a_stock_producer(bench: Bench) -> None:
    publish(bench, "ours")
    bench.push(b'{"body": "", "headers": {"id": "theirs", "task": "a"}, "properties": {}}', b"not json")
    found = {message.job_id: message.is_accepted for message in census.messages(bench.scripts, [QUEUE])}
    assert found == {"ours": True, "theirs": False, "": False}


def test_only_the_queues_that_are_asked_for_are_looked_through(bench: Bench) -> None:
    publish(bench, "1")
    publish(bench, "2", call=2, queue="other")
    assert met(bench, "other") == [("2", Place.READY, "")]


def test_lists_of_more_than_a_slice_are_read_whole(bench: Bench) -> None:
    ids = [str(number) for number in range(census.SLICE + 3)]
    publish(bench, *ids)
    assert [message.job_id for message in census.messages(bench.scripts, [QUEUE])] == ids[::-1]


def test_what_is_published_during_a_look_passes_nothing_over(bench: Bench) -> None:
    ids = [str(number) for number in range(census.SLICE + 3)]
    publish(bench, *ids)
    look = census.messages(bench.scripts, [QUEUE])
    first = next(look)
    publish(bench, "new 1", "new 2", call=2)
    assert {first.job_id, *(message.job_id for message in look)} >= set(ids)


def test_the_index_can_be_read(bench: Bench) -> None:
    publish(bench, "1", "2")
    assert sorted(census.indexed(bench.scripts, QUEUE)) == ["1", "2"]


def test_a_new_beginning_is_added_to_what_was_accepted_and_says_when(bench: Bench) -> None:
    publish(bench, "1")
    census.rebase(bench.scripts, {QUEUE: 5, "other": 0})
    census.rebase(bench.scripts, {QUEUE: -2})
    found = census.take(bench.scripts)
    assert found.queues[QUEUE].accepted == 4
    assert found.rebased is not None
    assert abs((datetime.now(UTC) - found.rebased).total_seconds()) < 60
    assert "base:other" not in tally(bench)


def test_without_any_count_there_is_no_beginning(bench: Bench) -> None:
    found = census.take(bench.scripts)
    assert (found.since, found.rebased, found.changed, found.unseen) == (None, None, None, 0)


def test_a_restart_that_a_keeper_has_noticed_is_told(bench: Bench) -> None:
    bench.client.hset(bench.keys.server, mapping={"run_id": "a", "changed": 1_700_000_000_000})
    assert census.take(bench.scripts).changed == datetime.fromtimestamp(1_700_000_000, UTC)


def test_of_very_many_dead_letters_the_rest_is_told(bench: Bench) -> None:
    bench.client.rpush(bench.keys.dead, *(f"entry {number}" for number in range(1003)))
    assert census.take(bench.scripts).unseen == 3


@pytest.mark.parametrize("worker", [WORKER, "ant@a/b/00000002"])
def test_live_workers_are_known_by_what_tells_them_apart(bench: Bench, worker: str) -> None:
    bench.scripts.join(worker)
    assert census.live_incarnations(bench.scripts) == {worker[-8:]}
