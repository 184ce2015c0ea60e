"""A child of the pool: claims for itself, runs, hands over, one job at a time.

    claim ──► open ──► run ──► hand over            what the keeper does with it: record, publish, settle
      ▲         │ unreadable, unknown, not due, revoked: handed over at once
      └── rest ─┘ asked: waits for the keeper's answer

Its claims are in Redis, its outcomes in memory that the keeper reads: it may be killed at any moment.
"""

from __future__ import annotations

import logging
import marshal
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import platforms, signals

from penstock.broker import envelope
from penstock.broker.claims import Claims, worker_of
from penstock.broker.keys import Keys
from penstock.broker.scripts import MAX_CLAIM, Claimed, Scripts, Source
from penstock.engine import attempts
from penstock.engine.attempts import Attempt
from penstock.engine.comeback import Comebacks
from penstock.engine.gate import Gate
from penstock.engine.keeping import CRASH_LIMIT
from penstock.engine.keeping.identity import last_change
from penstock.engine.processes import resident_kib
from penstock.engine.putting_away import NONSENSE
from penstock.engine.reporting import capture
from penstock.engine.reporting.reporter import Reporter, use
from penstock.engine.revoking import Revocations
from penstock.engine.running import limits, threaded
from penstock.engine.running.admitting import Admission, Candidate, is_over
from penstock.engine.running.announcing import Announcer
from penstock.engine.running.appetite import WAIT_SECONDS, Appetite
from penstock.engine.running.birth import become_child
from penstock.engine.running.claiming import Claiming
from penstock.engine.running.crew import Alone, Crew
from penstock.engine.running.desk import ManyDesks, OneDesk
from penstock.engine.running.duties import TaskDuties, build_tracers
from penstock.engine.running.handing import ATTEMPT, ROOM_SECONDS, Handing, SharedHanding
from penstock.engine.running.line import Line
from penstock.engine.running.opening import Job, opened
from penstock.engine.running.pace import SLOW_SECONDS, Pace
from penstock.engine.running.plain import PlainRunner
from penstock.engine.running.quickening import quicken
from penstock.engine.running.rates import Rates
from penstock.engine.running.reception import InlinePool, Reception
from penstock.engine.slots import ASK, Orders, Reason, Slot, Slots
from penstock.engine.wire import Address
from penstock.job import Reason as Cause
from penstock.ledger import backend as ledger_backend
from penstock.ledger.backend import LedgerBackend
from penstock.ledger.outlet import set_outlet
from penstock.profile import SINGLE
from penstock.task import watch_cancellations

logger = logging.getLogger(__name__)
LONG_SECONDS = 0.1
"""After a job that took longer the child asks whether its waiting jobs are still its own. The keeper takes none back
before five times as long, by the same clock, so a child that does not ask has lost none."""
RESET = ("SIGHUP", "SIGTTIN", "SIGTTOU", "SIGQUIT", "SIGINT", "SIGCHLD")
SWITCH_SECONDS = 0.001
"""After so long the thread that claims and the one that runs jobs give way to each other."""
FLUSH_SECONDS = 2.0
ORDERS_SECONDS = 0.2
"""How long a child that is to end still waits for an answer that it has asked for."""


@dataclass(frozen=True)
class Plan:
    """What all children of a worker are made from; the zygote has it."""

    app: Any
    hostname: str
    broker_url: str
    transport_options: dict[str, Any]
    slots: Slots
    address: Address
    rates: Rates
    folder: Path
    """For what is too large for the ring; of this worker, and nobody else may read it."""
    soft_limit: float | None
    hard_limit: float | None
    max_tasks: int | None
    max_memory_kib: int | None
    disable_rate_limits: bool
    kind: str
    """Of its children, see :mod:`penstock.engine.kinds`."""
    logs: bool
    """Whether lines of level INFO are read by anybody."""
    logs_in_batches: bool
    """Whether the keeper can write them: logging is as Celery sets it up."""


class Stop(Exception):
    """The child ends."""


class Child:
    """One process's life."""

    def __init__(self, plan: Plan, slot: Slot) -> None:
        self._plan = plan
        self._slot = slot
        self._is_draining = False
        self._is_full = False
        self._incarnation = 0
        self._waiting: deque[Job] = deque()
        self._asked: dict[str, Job] = {}
        self._revocations = Revocations()
        self._pace = Pace(MAX_CLAIM)
        fork = slot.get("fork")
        self._line = Line(plan.address, slot.index, fork, self._on_news)
        self._is_single = plan.kind == SINGLE
        self._desks = OneDesk(slot) if self._is_single else ManyDesks(slot)
        handing, make_room = (Handing, self._make_room) if self._is_single else (SharedHanding, _rest)
        self._handing = handing(plan.slots, slot, self._line, plan.folder, make_room)
        options = plan.transport_options
        self._claims = Claims(
            hostname=plan.hostname,
            keys=Keys(options.get("global_keyprefix") or ""),
            settler=self._handing,
            crash_limit=int(options.get("crash_limit", CRASH_LIMIT)),
            member=str(fork),
            on_revoked=self._revocations.learn,
        )
        self._claiming = Claiming(
            plan.broker_url,
            options,
            self._claims,
            self._wait,
            self._look_for_change,
            is_over=lambda: bool(slot.get("orders")),
            is_unwanted=lambda: self._crew.is_beside and self._appetite.most() < 1,
        )
        self._admission = Admission(self._claims, self._claiming.settle_together, self._tell_attempt)
        self._is_to_screen = False
        is_recorded = isinstance(plan.app.backend, LedgerBackend)
        self._gate = Gate(self._handing, self._claims, Comebacks()) if is_recorded else None
        self._numbers: dict[str, int] = {}
        """Of incarnations, by their names."""
        self._announcer = Announcer(self._handing, self._desks, logs=plan.logs and plan.logs_in_batches)

    # -- before and after ---------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until it is asked to end, or has run as many jobs as it may; its exit code."""
        self._prepare()
        try:
            while not self._has_ended():
                self._turn()
        except Stop:
            pass
        self._end_jobs()
        self._give_back()
        self._admission.tell_ended()
        self._crew.close()
        self._reporter.close()
        signals.worker_process_shutdown.send(sender=self._plan.hostname, pid=os.getpid(), exitcode=0)
        _flush_sentry()
        self._claiming.close()
        return 0

    def _prepare(self) -> None:
        """Makes this process a child of the worker, and what its jobs are run with."""
        plan = self._plan
        self._crew: Crew = Alone(self._slot)
        signal.signal(ASK, self._on_asked)
        signal.signal(signal.SIGTERM, self._on_terminate)
        limits.install(self._slot)
        app = plan.app
        become_child(app, plan.hostname, self._slot.get("place"))
        ledger_backend.leave_to_tracer()
        set_outlet(self._handing if isinstance(app.backend, LedgerBackend) else None)
        quicken(app, by_context=not self._is_single)
        if plan.kind == "threads":
            threaded.guard(app)
        # Around what is guarded: no limit strikes while an attempt is told of.
        self._with_ratio = attempts.watch(app)
        attempts.set_teller(self._tell_attempt)
        build_tracers(app, plan.hostname, logs_success=not plan.logs_in_batches)
        self._pool = InlinePool(
            self._handing,
            self._announcer,
            collects=isinstance(app.backend, LedgerBackend),
            limits=(plan.soft_limit, plan.hard_limit),
            on_done=self._pace.note,
        )
        self._reception = Reception(
            app,
            plan.hostname,
            pool=self._pool,
            claims=self._claims,
            handing=self._handing,
            announcer=self._announcer,
            rates=plan.rates,
            revocations=self._revocations,
            settle_now=self._claiming.settle_now if self._is_single else self._claiming.settle_beside,
            disable_rate_limits=plan.disable_rate_limits,
        )
        self._pool.reception = self._reception
        by_copy = isinstance(app.backend, LedgerBackend) and app.backend.as_uri().startswith("postgresql")
        self._plain = PlainRunner(self._handing, self._reception, self._announcer, plan.hostname, by_copy=by_copy)
        signals.worker_process_init.send(sender=plan.hostname)
        self._look_at_tasks()  # Whoever hooks into tasks may do so then.
        self._reporter = Reporter(lambda packet: self._slot.reports.write(marshal.dumps(tuple(packet))))
        if isinstance(app.backend, LedgerBackend):
            use(self._reporter)
            capture.install(capture.level_of(plan.transport_options), is_alone=self._is_single)
        if isinstance(self._desks, ManyDesks):
            self._crew = self._many(self._desks)
        self._appetite = Appetite(
            self._slot,
            self._crew,
            self._pace,
            left=self._left if plan.max_tasks else None,
            claims_ahead=not plan.max_memory_kib,
            wait=lambda seconds: self._wait(seconds, None),
        )
        watch_cancellations(self._crew.is_cancelled)

    def _many(self, desks: ManyDesks) -> Crew:
        sys.setswitchinterval(SWITCH_SECONDS)
        kind: Callable[..., Crew] = threaded.Threads
        if self._plan.kind == "asyncio":
            # Only here, because greenlet is a dependency of this kind alone.
            from penstock.engine.running.looping import Loop

            kind = Loop
        return kind(self._slot, desks, self._line.wake, lambda job: self._claims.let_go(job.token))

    def _on_asked(self, *_: Any) -> None:
        self._line.wake()
        self._crew.obey()

    def _on_terminate(self, *_: Any) -> None:
        """Ends this process when the job that it runs is meant. A service manager that ends a whole group of processes
        means the worker, who lets its children go on to the end of their jobs.
        """
        slot = self._slot
        is_meant = slot.get("is_running") and slot.get("reason_for") == slot.get("number")
        if is_meant or (not self._is_single and any(place.has_reason(Reason.SHUTDOWN) for place in slot.shown)):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        slot.put("orders", Orders.DRAIN)
        self._line.wake()

    def _look_at_tasks(self) -> None:
        plan = self._plan
        self._known = {
            name: TaskDuties(
                task,
                soft_limit=plan.soft_limit,
                hard_limit=plan.hard_limit,
                logs_success=not plan.logs_in_batches,
            )
            for name, task in plan.app.tasks.items()
        }

    def _has_ended(self) -> bool:
        plan = self._plan
        if self._is_draining or self._slot.get("orders") == Orders.DRAIN:
            self._is_draining = True
            return True
        if plan.max_tasks and self._pool.done >= plan.max_tasks:
            return True
        return bool(plan.max_memory_kib and self._pool.done and resident_kib(os.getpid()) > plan.max_memory_kib)

    def _end_jobs(self) -> None:
        """Waits for those that go on beside, after giving back what has not started."""
        if not self._crew.is_beside:
            return
        self._return_waiting()
        for token in reversed(self._asked):
            self._claims.settle(token, "return")
        self._asked.clear()
        while self._crew.running:
            self._crew.ask_for_wake(0)
            if self._crew.running:
                self._line.wait(WAIT_SECONDS)
            self._line.hear()

    def _give_back(self) -> None:
        """Everything that has not started, in its order, as if it had never been claimed."""
        self._waiting.clear()
        self._asked.clear()
        self._claims.give_back()
        self._slot.put("held", 0)

    # -- the round ----------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._line.hear()
        if not self._claims.held and self._claims.pending is None:
            # Nothing is held under an older name any more. Without a name, the keeper tells it again.
            self._slot.put("incarnation", self._incarnation if self._claims.worker else 0)
        elif self._crew.is_beside and len(self._numbers) > 1:
            self._note_oldest()
        if self._appetite.is_stuck:
            self._return_stuck()
        if self._is_full:
            self._wait(WAIT_SECONDS, None)
            return
        if self._asked:
            self._wait(WAIT_SECONDS, None)
        elif not self._waiting and (count := self._appetite.wanted(is_resting=self._claiming.seems_empty)) > 0:
            claimed = self._claim(count)
            # What an idle child's last claim brings when it is told to end goes back with all else that is held.
            if claimed and not self._slot.get("orders"):
                self._appetite.look_for_stuck()  # Those that come now have not waited yet.
                self._take(claimed)
        self._work()
        self._admission.tell_ended()

    def _claim(self, count: int) -> list[Claimed]:
        is_resting = self._claiming.seems_empty
        claimed = self._claiming.claim(count)
        if is_resting:
            self._appetite.waited()
        return claimed

    def _left(self) -> int:
        assert self._plan.max_tasks is not None
        return self._plan.max_tasks - self._pool.done - self._crew.running

    def _note_oldest(self) -> None:
        """Jobs that were claimed under an older name may go on for long."""
        held = {*self._claims.held_under(), self._claims.worker}
        self._numbers = {name: number for name, number in self._numbers.items() if name in held}
        self._slot.put("incarnation", min(self._numbers.values(), default=0))

    def _take(self, claimed: list[Claimed]) -> None:
        claimed_at = time.time()
        self._slot.put("claimed_at", time.monotonic())
        self._slot.put("claimed_ms", self._claims.claimed_ms)
        self._pace.claimed(len(claimed))
        jobs = []
        for message in claimed:
            try:
                jobs.append(opened(message, self._known, claimed_at))
            except envelope.Unreadable as error:
                self._claims.settle(message.token, "quarantine", str(error))
        for job in self._screened(jobs) if self._admission.broken else jobs:
            try:
                self._admit(job)
            except NONSENSE as error:
                self._put_away(job, error)
        self._put_held()

    def _put_held(self) -> None:
        self._slot.put("held", len(self._waiting) + len(self._asked) + self._crew.waiting)

    def _admit(self, job: Job) -> None:
        """To those that may start, or to those that have to wait for the ledger's word; others are put away."""
        if job.is_plain and not (self._gate and self._gate.comebacks.is_doubtful(job.headers)):
            self._waiting.append(job)
        elif self._claims.prepare(job.claimed, job.payload):
            if (
                self._gate is None
                or job.duties is None
                # It does not start, and what is recorded of it is its end alone.
                or self._revocations.knows(job.headers.get("id"))
                or not self._gate.holds_up(self._reception.message(job), self._start)
            ):
                job.body = None
                self._waiting.append(job)
            else:
                self._asked[job.token] = job

    def _screened(self, jobs: Sequence[Job]) -> list[Job]:
        """Those that no breaker keeps from starting; the others are put aside."""
        now_ms = self._claims.server_ms()
        holders = {job.token: self._claims.holder(job.token) for job in jobs}
        refused = self._admission.refuse(
            Candidate(
                job.token,
                job.duties.name,
                envelope.job_id(job.payload),
                is_over=is_over(job.headers, self._revocations, now_ms),
            )
            for job in jobs
            if job.duties is not None
        )
        if self._gate is not None:
            for job in jobs:
                if job.token in refused.aside:
                    with suppress(*NONSENSE):  # It has been put aside all the same.
                        self._record_broken(job, holders[job.token])
        return [job for job in jobs if job.token not in refused.all]

    def _record_broken(self, job: Job, holder: str) -> None:
        """With the claim that has put it aside: by the time that this is written, another one may run it."""
        message = self._reception.message(job)
        message.delivery_info.update(claimer=holder, token=job.token, deliveries=job.claimed.deliveries)
        self._reception.record_blocked(message, Cause.BREAKER)

    def _screen_waiting(self) -> None:
        """After news of breakers. What had to ask the ledger has its start row, and starts."""
        self._is_to_screen = False
        kept = {job.token for job in self._screened([job for job in self._waiting if job.is_plain])}
        self._waiting = deque(job for job in self._waiting if not job.is_plain or job.token in kept)

    def _start(self, message: Any) -> None:
        """The ledger's word has come: the job may start."""
        job = self._asked.pop(message.delivery_tag, None)
        if job is not None:
            job.body = None
            self._waiting.append(job)

    def _work(self) -> None:
        while self._waiting:
            if self._is_to_screen:
                self._screen_waiting()
                continue
            job = self._waiting.popleft()
            if not self._claims.holds(job.token):
                continue
            if self._waiting and not self._crew.is_beside and self._pace.is_slow(job.headers.get("task", "")):
                self._return_waiting()
            began = time.monotonic()
            self._crew.start(job, self._number_of(job), self._run_to_end)
            took = time.monotonic() - began
            if took > LONG_SECONDS and not self._crew.is_beside:
                self._after_long_job(job)
            if self._slot.get("orders") or self._is_over():
                return
        self._put_held()

    def _number_of(self, job: Job) -> int:
        """The incarnation under which a job was claimed. One that runs alone is of the one that the slot shows."""
        if not self._crew.is_beside:
            return 0
        if len(self._numbers) == 1:
            return next(iter(self._numbers.values()))
        return self._numbers.get(worker_of(self._claims.holder(job.token)), self._incarnation)

    def _run_to_end(self, job: Job) -> None:
        if self._crew.is_beside and not self._claims.holds(job.token):
            return  # Taken away between two threads: whoever ends what runs did not see it yet.
        try:
            self._run(job)
        except NONSENSE as error:
            self._put_away(job, error)
        self._slot.end(self._pool.done)

    def _put_away(self, job: Job, error: Exception) -> None:
        """A message that nobody expected to be like this must not end this child, and then the next."""
        logger.error("a message cannot be dealt with", exc_info=error)
        reason, id = f"{type(error).__name__}: {error}", envelope.job_id(job.payload)
        if id:
            self._claims.settle(job.token, "bury", reason, id)
        else:
            self._claims.settle(job.token, "quarantine", reason)

    def _run(self, job: Job) -> None:
        id = job.headers.get("id")
        if job.is_plain and not self._revocations.knows(id):
            took = self._plain.run(job)
            assert job.duties is not None
            self._pace.note(job.duties.name, took)
            return
        if job.is_plain and not self._claims.prepare(job.claimed, job.payload):
            return
        desk = self._desks.current
        desk.job, desk.token = job, job.token
        self._reception.receive(self._reception.message(job))

    def _is_over(self) -> bool:
        plan = self._plan
        return bool((plan.max_tasks and self._pool.done >= plan.max_tasks) or plan.max_memory_kib)

    def _after_long_job(self, job: Job) -> None:
        """The keeper may have given back what waited behind it. Under the lock, so it is either theirs or ours."""
        with self._slot.locked():
            recalled = self._slot.get("recalled")
            self._slot.put("recalled", 0)
        if recalled == job.number:
            # Told once more, for a keeper that died before it had done it; if it has, the claims are not ours.
            self._give_back()
        self._line.hear()

    def _return_waiting(self) -> None:
        """To the front of their queues, the last first, before a job that is known to run long."""
        while self._waiting:
            self._claims.settle(self._waiting.pop().token, "return")
        self._return_ahead()

    def _return_ahead(self) -> None:
        """What waits for a place, likewise."""
        for job in self._crew.take_back():
            self._claims.settle(job.token, "return")

    def _return_stuck(self) -> None:
        """What waits for a place, when it would do so for long. Not while a claim waits with Redis: that would bring
        the first ones of them again, which then come to stand in front of those before them.
        """
        self._appetite.is_stuck = False
        self._return_ahead()
        self._put_held()

    # -- waiting and hearing ------------------------------------------------------------------------------------

    def _wait(self, seconds: float, other: int | None) -> bool:
        """For the keeper, for whoever wakes this, or for ``other``."""
        if self._slot.get("orders"):
            seconds = min(seconds, ORDERS_SECONDS)
        if self._crew.waiting:
            seconds = min(seconds, SLOW_SECONDS)
        is_ready = self._line.wait(seconds, other)
        self._line.hear()
        self._appetite.look_for_stuck()
        return is_ready

    def _look_for_change(self, scripts: Scripts) -> None:
        """What a restarted server brings back must not run in the second in which the keeper finds out."""
        if self._gate is not None:
            self._gate.comebacks.notice(last_change(scripts))

    def _make_room(self) -> None:
        """The keeper has not written what was handed over: nothing more can be told, so nothing more is begun."""
        self._line.wait(ROOM_SECONDS)

    def _on_news(self, news: dict[str, Any]) -> None:
        if "worker" in news and news["worker"] != self._claims.worker:
            self._claims.begin(news["worker"])
            self._incarnation = self._numbers[news["worker"]] = news["incarnation"]
        if "queues" in news:
            self._claiming.serve(news["queues"])
        if "full" in news:
            self._is_full = news["full"]
        if "lost" in news:
            self._lose(news["lost"])
        if self._gate is not None:
            self._gate.comebacks.notice(news.get("changed", 0))
            self._hear_answers(self._gate, news)
        if "revoked" in news:
            self._claims.learn(news["revoked"], [tuple(stamp) for stamp in news["stamps"]], news["version"])
        self._on_news_of_tasks(news)

    def _hear_answers(self, gate: Gate, news: dict[str, Any]) -> None:
        """What the ledger says of deliveries that have asked."""
        if "called" in news:
            # Its answers may have come while nobody listened. A question that is put twice is answered twice alike,
            # and whoever has had an answer asks no more.
            gate.ask_again()
        if "started" in news:
            gate.open(news["started"])
            self._keep_asked()

    def _keep_asked(self) -> None:
        """Waits no more for the word on those whose claims have ended, or were taken away."""
        self._asked = {token: job for token, job in self._asked.items() if self._claims.holds(token)}

    def _on_news_of_tasks(self, news: dict[str, Any]) -> None:
        if "unknown" in news:
            sources = (Source(queue, int(step), task) for task, queue, step in news["unknown"])
            self._claims.unknown = tuple(source for source in sources if source.task in self._known)
        if "broken" in news:
            self._admission.broken = frozenset(news["broken"])
            self._is_to_screen = bool(news["broken"])
            if self._is_to_screen:
                self._return_ahead()  # It is looked at when it is claimed again.
        if "events" in news and news["events"] != self._announcer.enabled:
            self._announcer.enabled = news["events"]
            self._rebuild()
        if "limits" in news:
            self._change_limits(news["limits"])

    def _change_limits(self, changes: dict[str, dict[str, Any]]) -> None:
        """Remote control has changed attributes of tasks."""
        for name, changed in changes.items():
            if (task := self._plan.app.tasks.get(name)) is not None:
                for attribute, value in changed.items():
                    setattr(task, attribute, value)
        self._rebuild()

    def _rebuild(self) -> None:
        self._plain.forget()
        self._reception.rebuild()
        self._look_at_tasks()

    def _tell_attempt(self, attempt: Attempt) -> None:
        """All but a failure matters where it may be a probe's, and a success where failures are counted as a share."""
        if attempt.failed or attempt.task in self._admission.broken or attempt.task in self._with_ratio:
            self._handing.put((ATTEMPT, *attempt))

    def _lose(self, workers: list[str]) -> None:
        """These incarnations were silent for a lease: what was claimed under them is somebody else's."""
        self._claims.abandon(workers)
        self._keep_asked()


def _rest() -> None:
    """Not by the line, where the main thread waits."""
    time.sleep(ROOM_SECONDS)


def _flush_sentry() -> None:
    """Its integration does this at the end of billiard's loop, of which there is none here."""
    if (sentry := sys.modules.get("sentry_sdk")) is not None:
        sentry.flush(timeout=FLUSH_SECONDS)


def live(plan: Plan, slot: Slot) -> int:
    """The child's process, after the fork; its exit code."""
    for name in RESET:
        platforms.signals.reset(name)
    platforms.signals.ignore("SIGINT")
    return Child(plan, slot).run()
