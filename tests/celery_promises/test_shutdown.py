"""Shutdown and restart"""

import signal
import uuid
from dataclasses import dataclass

from tests.celery_promises import jobs
from tests.celery_promises.system import Extra, System
from tests.live import wait_for

PATIENCE = 15


@dataclass(frozen=True)
class Shutdown:
    """A worker that was asked to end while it ran a task, held others, and one waited for its time."""

    how: str
    running: str
    exit_code: int
    started_meanwhile: int
    left: int
    ran_later: list[int]
    eta_ran_later: int


def warm_shutdown(system: System) -> Shutdown:
    """SIGTERM for a worker at work, and another one on the same queue afterwards."""
    key = uuid.uuid4().hex
    with system.worker_beside("--prefetch-multiplier", "4") as first:
        running = jobs.hold.apply_async((key, "finished"), queue=first.queue)
        system.noted(key)
        due = jobs.note.apply_async((f"{key}-eta",), countdown=5, queue=first.queue)
        waiting = [jobs.note.apply_async((f"{key}-waiting", i), queue=first.queue) for i in range(6)]
        if system.engine.takes_ahead:
            wait_for(lambda: len(system.inspect("reserved", worker=first.name)) >= 3, "some are reserved")
        first.send(signal.SIGTERM)
        how = system.signal(first.name, "worker_shutting_down")["how"]
        system.release(key)
        code = first.worker.stop(patience=PATIENCE)
    started, left = len(system.notes_on(f"{key}-waiting")), system.depth(first.queue)
    with system.worker_beside("-Q", first.queue):
        for result in (*waiting, due):
            result.get(timeout=PATIENCE)
    later = [note["text"] for note in system.notes_on(f"{key}-waiting")]
    finished = running.get(timeout=PATIENCE)
    return Shutdown(how, finished, code, started, left, later, len(system.notes_on(f"{key}-eta")))


def test_warm_shutdown(system: System) -> None:
    """On SIGTERM a worker sends worker_shutting_down, finishes what runs and ends with exit code 0."""
    end = system.once(warm_shutdown)
    assert (end.how, end.running, end.exit_code) == ("Warm", "finished", 0)


def test_nothing_new_while_shutting_down(system: System) -> None:
    """It starts nothing more: what it had taken goes back to its queue beside what waits there."""
    end = system.once(warm_shutdown)
    assert end.started_meanwhile == 0
    assert end.left >= 6


def test_after_shutdown(system: System) -> None:
    """The next worker runs what the last one gave back, each once."""
    assert sorted(system.once(warm_shutdown).ran_later) == list(range(6))


def test_eta_after_shutdown(system: System) -> None:
    """A task that waited for its time in a worker that ended runs in the next one, once."""
    assert system.once(warm_shutdown).eta_ran_later == 1


@dataclass(frozen=True)
class Soft:
    """A worker that was told to end with some time to spare, in which one of its two tasks ended."""

    said: str
    short: str
    ended: bool
    left: int
    long: str


def soft_shutdown(system: System) -> Soft:
    """SIGQUIT with `worker_soft_shutdown_timeout`, and another worker on the same queue afterwards."""
    short, long = (uuid.uuid4().hex for _ in range(2))
    with system.worker_beside(children=2, settings={"worker_soft_shutdown_timeout": 3}) as first:
        ends = jobs.hold_early.apply_async((short,), queue=first.queue)
        goes_on = jobs.hold_late.apply_async((long, "in the end"), queue=first.queue)
        system.noted(short)
        system.noted(long)
        first.send(signal.SIGQUIT)
        wait_for(lambda: "Soft Shutdown" in first.worker.log, "it says so")
        system.release(short)
        system.signal(ends.id, "task_postrun")
        ended = not first.ended
        wait_for(lambda: first.ended, "the worker is gone", 40)
    left = system.depth(first.queue)
    with system.worker_beside("-Q", first.queue):
        system.noted(long, 2)
        system.release(long)
        return Soft(first.worker.log, ends.state, ended, left, goes_on.get(timeout=PATIENCE))


def test_soft_shutdown(system: System) -> None:
    """With `worker_soft_shutdown_timeout` SIGQUIT lets running tasks end for so many seconds."""
    end = system.once(soft_shutdown)
    assert "Initiating Soft Shutdown, terminating in 3" in end.said
    assert (end.short, end.ended) == ("SUCCESS", True)


def test_late_acks_and_soft_shutdown(system: System) -> None:
    """A late-acknowledged task that takes longer goes back to its queue for the next worker."""
    end = system.once(soft_shutdown)
    assert (end.left, end.long) == (1, "in the end")


@dataclass(frozen=True)
class Interrupted:
    """A worker that got SIGINT twice while it ran a task."""

    first: dict[str, object]
    went_on: bool
    second: str
    exit_code: int
    left: int


def interrupted(system: System) -> Interrupted:
    """SIGINT, as Ctrl+C sends it, for a worker at work, and again."""
    key = uuid.uuid4().hex
    with system.worker_beside() as one:
        jobs.hold_late.apply_async((key,), queue=one.queue)
        system.noted(key)
        one.send(signal.SIGINT)
        first = system.signal(one.name, "worker_shutting_down")
        # It answers nobody any more, but its task can still tell that it runs.
        went_on = not one.ended
        one.send(signal.SIGINT)
        wait_for(lambda: one.ended, "the worker is gone", 40)
        kinds = [
            fields["how"] for kind, fields in system.noted(f"signals:{one.name}") if kind == "worker_shutting_down"
        ]
        code = one.worker.stop()
    return Interrupted(first, went_on, kinds[-1], code, system.depth(one.queue))


def test_interrupt(system: System) -> None:
    """The first SIGINT begins a warm shutdown, which waits for what runs."""
    end = system.once(interrupted)
    assert (end.first["sig"], end.first["how"], end.went_on) == ("SIGINT", "Warm", True)


def test_second_interrupt(system: System) -> None:
    """The second SIGINT begins a cold one: the worker ends at once, and gives back what is acknowledged late."""
    end = system.once(interrupted)
    assert end.second == "Cold"
    assert end.left == 1


def test_remapped(system: System, key: str) -> None:
    """`REMAP_SIGTERM=SIGQUIT` in the environment makes SIGTERM begin a cold shutdown."""
    with system.worker_beside(environment={"REMAP_SIGTERM": "SIGQUIT"}) as one:
        jobs.hold_late.apply_async((key,), queue=one.queue)
        system.noted(key)
        one.send(signal.SIGTERM)
        wait_for(lambda: one.ended, "the worker is gone", 40)
    sent = system.signal(one.name, "worker_shutting_down")
    assert (sent["sig"], sent["how"]) == ("SIGTERM", "Cold")
    assert system.depth(one.queue) == 1


def processes(system: System, one: Extra) -> list[int]:
    found: list[int] = system.inspect("stats", worker=one.name)["pool"]["processes"]
    return found


def test_restart(system: System, key: str) -> None:
    """On SIGHUP a worker without a terminal finishes what runs, and starts anew as the same process."""
    with system.worker_beside() as one:
        before = processes(system, one)
        result = jobs.hold.apply_async((key, "finished"), queue=one.queue)
        system.noted(key)
        one.send(signal.SIGHUP)
        wait_for(lambda: "Restarting celery worker" in one.worker.log, "it says so")
        system.release(key)
        assert result.get(timeout=PATIENCE) == "finished"
        wait_for(lambda: one.worker.log.count(" ready.") == 2, "it is ready again", 40)
        assert jobs.process_id.apply_async(queue=one.queue).get(timeout=PATIENCE) not in before
        assert system.inspect("stats", worker=one.name)["pid"] == one.worker.pid


def test_traceback_on_request(system: System) -> None:
    """On SIGUSR1 a worker prints the traceback of each of its threads, and goes on."""
    Extra(system.main, "", system.worker).send(signal.SIGUSR1)
    wait_for(lambda: "LOCAL VARIABLES" in system.worker.log, "the traceback")
    assert "MainThread" in system.worker.log
    assert system.inspect("ping") == {"ok": "pong"}
