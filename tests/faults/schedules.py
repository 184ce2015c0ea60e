"""W22: schedules, and the beats that go by them.

Both sides have the same ``beat_schedule``: plain intervals, or moments that a run has room for. Stock Celery's beat
keeps in a file which schedule has run when; ours has rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from penstock.broker.scripts import script
from tests.faults import timetable
from tests.faults.effects import TICK
from tests.faults.endings import FULL, ROOM
from tests.faults.ground import GRACE_SECONDS, Ground, Unplayed
from tests.faults.proxy import Proxy
from tests.faults.scenario import POSTGRESQL, WORKER_BOUND, fault
from tests.faults.sides import OURS, STOCK, Beat

BOTH = (STOCK, OURS)
"""When a worker acknowledges does not matter to a beat."""
FILE = "schedule"
"""Of the beat, and of the one that takes its place on the same host."""
LEAD_SECONDS = 8
"""From now to the first planned time: beats have to be at work by then."""
AFTERWARDS_SECONDS = 4.0
"""For a second job of the same planned time."""
EACH_SECONDS = 2.0
"""The interval of what comes again and again."""


@fault("W22", "two beats on two hosts, and three schedules of 2 s", sides=BOTH)
def two_beats(ground: Ground) -> None:
    _let_two_beats_work(ground)


@fault("W22", "the same, with results in PostgreSQL", sides=BOTH, store=POSTGRESQL)
def two_beats_on_postgresql(ground: Ground) -> None:
    _let_two_beats_work(ground)


def _let_two_beats_work(ground: Ground) -> None:
    ground.worker(children=2)
    keys = [ground.schedule_every(EACH_SECONDS) for _ in range(3)]
    beats = ground.beats("one", "another")
    ground.ticked(1)
    since, count = _first_that_counts(ground), 4 if ground.quick else 15
    for key in keys:
        ground.expect_every(key, EACH_SECONDS, since, count)
    ground.sleep(since + count * EACH_SECONDS - time.time())
    if any(beat.has_ended for beat in beats):
        raise Unplayed("a beat has ended by itself")
    for beat in beats:
        _stop(ground, beat)
    ground.settle()


def _first_that_counts(ground: Ground) -> float:
    """Our intervals are counted from 1970. Stock's begin with the beat: its fires are to lie in the middle of them."""
    if ground.side.is_ours:
        return (math.ceil(time.time() / EACH_SECONDS) + 1) * EACH_SECONDS
    return float(ground.effects.of(TICK)[0].facts["wall"]) + EACH_SECONDS / 2


@fault("W22", "Redis is down for 4 s, and a schedule is due meanwhile", sides=BOTH, redis={"appendonly": "yes"})
def due_while_redis_is_down(ground: Ground) -> None:
    _take_redis_away(ground, ground.redis.kill, ground.redis.start)


@fault("W22", "Redis is full (noeviction) for 4 s, and a schedule is due meanwhile", sides=BOTH)
def due_while_redis_is_full(ground: Ground) -> None:
    _take_redis_away(ground, lambda: ground.client.config_set(*FULL), lambda: ground.client.config_set(*ROOM))


def _take_redis_away(ground: Ground, take: Callable[[], object], give_back: Callable[[], object]) -> None:
    """The beat has fired before, so that it is connected, and fires again afterwards."""
    ground.tried_worker()
    due = _soon() + 3
    _, fire, _ = (ground.schedule_at(due + seconds) for seconds in (-3, 0, 5))
    ground.beats(FILE)
    ground.ticked(1)
    ground.sleep_until(due - 1)
    take()
    ground.sleep_until(due + 3)
    give_back()
    ground.strike(*fire)
    ground.sleep(AFTERWARDS_SECONDS)
    ground.settle()


@fault("W22", "kill -9 of a beat after its publish has reached Redis, and another one on the same host", sides=BOTH)
def beat_killed_after_its_publish(ground: Ground) -> None:
    proxy = ground.proxy()
    beat, fire = _beat_with_one_fire(ground, proxy)
    proxy.hold_reply_to(timetable.TASK)
    ground.wait(proxy.holding.is_set, "the fire is published", LEAD_SECONDS + 20)
    ground.ticked(1)
    beat.kill()
    ground.strike(*fire)
    _begin_another(ground)


@fault(
    "W22",
    "kill -9 of a beat before its publish reaches Redis, and another one on the same host",
    sides=BOTH,
    not_reproducible="it had not written its file either, so the next one fires",
)
def beat_killed_before_its_publish(ground: Ground) -> None:
    proxy = ground.proxy()
    beat, fire = _beat_with_one_fire(ground, proxy)
    _hold_publish(ground, proxy)
    beat.kill()
    ground.strike(*fire)
    _begin_another(ground)


@fault("W22", "SIGTERM of a beat before its publish reaches Redis, and another one on the same host", sides=BOTH)
def beat_told_to_end_before_its_publish(ground: Ground) -> None:
    proxy = ground.proxy()
    beat, fire = _beat_with_one_fire(ground, proxy)
    _hold_publish(ground, proxy)
    _stop(ground, beat)
    ground.strike(*fire)
    _begin_another(ground)


@fault("W22", "kill -9 of a beat seconds after three fires, and another one on the same host", sides=BOTH)
def beat_killed_in_peace(ground: Ground) -> None:
    ground.worker()
    due = _soon()
    for number in range(3):
        ground.schedule_at(due + number / 2)
    (beat,) = ground.beats(FILE)
    ground.sleep_until(due + 3)
    ground.ticked(3)
    beat.kill()
    _begin_another(ground)


def _beat_with_one_fire(ground: Ground, proxy: Proxy) -> tuple[Beat, list[str]]:
    ground.worker()
    fire = ground.schedule_at(_soon())
    if ground.side.is_ours:  # As after its first fire: a Redis that does not know the script is called twice.
        ground.client.script_load(script("outbox").text)
    (beat,) = ground.beats(FILE, through=proxy.url)
    return beat, fire


def _hold_publish(ground: Ground, proxy: Proxy) -> None:
    """Lets the beat's next publish, and what follows on its connection, not reach Redis, and waits for it."""
    proxy.hold_command(timetable.TASK)
    ground.wait(proxy.holding.is_set, "a fire is about to be published", LEAD_SECONDS + 20)
    if ground.effects.of(TICK):
        raise Unplayed("the fire has come through")


@fault("W22", "the publish of one fire hangs for 23 s, and two other schedules are due in its first 2 s", sides=BOTH)
def publish_that_hangs(ground: Ground) -> None:
    proxy = ground.proxy()
    ground.worker()
    due = _soon()
    hanging, *others = (ground.schedule_at(due + number) for number in range(3))
    ground.beats(FILE, through=proxy.url)
    _hold_publish(ground, proxy)
    ground.strike(*hanging)
    ground.sleep_until_fired(due + 2 + WORKER_BOUND + GRACE_SECONDS + 1, *hanging, *others[0], *others[1])
    proxy.cut()
    ground.sleep(AFTERWARDS_SECONDS)
    ground.settle()
    if ground.side.is_ours:
        ground.remark(f"each was on the books within {math.ceil(ground.decided_within)} s")


@fault(
    "W22",
    "no beat is up at three planned times of a schedule; then it starts again",
    sides=BOTH,
    remark="30 s apart. quick run: 2 s apart",
)
def beat_down(ground: Ground) -> None:
    _be_down(ground)


@fault(
    "W22",
    "the same, and the beat starts on another host",
    sides=BOTH,
    remark="30 s apart. quick run: 2 s apart. On our side catch_up is a second",
)
def beat_down_and_elsewhere(ground: Ground) -> None:
    _be_down(ground, elsewhere="another", catch_up=1.0)


def _be_down(ground: Ground, elsewhere: str = FILE, catch_up: float | None = None) -> None:
    ground.worker()
    due, apart = _soon(), 2 if ground.quick else 30
    fires = ground.schedule_at(due, due + apart, due + 2 * apart, catch_up=catch_up)
    (beat,) = ground.beats(FILE)
    ground.sleep_until(due - 1)
    _stop(ground, beat)
    ground.sleep(due + 2 * apart + 1 - time.time())
    ground.strike(*fires)
    _begin_another(ground, elsewhere)
    if told := ground.told:
        ground.remark(f"{len(told)} of 3 stand on the books as missed, and why")


def _soon() -> int:
    """A planned time in whole seconds, which every clock shows alike."""
    return math.ceil(time.time()) + LEAD_SECONDS


def _begin_another(ground: Ground, file: str = FILE) -> None:
    ground.beats(file)
    ground.sleep(AFTERWARDS_SECONDS)
    ground.settle()


def _stop(ground: Ground, beat: Beat) -> None:
    beat.stop()
    ground.wait(lambda: beat.has_ended, "the beat ends")
