"""Settle: only who still owns an entry ends it, and every verb leaves the message in exactly one place."""

from hashlib import sha1

import pytest

from penstock.broker.keys import FIELD_SEPARATOR
from penstock.broker.scripts import BURIED, REFUSED, SETTLED, Settlement, Source
from tests.broker.bench import FIRST, LIMIT, QUEUE, WORKER, Bench
from tests.broker.keyspace import Space

VERBS = {
    "ack": (),
    "ack_counted": (),
    "return": (),
    "interrupt": (),
    "requeue": (),
    "crash": (str(LIMIT),),
    "park": ("2000000000000",),
    "block": ("demo.x", "j1"),
    "bury": ("too bad", "j1"),
    "quarantine": ("not JSON",),
}
BINARY = bytes(range(256)) + b"\x1f\x1f\xff\xfe\x00"


def parked(bench: Bench, raw: bytes, due: int, token: str = FIRST) -> Space:
    """A message that a claimer put aside."""
    sep = FIELD_SEPARATOR.encode()
    number, _, step = token.partition(":")
    member = sep.join([step.encode(), f"{WORKER}:{int(number):016d}".encode(), raw])
    return {bench.keys.parked(QUEUE): {member: due}, bench.keys.queues: {QUEUE.encode()}}


def blocked(bench: Bench, *raws: bytes, task: str = "demo.x", step: int = 0) -> Space:
    """A list of an unknown task, first in line first, and the note of it."""
    key = bench.keys.unknown_list(QUEUE, step, task)
    return {key: list(raws[::-1]), bench.keys.unknown: {key: FIELD_SEPARATOR.join([task, QUEUE, str(step)]).encode()}}


def test_ack_ends_a_claim(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    assert bench.settle("ack") == SETTLED
    assert bench.space == bench.holding(t2_0=b"b")


def test_the_last_ack_leaves_nothing_of_the_message(bench: Bench) -> None:
    bench.hold(b"a")
    bench.settle("ack")
    assert bench.space == bench.idle()


def test_ack_counted_forgets_the_delivery_count(bench: Bench) -> None:
    bench.hold(b"a")
    bench.settle("requeue")
    bench.claim(base=1)
    assert bench.settle("ack_counted", token="2:0") == SETTLED
    assert bench.space == bench.idle(base=1)


def test_return_puts_a_message_in_front_and_counts_nothing(bench: Bench) -> None:
    bench.hold(b"a")
    bench.push(b"b")
    assert bench.settle("return") == SETTLED
    assert bench.space == {**bench.idle(), **bench.ready(b"a", b"b"), **bench.wake(1)}


def test_interrupt_puts_a_message_in_front_and_counts_a_delivery(bench: Bench) -> None:
    bench.hold(b"a")
    bench.push(b"b")
    assert bench.settle("interrupt") == SETTLED
    assert bench.space == {**bench.idle(), **bench.ready(b"a", b"b"), **bench.wake(1), **bench.counted(b"a", 1, 0)}


def test_return_goes_to_the_step_that_the_message_came_from(bench: Bench) -> None:
    bench.hold(b"a", step=6)
    bench.settle("return", token="1:6")
    assert bench.space == {**bench.idle(), **bench.ready(b"a", step=6), **bench.wake(1)}


def test_messages_returned_newest_first_are_in_their_old_order(bench: Bench) -> None:
    bench.hold(b"a", b"b", b"c")
    tokens = ["3:0", "2:0", "1:0"]
    bench.scripts.settle(Settlement(WORKER, QUEUE, token, "return") for token in tokens)
    assert bench.space == {**bench.idle(), **bench.ready(b"a", b"b", b"c"), **bench.wake(3)}


def test_requeue_puts_a_message_last_in_line_and_counts_a_delivery(bench: Bench) -> None:
    bench.hold(b"a")
    bench.push(b"b")
    assert bench.settle("requeue") == SETTLED
    assert bench.space == {
        **bench.idle(),
        **bench.ready(b"b", b"a"),
        **bench.wake(1),
        **bench.counted(b"a", 1, 0),
    }


def test_requeue_never_buries(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a")
    for base in range(5):
        bench.claim(base=base)
        assert bench.settle("requeue", token=f"{base + 1}:0") == SETTLED
    assert bench.space == {
        **bench.idle(base=4),
        **bench.ready(b"a"),
        **bench.wake(1),
        **bench.counted(b"a", 5, 0),
    }


def test_crash_puts_a_message_in_front_and_counts_it(bench: Bench) -> None:
    bench.hold(b"a")
    bench.push(b"b")
    assert bench.settle("crash", str(LIMIT)) == SETTLED
    assert bench.space == {
        **bench.idle(),
        **bench.ready(b"a", b"b"),
        **bench.wake(1),
        **bench.counted(b"a", 1, 1),
    }


def test_a_message_is_buried_with_its_payload_at_the_crash_limit(bench: Bench) -> None:
    bench.scripts.join(WORKER)
    bench.push(b"a")
    answers = []
    for base in range(LIMIT):
        bench.claim(base=base)
        answers.append(bench.settle("crash", str(LIMIT), token=f"{base + 1}:0"))
    assert answers == [SETTLED, SETTLED, BURIED]
    dead = bench.dead(b"a", "buried", "its process died 3 times", token="3:0", deliveries=3)
    assert bench.space == {**bench.idle(base=2), **dead}


def test_a_limit_of_one_buries_at_the_first_crash(bench: Bench) -> None:
    bench.hold(b"a")
    assert bench.settle("crash", "1") == BURIED
    assert bench.space == {**bench.idle(), **bench.dead(b"a", "buried", "its process died once")}


def test_deliveries_without_a_crash_do_not_bring_the_burial_nearer(bench: Bench) -> None:
    bench.hold(b"a")
    bench.settle("requeue")
    bench.claim(base=1)
    assert bench.settle("crash", "2", token="2:0") == SETTLED
    assert bench.space == {
        **bench.idle(base=1),
        **bench.ready(b"a"),
        **bench.wake(1),
        **bench.counted(b"a", 2, 1),
    }


def test_park_puts_a_message_aside_until_its_time(bench: Bench) -> None:
    bench.hold(b"a", step=3)
    assert bench.settle("park", "2000000000000", token="1:3") == SETTLED
    assert bench.space == {**bench.idle(), **parked(bench, b"a", 2_000_000_000_000, "1:3")}


def test_equal_messages_are_parked_each_for_itself(bench: Bench) -> None:
    bench.hold(b"a", b"a")
    bench.settle("park", "2000000000000", token="1:0")
    bench.settle("park", "2000000000000", token="2:0")
    assert len(bench.space[bench.keys.parked(QUEUE)]) == 2


def test_park_keeps_the_delivery_count(bench: Bench) -> None:
    bench.hold(b"a")
    bench.settle("requeue")
    bench.claim(base=1)
    bench.settle("park", "2000000000000", token="2:0")
    assert bench.space == {
        **bench.idle(base=1),
        **parked(bench, b"a", 2_000_000_000_000, "2:0"),
        **bench.counted(b"a", 1, 0),
    }


def test_block_puts_messages_aside_by_task_in_order(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    assert bench.settle("block", "demo.x", "j1", token="1:0") == SETTLED
    assert bench.settle("block", "demo.x", "j2", token="2:0") == SETTLED
    reason = b"unknown task demo.x"
    assert bench.space == {
        **bench.idle(),
        **blocked(bench, b"a", b"b"),
        bench.keys.blocked: {"j1": reason, "j2": reason},
    }


def test_block_without_a_job_id_notes_the_list_only(bench: Bench) -> None:
    bench.hold(b"a", step=3)
    assert bench.settle("block", "demo.x", token="1:3") == SETTLED
    assert bench.space == {**bench.idle(), **blocked(bench, b"a", step=3)}


def test_bury_keeps_payload_reason_and_job(bench: Bench) -> None:
    bench.hold(b"a")
    assert bench.settle("bury", "its body is not valid", "j1") == BURIED
    assert bench.space == {**bench.idle(), **bench.dead(b"a", "buried", "its body is not valid", job="j1")}


def test_quarantine_keeps_payload_and_reason(bench: Bench) -> None:
    bench.hold(b"not json", step=9)
    assert bench.settle("quarantine", "not JSON", token="1:9") == BURIED
    assert bench.space == {**bench.idle(), **bench.dead(b"not json", "quarantined", "not JSON", token="1:9")}


@pytest.mark.parametrize("verb", ["bury", "quarantine"])
def test_the_dead_tell_all_their_deliveries_and_are_not_counted_any_more(bench: Bench, verb: str) -> None:
    bench.hold(b"a")
    bench.settle("requeue")
    bench.claim(base=1)
    bench.settle(verb, "why", token="2:0")
    kind = {"bury": "buried", "quarantine": "quarantined"}[verb]
    assert bench.space == {**bench.idle(base=1), **bench.dead(b"a", kind, "why", token="2:0", deliveries=2)}


def test_the_dead_stand_in_the_order_of_their_deaths(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.settle("bury", "why", token="2:0")
    bench.settle("bury", "why", token="1:0")
    assert bench.space[bench.keys.dead] == [f"{WORKER}:2:0".encode(), f"{WORKER}:1:0".encode()]


@pytest.mark.parametrize("verb", VERBS)
def test_a_claim_is_settled_once(bench: Bench, verb: str) -> None:
    bench.hold(b"a", b"b")
    assert bench.settle(verb, *VERBS[verb]) != REFUSED
    before = bench.space
    assert bench.settle(verb, *VERBS[verb]) == REFUSED
    assert bench.space == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("claimer", "queue", "token"),
    [
        (WORKER, QUEUE, "2:0"),
        (WORKER, QUEUE, "1:3"),
        (WORKER, "post", "1:0"),
        (f"{WORKER}/1", QUEUE, "1:0"),
        ("bee@host/00000002", QUEUE, "1:0"),
        (WORKER, QUEUE, "nonsense"),
    ],
)
def test_who_does_not_own_a_claim_changes_nothing(
    bench: Bench, verb: str, claimer: str, queue: str, token: str
) -> None:
    bench.hold(b"a")
    before = bench.space
    assert bench.scripts.settle([Settlement(claimer, queue, token, verb, *VERBS[verb])]) == [REFUSED]
    assert bench.space == before


@pytest.mark.parametrize("verb", VERBS)
def test_who_was_retired_is_refused_though_the_message_is_claimed_again(bench: Bench, verb: str) -> None:
    bench.hold(b"a")
    bench.scripts.retire(WORKER, counted=True, crash_limit=LIMIT)
    bench.scripts.join("bee@host/00000002")
    bench.scripts.claim("bee@host/00000002", "bee@host/00000002", 0, [Source(QUEUE, 0)])
    before = bench.space
    assert bench.settle(verb, *VERBS[verb]) == REFUSED
    assert bench.space == before


def test_each_settlement_of_a_call_is_answered_for_itself(bench: Bench) -> None:
    bench.hold(b"a", b"b", b"c")
    settlements = [
        Settlement(WORKER, QUEUE, "1:0", "ack"),
        Settlement(WORKER, QUEUE, "1:0", "ack"),
        Settlement(WORKER, QUEUE, "2:0", "bury", "why", ""),
        Settlement(WORKER, QUEUE, "9:0", "return"),
        Settlement(WORKER, QUEUE, "3:0", "requeue"),
    ]
    assert bench.scripts.settle(settlements) == [SETTLED, REFUSED, BURIED, REFUSED, SETTLED]
    assert bench.space == {
        **bench.idle(),
        **bench.dead(b"b", "buried", "why", token="2:0"),
        **bench.ready(b"c"),
        **bench.wake(1),
        **bench.counted(b"c", 1, 0),
    }


def test_no_settlements_are_no_trouble(bench: Bench) -> None:
    assert bench.scripts.settle([]) == []
    assert bench.space == {}


def test_a_claim_can_be_settled_after_its_lease_ended_and_before_it_was_taken_back(bench: Bench) -> None:
    bench.hold(b"a", b"b")
    bench.scripts.call("retire", WORKER, 1, LIMIT, 1)
    assert bench.settle("ack", token="1:0") == SETTLED
    bench.scripts.retire(WORKER, counted=True, crash_limit=LIMIT)
    assert bench.space == {**bench.ready(b"b"), **bench.wake(1), **bench.counted(b"b", 1, 1)}


@pytest.mark.parametrize("verb", ["return", "interrupt", "requeue", "crash"])
def test_any_bytes_come_back_unharmed(bench: Bench, verb: str) -> None:
    bench.hold(BINARY)
    bench.settle(verb, *VERBS[verb])
    assert bench.space.items() >= bench.ready(BINARY).items()


def test_any_bytes_are_put_aside_unharmed(bench: Bench) -> None:
    bench.hold(BINARY, BINARY, BINARY)
    bench.settle("park", "2000000000000", token="1:0")
    bench.settle("block", "demo.x", token="2:0")
    bench.settle("bury", "why", token="3:0")
    assert bench.space == {
        **bench.idle(),
        **parked(bench, BINARY, 2_000_000_000_000),
        **blocked(bench, BINARY),
        **bench.dead(BINARY, "buried", "why", token="3:0"),
    }


def test_deliveries_are_counted_by_the_digest_of_the_bytes(bench: Bench) -> None:
    bench.hold(BINARY)
    bench.settle("requeue")
    assert list(bench.space[bench.keys.deliveries]) == [sha1(BINARY, usedforsecurity=False).hexdigest()]


def test_a_flush_of_the_scripts_is_not_noticed(bench: Bench) -> None:
    bench.hold(b"a")
    bench.client.script_flush()
    assert bench.settle("ack") == SETTLED
    assert bench.space == bench.idle()


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_server_lets_claims_end(bench: Bench, verb: str) -> None:
    """Otherwise one message that cannot go back would keep those from being acknowledged that would make room."""
    bench.hold(b"a")
    with bench.full_memory():
        assert bench.settle(verb, *VERBS[verb]) != REFUSED


def test_an_unknown_verb_ends_no_claim(bench: Bench) -> None:
    bench.hold(b"a")
    before = bench.space
    with pytest.raises(Exception, match=r"verbs|nil"):
        bench.settle("forget")
    assert bench.space == before


def test_wake_tokens_for_what_came_back_are_capped(bench: Bench) -> None:
    bench.hold(b"a")
    bench.client.lpush(bench.keys.wake(QUEUE), *["1"] * 128)
    bench.settle("return")
    assert bench.space == {**bench.idle(), **bench.ready(b"a"), **bench.wake(128)}
