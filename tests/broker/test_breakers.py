"""Trip, probe, switch, unbreak, and the verb admit: when jobs of a task start, and where they are while they do not."""

import pytest

from penstock.breaker import Breaker
from penstock.broker import breakers, queues
from penstock.broker.breakers import HALF_OPEN, OPEN
from penstock.broker.release import release_all
from penstock.broker.scripts import ADMITTED, REFUSED, SETTLED, Claimed, Source
from tests.broker.bench import QUEUE, WORKER, Bench

TASK = "demo.x"
RULE = Breaker(failures=3, window=60, pause=10).rule
BY_RATIO = Breaker(ratio=0.5, minimum=4).rule


def trip(bench: Bench, failed: int, others: int = 0, *, told: tuple[str, ...] = (), rule: list[str] = RULE) -> str:
    """Attempts that have ended."""
    return bench.scripts.trip(TASK, rule, (failed, others), "ConnectionError: down", told)


def state(bench: Bench) -> str:
    standing = breakers.standing(bench.scripts, TASK)
    return standing.state if standing else breakers.CLOSED


def aside(bench: Bench, *raws: bytes, step: int = 0) -> str:
    """An open breaker has put these aside; the key of their list."""
    if state(bench) == breakers.CLOSED:
        trip(bench, 3)
    for message in claimed(bench, *raws, step=step):
        assert admit(bench, message.token, f"j{message.token}") == SETTLED
    return bench.keys.broken_list(QUEUE, step, TASK)


def claimed(bench: Bench, *raws: bytes, step: int = 0) -> list[Claimed]:
    """A live worker claims just these, whatever it has claimed before."""
    bench.scripts.join(WORKER)
    bench.push(*raws, step=step)
    held = bench.client.hget(bench.keys.worker(WORKER), f"base:{WORKER}")
    return bench.claim(Source(QUEUE, step), base=0 if held is None else int(held) + 100).messages


def admit(bench: Bench, token: str, job: str = "j") -> int:
    return bench.settle("admit", TASK, job, token=token)


def wait_over(bench: Bench) -> None:
    """The pause is over."""
    bench.client.hset(bench.keys.breaker(TASK), "next", bench.now - 1)


def probing(bench: Bench) -> str:
    """A probe that runs; its claim, as records name it."""
    trip(bench, 3)
    wait_over(bench)
    bench.scripts.probe(TASK)
    (message,) = bench.hold(b"a")
    assert admit(bench, message.token) == ADMITTED
    return f"{WORKER.rpartition('/')[2]}:{message.token}"


def test_failures_below_the_threshold_change_nothing(bench: Bench) -> None:
    assert trip(bench, 2) == ""
    assert state(bench) == breakers.CLOSED


def test_the_failure_that_reaches_the_threshold_opens_it(bench: Bench) -> None:
    trip(bench, 2)
    assert trip(bench, 1) == "opened"
    standing = breakers.standing(bench.scripts, TASK)
    assert standing is not None
    assert (standing.state, standing.times, standing.fault) == (OPEN, 1, "ConnectionError: down")
    assert [each.task for each in breakers.standings(bench.scripts)] == [TASK]


def test_failures_that_are_older_than_the_window_count_no_more(bench: Bench) -> None:
    slice_ms = 60_000 // 20
    bench.client.hset(bench.keys.attempts(TASK), f"f{bench.now // slice_ms - 20}", 2)
    assert trip(bench, 1) == ""
    assert breakers.failures_in_window(bench.scripts, TASK) == 1


def test_counts_of_a_quiet_task_are_forgotten(bench: Bench) -> None:
    trip(bench, 1)
    assert 60_000 < bench.client.pttl(bench.keys.attempts(TASK)) <= 120_000


def test_a_share_of_failures_opens_it_from_a_minimum_of_attempts_on(bench: Bench) -> None:
    assert trip(bench, 3, rule=BY_RATIO) == ""
    assert trip(bench, 0, 4, rule=BY_RATIO) == ""
    assert trip(bench, 1, rule=BY_RATIO) == "opened"


def test_a_closed_breaker_lets_jobs_start(bench: Bench) -> None:
    (message,) = bench.hold(b"a")
    assert admit(bench, message.token) == ADMITTED
    assert bench.space == bench.holding(t1_0=b"a")


def test_an_open_breaker_puts_a_job_aside_and_says_why(bench: Bench) -> None:
    key = aside(bench, b"a")
    assert bench.client.lrange(key, 0, -1) == [b"4:j1:0a"]
    assert bench.client.hget(bench.keys.blocked, "j1:0") == b"breaker of demo.x"
    assert queues.status(bench.scripts, [QUEUE])[0].blocked == 1
    assert admit(bench, "1:0") == REFUSED


def test_a_job_whose_claim_was_taken_away_is_not_put_aside(bench: Bench) -> None:
    trip(bench, 3)
    assert admit(bench, "1:0") == REFUSED
    assert breakers.broken_lists(bench.scripts) == []


def test_before_the_pause_is_over_nothing_is_tried(bench: Bench) -> None:
    aside(bench, b"a")
    assert not bench.scripts.probe(TASK)
    assert state(bench) == OPEN


def test_after_the_pause_the_oldest_job_is_tried_before_all_that_waits(bench: Bench) -> None:
    key = aside(bench, b"a", b"b")
    bench.push(b"c")
    wait_over(bench)
    assert bench.scripts.probe(TASK)
    assert state(bench) == HALF_OPEN
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [b"c", b"a"]
    assert bench.client.lrange(key, 0, -1) == [b"4:j2:0b"]
    assert bench.client.hkeys(bench.keys.blocked) == [b"j2:0"]


def test_several_probes_keep_their_order(bench: Bench) -> None:
    trip(bench, 3, rule=Breaker(failures=3, probes=2).rule)
    aside(bench, b"a", b"b", b"c")
    wait_over(bench)
    bench.scripts.probe(TASK)
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [b"b", b"a"]


def test_a_half_open_breaker_lets_as_many_start_as_it_has_probes(bench: Bench) -> None:
    probing(bench)
    (message,) = claimed(bench, b"b")
    assert admit(bench, message.token) == SETTLED


def test_a_probe_that_asks_again_is_the_same_probe(bench: Bench) -> None:
    probing(bench)
    assert admit(bench, "1:0") == ADMITTED


def test_a_probe_that_succeeds_closes_it(bench: Bench) -> None:
    claim = probing(bench)
    assert trip(bench, 0, 1, told=(claim, "0")) == "closed"
    assert breakers.standings(bench.scripts) == []
    assert not bench.client.exists(bench.keys.breaker(TASK))


def test_a_probe_that_fails_opens_it_for_longer(bench: Bench) -> None:
    claim = probing(bench)
    rule = Breaker(failures=3, pause=10, backoff=3).rule
    assert trip(bench, 1, told=(claim, "1"), rule=rule) == "opened"
    standing = breakers.standing(bench.scripts, TASK)
    assert standing is not None
    assert standing.next_at is not None
    assert (standing.state, standing.times) == (OPEN, 2)
    assert (standing.next_at - standing.since).total_seconds() == 30


@pytest.mark.parametrize("failed", [0, 1])
def test_what_began_before_it_opened_says_nothing_of_now(bench: Bench, failed: int) -> None:
    probing(bench)
    assert trip(bench, failed, 1 - failed, told=("00000001:99:0", str(failed))) == ""
    assert state(bench) == HALF_OPEN


def test_a_probe_that_never_answers_is_made_up_for_after_another_pause(bench: Bench) -> None:
    probing(bench)
    aside(bench, b"b")
    assert not bench.scripts.probe(TASK)
    wait_over(bench)
    bench.scripts.probe(TASK)
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [b"b"]


def test_a_probe_that_made_no_attempt_gives_its_turn_to_the_oldest_that_is_aside(bench: Bench) -> None:
    claim = probing(bench)
    aside(bench, b"b", b"c")
    bench.settle("return")
    assert trip(bench, 0, told=(claim, "")) == ""
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [b"a", b"b"]
    returned, other = bench.claim(base=9000).messages
    assert (returned.raw, admit(bench, returned.token), admit(bench, other.token)) == (b"b", ADMITTED, SETTLED)


def test_a_probe_that_has_answered_gives_no_turn_away(bench: Bench) -> None:
    trip(bench, 3, rule=Breaker(failures=3, probes=2).rule)
    aside(bench, b"a", b"b", b"c")
    wait_over(bench)
    bench.scripts.probe(TASK)
    first, second = bench.claim(base=9000).messages
    assert (admit(bench, first.token), admit(bench, second.token)) == (ADMITTED, ADMITTED)
    claim = f"{WORKER.rpartition('/')[2]}:{first.token}"
    assert trip(bench, 0, 1, told=(claim, "0", claim, "")) == ""
    assert bench.client.llen(bench.keys.ready(QUEUE, 0)) == 0


def test_a_probe_that_was_made_up_for_gives_no_second_turn_away(bench: Bench) -> None:
    claim = probing(bench)
    aside(bench, b"b", b"c")
    wait_over(bench)
    bench.scripts.probe(TASK)
    trip(bench, 0, told=(claim, ""))
    assert bench.client.hget(bench.keys.breaker(TASK), "left") == b"1"


def test_one_that_was_brought_forward_and_ended_before_it_asked_is_made_up_for(bench: Bench) -> None:
    """It was revoked, and so it never asks."""
    aside(bench, b"a", b"b")
    wait_over(bench)
    bench.scripts.probe(TASK)
    (revoked,) = bench.claim(base=9000).messages
    bench.settle("ack", token=revoked.token)
    trip(bench, 0, told=(f"{WORKER.rpartition('/')[2]}:{revoked.token}", ""))
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [b"b"]
    assert bench.client.hget(bench.keys.breaker(TASK), "left") == b"1"


def test_a_probe_that_has_not_started_is_not_made_up_for(bench: Bench) -> None:
    key = aside(bench, b"a", b"b")
    for _ in range(2):
        wait_over(bench)
        bench.scripts.probe(TASK)
    assert bench.client.lrange(key, 0, -1) == [b"4:j2:0b"]


def test_one_that_was_brought_forward_and_taken_by_others_is_made_up_for_after_another_pause(bench: Bench) -> None:
    """Whoever takes it from its queue, to cancel it or as a stock worker does, asks nobody and tells nothing."""
    aside(bench, b"a", b"b")
    wait_over(bench)
    bench.scripts.probe(TASK)
    assert bench.client.rpop(bench.keys.ready(QUEUE, 0)) == b"a"
    wait_over(bench)
    bench.scripts.probe(TASK)
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [b"b"]
    assert bench.client.hget(bench.keys.breaker(TASK), "left") == b"1"


def test_what_was_aside_returns_to_the_end_of_its_queue_in_slices_and_in_order(bench: Bench) -> None:
    key = aside(bench, b"a", b"b", b"c")
    bench.scripts.switch(TASK, "closed", "", "")
    bench.push(b"d")
    assert [bench.scripts.unbreak(key, limit=2) for _ in range(3)] == [(2, True), (1, False), (0, False)]
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [b"c", b"b", b"a", b"d"]
    assert not bench.client.exists(bench.keys.broken, bench.keys.blocked, key)


def test_a_breaker_that_a_person_opens_stays_open_until_a_person_closes_it(bench: Bench) -> None:
    assert bench.scripts.switch(TASK, "open", "ann", "maintenance") == breakers.CLOSED
    standing = breakers.standing(bench.scripts, TASK)
    assert standing is not None
    assert (standing.state, standing.next_at, standing.by, standing.note) == (OPEN, None, "ann", "maintenance")
    assert not bench.scripts.probe(TASK)
    assert bench.scripts.switch(TASK, "closed", "ann", "") == OPEN
    assert bench.scripts.switch(TASK, "closed", "ann", "") == breakers.CLOSED


@pytest.mark.parametrize("task", ["a\x1fb", "", "a:b:3:c", "%d ä"], ids=repr)
def test_whatever_its_names_a_job_comes_back_unharmed(bench: Bench, task: str) -> None:
    raw, job = bytes(range(256)), "12:ä\x1f"
    bench.scripts.switch(task, "open", "", "")
    bench.hold(raw)
    bench.settle("admit", task, job)
    (broken,) = breakers.broken_lists(bench.scripts)
    assert (broken.task, broken.queue, broken.messages) == (task, QUEUE, 1)
    bench.scripts.unbreak(broken.list_key)
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [raw]
    assert not bench.client.exists(bench.keys.blocked)


def test_a_purge_takes_what_is_aside(bench: Bench) -> None:
    aside(bench, b"a", b"b")
    assert [*queues.purge(bench.scripts, QUEUE)] == [("blocked", [b"a", b"b"])]
    assert not bench.client.exists(bench.keys.broken)


def test_a_release_brings_back_what_is_aside_and_forgets_the_breakers(bench: Bench) -> None:
    aside(bench, b"a", b"b")
    assert release_all(bench.scripts).blocked == 2
    assert bench.client.lrange(bench.keys.ready(QUEUE, 0), 0, -1) == [b"b", b"a"]
    assert breakers.standings(bench.scripts) == []
