"""What a keeper tells of breakers, and what it does with claims that nobody answers for."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from penstock.breaker import Breaker
from penstock.broker import breakers
from penstock.broker.claims import Claims
from penstock.broker.keys import Keys
from penstock.broker.scripts import ADMITTED, REFUSED, SETTLED, Claimed, ClaimReply, Settlement
from penstock.engine.attempts import Attempt, Tell
from penstock.engine.keeping.breakers import Breakers
from penstock.engine.revoking import Revocations
from penstock.engine.running.admitting import Admission, Candidate, is_over
from tests.engine.station import Station

WORKER = "ant@host/00000001"
TASK, SHARED = "demo.x", "demo.share"


def keeper(station: Station, told: list[Any]) -> Breakers:
    ward = SimpleNamespace(scripts=station.scripts, tell=lambda **news: told.append(news), elect=lambda _: True)
    rules = {TASK: Breaker(failures=3).rule, SHARED: Breaker(ratio=0.5).rule}
    return Breakers(ward, rules)  # type: ignore[arg-type]


def test_a_keeper_tells_what_it_finds_though_it_is_nothing(station: Station) -> None:
    told: list[Any] = []
    duty = keeper(station, told)
    duty.perform()
    duty.perform()
    assert told == [{"broken": []}]


def test_a_keeper_tells_of_breakers_as_they_open_and_close(station: Station) -> None:
    told: list[Any] = []
    duty = keeper(station, told)
    for state in ("open", "closed"):
        station.scripts.switch(TASK, state, "ann", "")
        duty.perform()
    assert told == [{"broken": [TASK]}, {"broken": []}]


def test_what_was_no_attempt_counts_as_none(station: Station) -> None:
    station.redis.flushdb()
    duty = keeper(station, [])
    station.scripts.switch(TASK, "open", "ann", "")
    duty.perform()
    station.scripts.switch(TASK, "closed", "ann", "")
    duty.count(Attempt(TASK, "1:1:0", None, ""))
    duty.perform()
    assert not station.redis.exists(station.keys.attempts(TASK))
    duty.count(Attempt(TASK, "1:1:0", True, "down"))
    duty.perform()
    assert breakers.failures_in_window(station.scripts, TASK) == 1


def test_a_success_is_told_to_nobody_while_only_failures_count(station: Station) -> None:
    station.redis.flushdb()
    duty = keeper(station, [])
    for task in (TASK, SHARED):
        duty.count(Attempt(task, "1:1:0", False, ""))
    duty.perform()
    assert [station.redis.exists(station.keys.attempts(task)) for task in (TASK, SHARED)] == [0, 1]


class Settled:
    """Takes what a process of its own would carry to Redis."""

    def __init__(self) -> None:
        self.settlements: list[Settlement] = []

    def settle(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """Nothing."""


def admission(answers: Sequence[int], tell: Tell = lambda _: None) -> tuple[Admission, Claims, Settled]:
    """Of a process that holds three claims, and gets these answers."""
    settler = Settled()
    claims = Claims(hostname="host", keys=Keys(), settler=settler)
    claims.begin(WORKER)
    claims.next_claim([], 3)
    claims.receive(ClaimReply(True, 0, 0, [Claimed(f"{n}:0", "mail", b"", 0, 0) for n in (1, 2, 3)]))
    made = Admission(claims, lambda _: list(answers), tell)
    made.broken = frozenset([TASK])
    return made, claims, settler


CANDIDATES = [Candidate(f"{n}:0", TASK, f"j{n}") for n in (1, 2, 3)]


def test_what_may_start_is_held_on_and_what_may_not_is_let_go() -> None:
    made, claims, settler = admission([ADMITTED, SETTLED, REFUSED])
    refused = made.refuse(CANDIDATES)
    assert (refused.all, refused.aside) == ({"2:0", "3:0"}, {"2:0"})
    assert [claims.holds(f"{n}:0") for n in (1, 2, 3)] == [True, False, False]
    assert settler.settlements == []


def test_without_an_answer_everything_goes_back_in_its_order() -> None:
    made, claims, settler = admission([])
    assert made.refuse(CANDIDATES).all == {"1:0", "2:0", "3:0"}
    assert [(each.token, each.verb) for each in settler.settlements] == [(f"{n}:0", "return") for n in (3, 2, 1)]
    assert claims.held == 0


def test_jobs_of_other_tasks_and_those_of_others_are_not_asked_about() -> None:
    made, claims, _ = admission([])
    assert made.refuse([Candidate("1:0", "demo.y", "j"), Candidate("9:0", TASK, "j")]).all == set()
    assert claims.held == 3


def test_what_ends_without_having_started_is_not_asked_about() -> None:
    made, claims, _ = admission([])
    assert made.refuse([each._replace(is_over=True) for each in CANDIDATES]).all == set()
    assert claims.held == 3


def test_claims_that_have_ended_are_told_of_once_and_those_that_were_put_aside_are_not() -> None:
    told: list[Attempt] = []
    made, claims, _ = admission([ADMITTED, SETTLED], told.append)
    made.refuse([CANDIDATES[0], CANDIDATES[1], CANDIDATES[2]._replace(is_over=True)])
    made.tell_ended()
    assert told == []
    for token in ("1:0", "3:0"):
        claims.acknowledge(token)
    made.tell_ended()
    made.tell_ended()
    assert told == [Attempt(TASK, f"00000001:{token}", None, "") for token in ("1:0", "3:0")]


def test_a_job_is_over_when_it_is_revoked_or_has_expired() -> None:
    revocations = Revocations()
    revocations.learn(["revoked"], [])
    at = "1970-01-01T00:00:01+00:00"
    assert is_over({"id": "revoked"}, revocations, 0)
    assert [is_over({"id": "1", "expires": at}, revocations, now) for now in (999, 1000)] == [False, True]
    assert not is_over({"id": "1", "expires": None}, revocations, 0)
    assert not is_over({"id": "1", "expires": "nonsense"}, revocations, 0)
