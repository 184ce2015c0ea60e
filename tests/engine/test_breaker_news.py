"""What a keeper tells of breakers, and what it does with claims that nobody answers for."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from penstock.broker.claims import Claims
from penstock.broker.keys import Keys
from penstock.broker.scripts import ADMITTED, REFUSED, SETTLED, Claimed, ClaimReply, Settlement
from penstock.engine.keeping.breakers import Breakers
from penstock.engine.running.admitting import Admission, Candidate
from tests.engine.station import Station

WORKER = "ant@host/00000001"
TASK = "demo.x"


def keeper(station: Station, told: list[Any]) -> Breakers:
    ward = SimpleNamespace(scripts=station.scripts, tell=lambda **news: told.append(news), elect=lambda _: True)
    return Breakers(ward, {})  # type: ignore[arg-type]


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


class Settled:
    """Takes what a process of its own would carry to Redis."""

    def __init__(self) -> None:
        self.settlements: list[Settlement] = []

    def settle(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        """Nothing."""


def admission(answers: Sequence[int]) -> tuple[Admission, Claims, Settled]:
    """Of a process that holds three claims, and gets these answers."""
    settler = Settled()
    claims = Claims(hostname="host", keys=Keys(), settler=settler)
    claims.begin(WORKER)
    claims.next_claim([], 3)
    claims.receive(ClaimReply(True, 0, 0, [Claimed(f"{n}:0", "mail", b"", 0, 0) for n in (1, 2, 3)]))
    made = Admission(claims, lambda _: list(answers))
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
