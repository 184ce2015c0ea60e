"""Cancel: a revocation that says until when a body may go on; and finding the messages of cancelled jobs."""

import json

from penstock.broker import seeking
from penstock.broker.scripts import Settlement
from tests.broker.bench import FIRST, QUEUE, WORKER, Bench


def message(id: str, body: str = "") -> bytes:
    return json.dumps({"body": body, "headers": {"id": id, "root_id": "other"}, "properties": {}}).encode()


def asked(bench: Bench, id: str) -> tuple[int, int | None]:
    at, _, stop = bench.client.hget(bench.keys.cancelling, id).decode().partition(":")  # type: ignore[union-attr]
    return int(at), int(stop) if stop else None


def test_a_cancelled_job_is_revoked_and_the_request_says_until_when_it_may_go_on(bench: Bench) -> None:
    before = bench.now
    version = bench.scripts.cancel(["j1", "j2"], 2.5)
    assert bench.client.zscore(bench.keys.revoked, "j2") == version
    at, stop = asked(bench, "j1")
    assert before <= at <= bench.now
    assert stop == at + 2500


def test_whoever_asks_again_may_shorten_the_grace_and_never_lengthen_it(bench: Bench) -> None:
    bench.scripts.cancel(["j1"], None)
    assert asked(bench, "j1")[1] is None
    bench.scripts.cancel(["j1"], 5)
    at, stop = asked(bench, "j1")
    assert stop is not None
    for longer in (60, None):
        bench.scripts.cancel(["j1"], longer)
    assert asked(bench, "j1") == (at, stop)
    bench.scripts.cancel(["j1"], 1)
    assert asked(bench, "j1")[1] < stop  # type: ignore[operator]


def test_jobs_are_found_where_they_are_ready_and_by_their_own_ids_alone(bench: Bench) -> None:
    bench.scripts.publish("p", 1, QUEUE, 3, [("j1", message("j1")), ("j2", message("j2", '{"id": "j1"}'))])
    (found,) = seeking.find(bench.scripts, ["j1"], seeking.noted(bench.scripts, ["j1"]))
    assert (found.job_id, found.raw, found.queue, found.step, found.is_parked) == ("j1", message("j1"), QUEUE, 3, False)


def test_a_parked_job_is_found_by_its_time(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    due = bench.now + 1_000_000
    bench.scripts.publish("p", 1, QUEUE, 0, [(id, message(id)) for id in ("j1", "j2")], due)
    place = seeking.noted(bench.scripts, ["j1", "j9"])
    assert (place["j1"].since_ms, place["j1"].is_due, "j9" in place) == (due, False, False)
    (found,) = seeking.find(bench.scripts, ["j1"], place)
    assert (found.raw, found.is_parked) == (message("j1"), True)


def test_a_parked_job_that_no_index_has_is_found_by_its_id(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    due = bench.now + 1_000_000
    bench.scripts.publish("p", 1, QUEUE, 0, [("", message(id)) for id in ("a*c", "abc")], due)
    assert [found.raw for found in seeking.find_parked(bench.scripts, "a*c")] == [message("a*c")]


def test_what_is_removed_leaves_nothing_and_all_else_stays(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.publish("p", 1, QUEUE, 0, [(id, message(id)) for id in ("j1", "j2")])
    bench.scripts.publish("p", 2, QUEUE, 0, [("j3", message("j3"))], bench.now + 1_000_000)
    found = seeking.find(bench.scripts, ["j1", "j3"], seeking.noted(bench.scripts, ["j1", "j3"]))
    seeking.remove(bench.scripts, found)
    assert bench.space[bench.keys.ready(QUEUE, 0)] == [message("j2")]
    assert bench.space[bench.keys.waiting(QUEUE)].keys() == {b"j2"}
    assert bench.keys.parked(QUEUE) not in bench.space


def test_the_last_message_of_an_unknown_task_takes_its_list_off_the_register(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.publish("p", 1, QUEUE, 0, [("j1", message("j1"))])
    bench.claim()
    bench.scripts.settle([Settlement(WORKER, QUEUE, FIRST, "block", "demo.x", "j1")])
    seeking.remove(bench.scripts, seeking.find(bench.scripts, ["j1"], {}))
    assert not {bench.keys.unknown, bench.keys.blocked} & bench.space.keys()


def test_a_job_that_somebody_holds_is_told_to_be_held(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.scripts.publish("p", 1, QUEUE, 0, [(id, message(id)) for id in ("j1", "j2")])
    bench.claim(count=1)
    assert seeking.held(bench.scripts) == {"j1"}
