"""Which deliveries may start at once, which ask the ledger first, and what its answer does to them."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.broker.claims import Claims
from penstock.broker.keys import Keys
from penstock.broker.scripts import Claimed, ClaimReply, Settlement
from penstock.engine.comeback import Comebacks
from penstock.engine.gate import Gate
from penstock.ledger.records import Record, Step, Verdict
from penstock.message import ENQUEUED_AT, OUTBOX, REPLAY_OF

WORKER = "ant@host/0000abcd"


class Notes:
    """What the keeper was told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Record, bool]] = []
        self.settled: list[Settlement] = []

    def ask(self, record: Record, is_doubtful: bool) -> None:
        self.asked.append((record, is_doubtful))

    def settle(self, settlement: Settlement) -> None:
        self.settled.append(settlement)

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """The index does not matter here."""


class Place:
    """A gate of a worker that holds one claim."""

    def __init__(self) -> None:
        self.notes = Notes()
        self.claims = Claims("ant@host", Keys(), self.notes)
        self.claims.begin(WORKER)
        self.claims.next_claim([], 1)
        self.claims.receive(ClaimReply(True, 0, 0, [Claimed("1:0", "mail", b"", 0, 0)]))
        self.comebacks = Comebacks()
        self.gate = Gate(self.notes, self.claims, self.comebacks)  # type: ignore[arg-type]
        self.started: list[Any] = []

    def holds_up(self, info: dict[str, Any] | None = None, **headers: Any) -> bool:
        return self.gate.holds_up(message(info, **headers), self.started.append)

    def answer(self, verdict: Verdict | None) -> list[str]:
        """What becomes of a delivery that has asked: the verbs by which its claim ends."""
        assert self.holds_up(retries=1)
        (record, _), *_ = self.notes.asked
        self.gate.open([(str(record.delivery.token), verdict)])
        return [settlement.verb for settlement in self.notes.settled]


def message(info: dict[str, Any] | None = None, **headers: Any) -> Any:
    told = {"routing_key": "mail", "claimer": WORKER, "token": "1:0", "deliveries": 0, **(info or {})}
    return SimpleNamespace(
        headers={"id": "j1", "task": "t", **headers},
        body="[[1], {}, {}]",
        delivery_info=told,
        delivery_tag="1:0",
        properties={"priority": 3},
    )


@pytest.fixture
def place() -> Place:
    return Place()


def minutes_ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def test_a_first_delivery_starts_at_once(place: Place) -> None:
    assert not place.holds_up(**{ENQUEUED_AT: minutes_ago(1)})
    assert not place.notes.asked


@pytest.mark.parametrize(
    ("info", "headers"),
    [({"deliveries": 1}, {}), ({}, {"retries": 1}), ({}, {OUTBOX: "j1"}), ({}, {REPLAY_OF: "j0"})],
    ids=["delivered before", "a retry", "of the outbox", "a replay"],
)
def test_a_delivery_that_may_not_be_the_only_one_asks_first(
    place: Place, info: dict[str, Any], headers: dict[str, Any]
) -> None:
    assert place.holds_up(info, **headers)
    ((record, is_doubtful),) = place.notes.asked
    assert (record.step, record.delivery.id, record.delivery.worker) == (Step.START, "j1", "ant@host")
    assert (record.delivery.token, record.delivery.priority) == ("0000abcd:1:0", 3)
    assert not is_doubtful


def test_who_may_have_missed_the_answer_asks_again_for_what_it_still_holds(place: Place) -> None:
    assert place.holds_up(retries=1)
    place.gate.ask_again()
    (first, second) = place.notes.asked
    assert first == second
    place.gate.open([(str(first[0].delivery.token), Verdict.WON)] * 2)
    assert len(place.started) == 1
    place.gate.ask_again()
    assert len(place.notes.asked) == 2


def test_nobody_asks_again_for_a_claim_that_was_taken_away(place: Place) -> None:
    assert place.holds_up(retries=1)
    place.claims.abandon([WORKER])
    place.gate.ask_again()
    assert len(place.notes.asked) == 1


def test_what_was_enqueued_before_redis_was_replaced_is_doubtful(place: Place) -> None:
    place.comebacks.notice(int(datetime.now(UTC).timestamp() * 1000))
    assert place.holds_up(**{ENQUEUED_AT: minutes_ago(1)})
    assert not place.holds_up(**{ENQUEUED_AT: minutes_ago(-1)})
    assert [is_doubtful for _, is_doubtful in place.notes.asked] == [True]


def test_a_change_of_the_server_is_news_once() -> None:
    assert [Comebacks().notice(changed) for changed in (0, 5)] == [False, True]
    comebacks = Comebacks()
    assert [comebacks.notice(changed) for changed in (5, 5, 4, 6)] == [True, False, False, True]


def test_a_delivery_that_has_won_starts(place: Place) -> None:
    assert place.answer(Verdict.WON) == []
    assert len(place.started) == 1


@pytest.mark.parametrize("verdict", [Verdict.ENDED, Verdict.STALE])
def test_a_delivery_whose_job_has_ended_or_goes_on_elsewhere_is_done_with(place: Place, verdict: Verdict) -> None:
    assert place.answer(verdict) == ["ack"]
    assert not place.started


def test_a_delivery_whose_job_runs_elsewhere_waits_aside(place: Place) -> None:
    assert place.answer(None) == ["park"]
    assert not place.started


def test_a_delivery_whose_claim_was_taken_away_meanwhile_does_not_start(place: Place) -> None:
    place.claims.abandon([WORKER])
    assert place.answer(Verdict.WON) == []
    assert not place.started
