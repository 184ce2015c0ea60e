"""Where everything is after a release, on Redis and on Valkey."""

import pytest

from penstock.broker import queues, release
from penstock.broker.release import Released, live_workers, release_all
from tests.broker.bench import QUEUE, WORKER, Bench
from tests.broker.messages import raw_message


def ready(bench: Bench, queue: str = QUEUE) -> list[bytes]:
    """The ready list, first in line first."""
    return bench.client.lrange(bench.keys.ready(queue, 0), 0, -1)[::-1]


def test_what_is_in_flight_goes_to_the_front_and_what_is_parked_to_the_end(bench: Bench) -> None:
    bench.hold(b"running 1", b"running 2")
    bench.publish(b"later", due_ms=bench.now + 60_000)
    bench.push(b"waiting")
    assert release_all(bench.scripts) == Released(in_flight=2, parked=1)
    assert ready(bench) == [b"running 1", b"running 2", b"waiting", b"later"]


def test_messages_of_unknown_tasks_come_back(bench: Bench) -> None:
    raw = raw_message("1", task="none.such")
    bench.hold(raw)
    bench.settle("block", "none.such", "1")
    assert release_all(bench.scripts) == Released(blocked=1)
    assert ready(bench) == [raw]
    assert not bench.client.exists(bench.keys.blocked, bench.keys.unknown)


def test_pauses_are_lifted_also_on_queues_that_nobody_published_to(bench: Bench) -> None:
    queues.pause(bench.scripts, QUEUE, "ada@host")
    queues.pause(bench.scripts, "other", "ada@host")
    assert release_all(bench.scripts).resumed == (QUEUE, "other")
    assert not bench.client.exists(bench.keys.gates)


def test_a_queue_that_only_the_app_knows_is_released(bench: Bench) -> None:
    bench.client.zadd(bench.keys.parked(QUEUE), {b"0\x1fu\x1flater": bench.now + 60_000})
    assert release_all(bench.scripts, [QUEUE]).parked == 1
    assert ready(bench) == [b"later"]


def test_afterwards_there_is_nothing_that_only_our_keepers_would_clear(bench: Bench) -> None:
    bench.hold(b"running")
    bench.scripts.publish("p", 1, QUEUE, 0, [("1", raw_message("1"))])
    release_all(bench.scripts)
    left = {bench.keys.ready(QUEUE, 0), bench.keys.queues, bench.keys.producer("p"), bench.keys.tally}
    assert bench.space.keys() == left


def test_a_second_release_does_nothing(bench: Bench) -> None:
    bench.hold(b"running")
    release_all(bench.scripts)
    assert release_all(bench.scripts) == Released()
    assert ready(bench) == [b"running"]


def test_a_worker_whose_claims_were_taken_half_way_is_released_as_well(bench: Bench) -> None:
    bench.hold(*(b"%d" % n for n in range(3)))
    bench.scripts.call("retire", WORKER, 0, 3, 1)
    assert release_all(bench.scripts).in_flight == 2
    assert ready(bench) == [b"0", b"1", b"2"]


def test_a_worker_that_renews_is_alive(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    assert live_workers(bench.scripts, 10) == [WORKER]


def test_a_worker_that_is_silent_for_a_lease_and_a_look_is_not(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "LOOK_SECONDS", 0.05)
    bench.scripts.join(WORKER)
    bench.silence(WORKER, 20_000)
    assert live_workers(bench.scripts, 10) == []


def test_a_worker_that_renews_after_an_outage_is_alive(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.scripts.join(WORKER)
    bench.silence(WORKER, 20_000)
    monkeypatch.setattr(release.time, "sleep", lambda _seconds: bench.scripts.renew(WORKER))
    assert live_workers(bench.scripts, 10) == [WORKER]
