"""The table of children: whose a slot is, what runs there, and what a child leaves when it is killed at any moment."""

import mmap
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from penstock.broker.scripts import Claimed
from penstock.engine.place import ENDING, MAX_QUEUE, RAW
from penstock.engine.slots import LEAST, MOST, Slot, Slots, Standing
from tests.live import wait_for

MAX_RAW = (1 << 16) - RAW
"""Bytes of the longest message that a child which runs one job at a time shows."""


@dataclass
class Job:
    """As much of a job as a slot asks for."""

    claimed: Claimed
    number: int = 7
    step: int = 3


def job(raw: bytes = b"{}", queue: str = "mail", **rest: int) -> Job:
    return Job(Claimed("7:3", queue, raw, 2, 0), **rest)


@pytest.fixture
def slots() -> Slots:
    return Slots(2)


@pytest.fixture
def slot(slots: Slots) -> Slot:
    """That of a child that lives."""
    found = slots.free()
    assert found is not None
    slots.note_used(found.index)
    found.put("pid", 4711)
    found.put("fork", 12)
    found.put("standing", Standing.LIVE)
    return found


@pytest.fixture
def another_process() -> Iterator[list[int]]:
    """Ids of processes that are ended with the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_job_that_begins_is_shown_with_its_message(slot: Slot) -> None:
    slot.begin(job(b"the message"), now=100.0, at=1000.0, soft=1.0, hard=2.0)
    running = slot.running()
    assert running is not None
    assert (running.pid, running.fork, running.token, running.deliveries) == (4711, 12, "7:3", 2)
    assert (running.queue, running.raw, running.started, running.started_at) == ("mail", b"the message", 100.0, 1000.0)
    assert slot.limits() == (7, 100.0, 1.0, 2.0)


def test_a_job_that_ends_is_still_the_childs_until_it_is_handed_over(slot: Slot) -> None:
    """No limit holds in between, and a kill is that of the job."""
    slot.begin(job(), now=100.0, at=1000.0, soft=0, hard=2.0)
    slot.ending()
    assert slot.get("is_running") == ENDING
    assert slot.limits()[0] == 0
    assert slot.running() is not None
    slot.end(1)
    assert slot.running() is None
    assert slot.get("done") == 1


def test_a_child_that_is_killed_while_it_writes_that_a_job_begins_has_not_begun_it(slot: Slot) -> None:
    """What shows that it has is written last."""
    slot.begin(job(), now=100.0, at=1000.0, soft=0, hard=0)
    slot.end(1)
    before = {name: slot.get(name) for name in ("number", "step")}
    put, slot.put = slot.put, lambda *_: None  # type: ignore[method-assign]
    slot.begin(job(number=8), now=200.0, at=2000.0, soft=0, hard=0)
    slot.put = put  # type: ignore[method-assign]
    assert before["number"] == 7
    assert slot.running() is None
    assert slot.limits()[0] == 0


def test_a_message_that_is_longer_than_the_slot_is_left_out(slot: Slot) -> None:
    slot.begin(job(b"x" * MAX_RAW), now=1.0, at=1.0, soft=0, hard=0)
    assert (running := slot.running()) is not None
    assert running.raw == b"x" * MAX_RAW
    slot.begin(job(b"x" * (MAX_RAW + 1), number=8), now=1.0, at=1.0, soft=0, hard=0)
    assert (running := slot.running()) is not None
    assert (running.number, running.raw) == (8, None)


def test_a_queue_of_a_very_long_name_does_not_reach_into_the_message(slot: Slot) -> None:
    slot.begin(job(b"the message", queue="q" * 1000), now=1.0, at=1.0, soft=0, hard=0)
    assert (running := slot.running()) is not None
    assert (running.raw, running.queue) == (b"the message", "q" * MAX_QUEUE)


def test_neighbours_do_not_disturb_each_other(slots: Slots) -> None:
    left, middle, right = slots.all[:3]
    for each in (left, right):
        each.ring.write(b"kept")
        each.put("done", 5)
    middle.begin(job(b"x" * MAX_RAW), now=1.0, at=1.0, soft=0, hard=0)
    while middle.ring.write(b"\xff" * 100_000):
        pass
    middle.clear()
    for each in (left, right):
        assert [record for _, record in each.ring.read(0)] == [b"kept"]
        assert each.get("done") == 5


def test_a_slot_that_is_cleared_is_free_and_knows_nothing(slots: Slots, slot: Slot) -> None:
    slot.begin(job(), now=1.0, at=1.0, soft=1.0, hard=1.0)
    slot.ring.write(b"outcome")
    slot.clear()
    assert slot.standing is Standing.FREE
    assert slot.running() is None
    assert slot.ring.head == slot.ring.tail == 0
    assert slots.free() is slot


def test_children_are_found_by_their_standing_and_their_process(slots: Slots, slot: Slot) -> None:
    assert slots.live() == [slot]
    assert slots.find(4711) is slot
    assert slots.find(1) is None
    slot.put("standing", Standing.DEAD)
    assert (slots.live(), slots.of(Standing.DEAD), slots.find(4711)) == ([], [slot], None)


def test_there_are_slots_for_the_dead_beside_those_of_the_living() -> None:
    assert [len(Slots(children).all) for children in (1, 20, 10_000)] == [LEAST, 80, MOST]
    assert Slots(20).most == 40


def test_a_worker_has_no_slot_left_when_all_are_taken(slots: Slots) -> None:
    for each in slots.all:
        each.put("standing", Standing.LIVE)
    assert slots.free() is None


def test_jobs_are_counted_over_the_children_that_are_no_more(slots: Slots, slot: Slot) -> None:
    slot.end(3)
    slots.retired = 10
    assert slots.done == 13


def test_what_the_worker_wants_is_seen_by_all(slots: Slots, another_process: list[int]) -> None:
    pid = os.fork()
    if not pid:
        slots.target, slots.is_closing = 5, True
        slots.incarnations = [(1, "ant@host/0000abcd"), (2, "ant@host/0000abce")]
        slots.wake_zygote()
        time.sleep(60)
        os._exit(0)
    another_process.append(pid)
    wait_for(lambda: slots.incarnations, "the other process has written")
    assert (slots.target, slots.is_closing) == (5, True)
    assert slots.incarnations == [(1, "ant@host/0000abcd"), (2, "ant@host/0000abce")]
    assert wait_for(lambda: slots.woken.recv(10), "it has called")


class Killed(Exception):
    """Here ends whoever writes."""


class Memory(mmap.mmap):
    """Memory whose writer may be killed in the middle of a text."""

    kills = False

    def __setitem__(self, place: Any, value: Any) -> None:
        if not self.kills:
            return super().__setitem__(place, value)
        half = len(value) // 2
        super().__setitem__(slice(place.start, place.start + half), value[:half])
        raise Killed


def names_in(slots: Slots) -> list[tuple[int, str]] | None:
    """None: nobody can read them."""
    try:
        return slots.incarnations
    except ValueError:
        return None


def test_a_keeper_that_is_killed_while_it_writes_its_names_leaves_those_from_before(slots: Slots) -> None:
    slots._memory = memory = Memory(-1, len(slots._memory))
    for names in ([(1, "ant@host/0000abcd")], [(1, "ant@host/0000abcd"), (2, "ant@host/0000abce")]):
        memory.kills = False
        slots.incarnations = names
        memory.kills = True
        with pytest.raises(Killed):
            slots.incarnations = [(3, "x" * 100)]
        assert names_in(slots) == names


def test_more_incarnations_than_there_is_room_for_are_refused(slots: Slots) -> None:
    slots.incarnations = [(1, "ant@host/0000abcd")]
    with pytest.raises(ValueError, match="more than there is room for"):
        slots.incarnations = [(number, "x" * 100) for number in range(100)]
    assert slots.incarnations == [(1, "ant@host/0000abcd")]


def test_only_one_process_at_a_time_decides_about_what_waits(slot: Slot, another_process: list[int]) -> None:
    pid = os.fork()
    if not pid:
        with slot.locked():
            slot.put("recalled", 1)
            time.sleep(60)
        os._exit(0)
    another_process.append(pid)
    wait_for(lambda: slot.get("recalled"), "the other one has the lock")
    waiter = os.fork()
    if not waiter:
        with slot.locked():
            slot.put("recalled", 2)
        time.sleep(60)
    another_process.append(waiter)
    time.sleep(0.2)  # Nothing happens; there is nothing to wait for.
    assert slot.get("recalled") == 1
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: slot.get("recalled") == 2, "the lock goes with its holder")
