"""Where one run takes place: its server, workers, producer and proxies; and the words that scenarios are written in."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import Any, Self, TypeVar

import libfaketime
import redis

from penstock.broker.keys import Keys
from tests.faults import effects, postgres, stores, tasks, timetable
from tests.faults.deaths import CAMPAIGN, Deaths, marked
from tests.faults.effects import BEAT, END, HELD, START, TICK, WORKER, Effect, Effects
from tests.faults.fires import Fires, Series
from tests.faults.holdings import Holdings
from tests.faults.judge import Evidence, Fate, Verdict, judge
from tests.faults.memory import MOST_GROWTH, Memory
from tests.faults.postgres import Postgres
from tests.faults.proxy import Proxy
from tests.faults.scenario import POSTGRESQL, Scenario
from tests.faults.servers import Server
from tests.faults.sides import BEAT_PARTS, Beat, Producer, Side, Worker
from tests.live import ROOT

T = TypeVar("T")
QUEUE = "celery"
DRAWER = "drawer"
"""A queue without workers."""
START_SECONDS = 40.0
GONE_SECONDS = 3.0
"""A job that no Redis key and no living process has held for so long will not come back."""
LONGEST_SECONDS = 300.0
"""For the jobs of one run to end, as long as some do."""
SETTLE_SECONDS = 20.0
"""For the messages of jobs that have ended, while somebody is there to settle them."""
GRACE_SECONDS = 5.0
"""On top of the bound: for the bodies, and for a busy machine."""
RUN = "FAULTS_RUN"
"""Environment variable that marks every process of a run."""
FAKETIME = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"


class Unplayed(AssertionError):
    """The fault did not take place as the scenario says, so the run shows nothing."""


class Skipped(Exception):
    """This machine cannot do what the scenario says."""


@dataclass(frozen=True)
class Templates:
    """What each run gets a copy of."""

    ledger: Path
    """A migrated, empty SQLite ledger."""
    server: Path | None
    """The data of a PostgreSQL; None if no scenario needs one."""


class Ground:
    """One side, one run."""

    def __init__(
        self, scenario: Scenario, side: Side, folder: Path, templates: Templates, *, quick: bool, turns: Semaphore
    ) -> None:
        self.side, self.quick, self.folder = side.on_sql() if scenario.store else side, quick, folder
        self._scenario = scenario
        self._turns = turns
        self._templates = templates
        self._stack = ExitStack()
        self._mark = f"{RUN}={uuid.uuid4().hex}"
        self._workers: list[Worker] = []
        self._beats: list[Beat] = []
        self._fires = Fires(folder / "timetable.json")
        self._producers: dict[str, Producer] = {}
        self._found = Evidence({})
        self._foreign: dict[str, bytes] = {}
        self._gone_since: dict[str, float] = {}
        self._after: dict[str, str] = {}
        self._ticked: set[str] = set()
        self._memories: list[Memory] = []
        self._sql_port = 0
        self.remarks: list[str] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self.effects = Effects(self.folder / "effects.jsonl")
        if self.side.is_ours:
            shutil.copy(self._templates.ledger, self._database)
        if self._scenario.store == POSTGRESQL:
            self.sql = self._stack.enter_context(
                Postgres(self.folder / "postgres", self._templates.server, **self._scenario.settings)
            )
            self.sql.serve(self._name_on_server)
        self._stack.callback(self._clean_up)
        self._deaths = self._stack.enter_context(Deaths(self.effects.pids))
        self.redis = self.server(**self._scenario.redis)
        self.lead_to(self.redis)
        self.producer()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- what there is ------------------------------------------------------------------------------------------

    def server(self, name: str = "redis", **config: str) -> Server:
        """Another Redis; the first one is there from the start."""
        return self._stack.enter_context(Server(self.folder / name, **config))

    def proxy(self) -> Proxy:
        """A way to the Redis that can be disturbed."""
        return self._stack.enter_context(Proxy(self.redis.port))

    def sql_proxy(self) -> Proxy:
        """A way to the PostgreSQL that can be disturbed; workers that begin later take it."""
        proxy = self._stack.enter_context(Proxy(self.sql.port))
        self._sql_port = proxy.port
        return proxy

    def straight_to_sql(self) -> None:
        """Workers that begin later take no proxy to the PostgreSQL."""
        self._sql_port = 0

    def during(self, context: AbstractContextManager[T]) -> T:
        """Enters what is to last until the run is over."""
        return self._stack.enter_context(context)

    def watch_memory(self, worker: Worker, most: int = MOST_GROWTH) -> None:
        """From now on the memory of the worker's main process and keeper is watched; it may grow by ``most`` bytes."""
        pids = {f"{worker.name}'s main process": worker.parent}
        if worker.keeper is not None:
            pids[f"{worker.name}'s keeper"] = worker.keeper
        self._memories.append(self.during(Memory(pids, most)))

    @property
    def results_in_sqlite(self) -> Path:
        """The SQLite file that this side's workers write to."""
        return self._database if self.side.is_ours else self.folder / "results.db"

    def worker(self, *options: str, children: int = 1, through: str = "", **variables: str) -> Worker:
        """A worker that is ready to work."""
        worker = self.begin_worker(*options, children=children, through=through, **variables)
        self.wait(lambda: self.is_ready(worker) or worker.has_ended, "a worker is ready", START_SECONDS)
        if worker.has_ended:
            raise Unplayed(f"a worker has ended: {worker.log.read_text()[-2000:]}")
        return worker

    def tried_worker(self, *, children: int = 1, through: str = "") -> Worker:
        """A worker that has settled its first job, so that all of its processes are up."""
        worker = self.worker(children=children, through=through)
        self.settled(*self.enqueue("work"))
        return worker

    def begin_worker(self, *options: str, children: int = 1, through: str = "", **variables: str) -> Worker:
        """A worker that is just starting, and may never be ready."""
        number = len(self._workers)
        options = ("-c", str(children), *options)
        environment, log = self._environment(through) | variables, self.folder / f"worker{number}.log"
        worker = Worker(self.side, f"w{number}@faults", environment, log, self._deaths, options)
        self._workers.append(worker)
        return worker

    def ready(self, *workers: Worker) -> None:
        """Waits until workers that were begun are ready."""
        self.wait(lambda: all(map(self.is_ready, workers)), "workers are ready", START_SECONDS)

    def is_ready(self, worker: Worker) -> bool:
        """Whether it consumes; the first time its portrait is checked."""
        for effect in self.effects.of(WORKER):
            if effect.pid == worker.parent:
                self.side.check(effect.facts)
                return True
        return False

    def clock_ahead(self, seconds: int) -> dict[str, str]:
        """Variables that make a worker believe to be later; only its wall clock is wrong."""
        return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"+{seconds}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    # -- what is scheduled --------------------------------------------------------------------------------------

    def schedule_every(self, seconds: float) -> str:
        """A plain interval for the beats that begin later; its key. Which of its times count is said afterwards."""
        return self._fires.declare(every=seconds)

    def schedule_at(self, *moments: float, catch_up: float | None = None) -> list[str]:
        """A schedule for the beats that begin later, due at these times, in seconds since 1970; the times' names.

        Args:
            catch_up: seconds; what is later than that our side shall not start any more, but say so. Celery has no such
                rule.
        """
        series = Series(self._fires.declare(moments=moments, catch_up=catch_up), moments)
        self._fires.expect(series)
        return series.names

    def expect_every(self, key: str, seconds: float, since: float, count: int) -> None:
        """So many planned times of an interval count, one in each ``seconds`` from then on."""
        moments = [since + number * seconds for number in range(count)]
        self._fires.expect(Series(key, moments, moments[-1] + seconds))

    def beats(self, *schedule_files: str, through: str = "") -> list[Beat]:
        """Beats that are at work, begun together; each with a file of this name, in which stock keeps its schedules."""
        numbers = itertools.count(len(self._beats))
        environment = self._environment(through)
        begun = [
            Beat(self.side, environment, self.folder / f"beat{number}.log", self._deaths, self.folder / file)
            for number, file in zip(numbers, schedule_files, strict=False)
        ]
        self._beats += begun
        for beat in begun:
            self.wait(lambda beat=beat: self._is_at_work(beat) or beat.has_ended, "a beat is at work", START_SECONDS)
            if beat.has_ended:
                raise Unplayed(f"a beat has ended: {beat.log.read_text()[-2000:]}")
        return begun

    def _is_at_work(self, beat: Beat) -> bool:
        for effect in self.effects.of(BEAT):
            if effect.pid == beat.process.pid:
                self.side.check(effect.facts, BEAT_PARTS)
                return not self.side.is_ours or self._fires.to_come <= self._holdings.scheduled()
        return False

    def sleep_until(self, moment: float) -> None:
        """Lets time pass up to a moment, in seconds since 1970, and keeps its turn, so as to be there in time.

        Raises:
            Unplayed: it has passed already.
        """
        if time.time() > moment:
            raise Unplayed(f"this machine was {time.time() - moment:.1f} s too slow")
        time.sleep(moment - time.time())

    def sleep_until_fired(self, moment: float, *fires: str) -> None:
        """Lets time pass up to a moment, or until all of these planned times have started a job."""
        with self._resting():
            while time.time() < moment and not all(map(self._has_started, fires)):
                time.sleep(0.1)

    def _has_started(self, fire: str) -> bool:
        self._look()
        return any(self.effects.of(START, job) for job in self._found.fired.get(fire, ()))

    def ticked(self, count: int) -> None:
        """Waits until jobs of so many fires have begun."""
        self.wait(lambda: len(self.effects.of(TICK)) >= count, f"jobs of {count} fires begin")

    @property
    def decided_within(self) -> float:
        """The longest time from a planned time to its row on the books."""
        self._look()
        return self._fires.latency

    @property
    def told(self) -> list[str]:
        """What the books say of planned times that have started no job."""
        self._look()
        return list(self._found.told.values())

    # -- what is asked of it ------------------------------------------------------------------------------------

    def enqueue(self, task: str, *args: Any, count: int = 1, through: str = "", **options: Any) -> list[str]:
        """Enqueues jobs and returns the ids of those that were accepted."""
        return self.try_to_enqueue(task, *args, ids=new_ids(count), through=through, **options)

    def try_to_enqueue(self, task: str, *args: Any, ids: list[str], through: str = "", **options: Any) -> list[str]:
        """The same with ids that are known before; a refused one is not counted as accepted."""
        asked = time.monotonic()
        answer = self.producer(through).ask(do="send", task=f"faults.{task}", ids=ids, args=list(args), options=options)
        self._found.accepted |= dict.fromkeys(answer["accepted"], asked)
        self.remarks += [f"enqueue raised {error}" for error in set(answer["errors"].values())]
        return list(answer["accepted"])

    def enqueue_linked(self, kind: str, task: str, *args: Any, count: int) -> list[str]:
        """A ``chain``, ``chord`` or job with a callback (``link``). Returns their ids, the last one's last."""
        ids = new_ids(count)
        asked = time.monotonic()
        self.producer().ask(do=kind, task=f"faults.{task}", ids=ids, args=list(args))
        self._found.accepted |= dict.fromkeys(ids, asked)
        before = ids[:-1] if kind == "chord" else ids[:1]
        self._after |= {ids[-1]: before[-1]} if kind != "chain" else dict(zip(ids[1:], ids, strict=False))
        return ids

    def draw(self, task: str, *args: Any) -> dict[str, Any]:
        """The message of a job as this side's producer makes it, taken out of the queue; it is not counted."""
        self.producer().ask(
            do="send", task=f"faults.{task}", ids=new_ids(1), args=list(args), options={"queue": DRAWER}
        )
        raw = self.client.rpop(DRAWER)
        assert isinstance(raw, bytes)
        return dict(json.loads(raw))

    def lead_to(self, server: Server) -> None:
        """From now on judges by what this server holds."""
        self.redis = server
        self.client = self._stack.enter_context(server.client())
        self._holdings = Holdings(self.client, self._store())

    def let_serve(self, worker: Worker) -> None:
        """Has a worker of another queue serve this one as well, by remote control."""
        self.producer().ask(do="serve", queue=QUEUE, worker=worker.name)

    def count_as_accepted(self, *jobs: str) -> None:
        """Judges jobs whose enqueue call raised, though they are queued."""
        self._found.accepted |= dict.fromkeys(jobs, time.monotonic())

    def producer(self, through: str = "") -> Producer:
        """The producer that reaches Redis by this way."""
        if through not in self._producers:
            log = self.folder / f"producer{len(self._producers)}.log"
            self._producers[through] = Producer(self.side, self._environment(through), log)
            self._stack.callback(self._producers[through].close)
        return self._producers[through]

    def gate(self) -> str:
        """A file that is not there yet; a body of ``until`` runs until :meth:`open` makes it."""
        return str(self.folder / f"gate-{uuid.uuid4().hex[:8]}")

    def open(self, gate: str) -> None:
        """Lets the bodies that wait for the gate end."""
        Path(gate).touch()

    def hold(self, step: str) -> None:
        """Every process that reaches the step stays there."""
        (self.folder / step).touch()

    def release(self, step: str) -> None:
        """Processes that come to the step pass it again."""
        (self.folder / step).unlink()

    def hoard(self, worker: Worker, gate: str, task: str, *args: Any, count: int) -> tuple[str, list[str]]:
        """A job that runs until the gate is open, and others behind it, of which its worker has claimed some.

        Ours claims but one job at a time unless it has seen quick ones, and gives back what waits behind a long one
        after half a second; stock's prefetches whatever comes.
        """
        if not self.side.is_ours:
            (running,) = self.enqueue("until", gate)
            self.started(running)
            jobs = self.enqueue(task, *args, count=count)
            self.wait(lambda: (self.client.llen(QUEUE) or 0) < count, "the worker claims some of them")
            return running, jobs
        self.settled(*self.enqueue("work", count=60))
        children = worker.children
        worker.freeze_only(children)
        # An idle child's claim waits in the server for the first job: paused, so that it comes back with none.
        keys = Keys()
        self.client.hset(keys.gates, QUEUE, json.dumps({"paused": True, "by": "faults", "at": 0, "note": ""}))
        (running,) = self.enqueue("until", gate)
        jobs = self.enqueue(task, *args, count=count)
        self.client.hdel(keys.gates, QUEUE)
        self.client.lpush(keys.wake(QUEUE), 1)
        worker.thaw(children)
        self.started(running)
        if self._claims() < 2:
            raise Unplayed("the worker claimed but one job")
        return running, jobs

    def _claims(self) -> int:
        return sum(self.client.hlen(key) for key in self.client.scan_iter("penstock:inflight:*"))

    # -- what is waited for -------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], T], what: str, timeout: float = 20.0) -> T:
        """The first truthy value.

        Raises:
            Unplayed: there is none in time.
        """
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise Unplayed(f"not within {timeout:.0f} s: {what}")
            time.sleep(0.02)
        return value

    def started(self, *jobs: str, timeout: float = 20.0) -> Effect:
        """Waits until all of them have started; returns the last one's first start."""
        self.wait(lambda: all(self.effects.of(START, job) for job in jobs), "the jobs start", timeout)
        return self.effects.of(START, jobs[-1])[0]

    def done(self, *jobs: str) -> None:
        """Waits until all of them have ended and the store knows it."""
        self.wait(lambda: not set(jobs) & set(self.unsettled), "the jobs are done and stored")

    def settled(self, *jobs: str) -> None:
        """Waits until all of them are done and Redis holds nothing of them any more."""
        self.done(*jobs)
        self.wait(lambda: not self._holdings.mentioned(set(jobs)), "the jobs are settled")

    def held(self, job: str) -> None:
        """Waits until the job's process stays at the step of :meth:`hold`."""
        self.wait(lambda: self.effects.of(HELD, job), "the job's process is held")

    def stored(self, job: str) -> None:
        """Waits until the store has the job's outcome."""
        self.wait(lambda: job in self._holdings.outcomes([job]), "the outcome is stored")
        self._look()

    def ended(self, count: int) -> None:
        """Waits until so many bodies have ended."""
        self.wait(lambda: len(self.effects.of(END)) >= count, f"{count} bodies end", 30)

    def taken(self, queue: str = QUEUE, timeout: float = 20.0) -> None:
        """Waits until the queue's ready list is empty."""
        self.wait(lambda: not self.client.llen(queue), "a worker has taken the messages", timeout)

    def watch(self, *jobs: str, seconds: float) -> None:
        """Gives a second start of one of the jobs so much time to happen."""
        deadline = time.monotonic() + seconds
        with self._resting():
            while time.monotonic() < deadline and not any(self.starts(job) > 1 for job in jobs):
                time.sleep(0.05)

    def sleep(self, seconds: float) -> None:
        """Lets time pass where time is the fault."""
        with self._resting():
            time.sleep(max(0.0, seconds))

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """Meanwhile another run may have this one's turn: waiting needs no core."""
        self._turns.release()
        try:
            yield
        finally:
            self._turns.acquire()

    # -- how it ends --------------------------------------------------------------------------------------------

    def remark(self, text: str) -> None:
        """Something for the row that is no verdict."""
        self.remarks.append(text)

    def starts(self, job: str) -> int:
        """How often it started so far."""
        return len(self.effects.of(START, job))

    @property
    def unsettled(self) -> list[str]:
        """Accepted jobs that have not ended, or of which the store has no outcome."""
        self._look()
        return self._unfinished()

    def strike(self, *jobs: str) -> None:
        """Notes that a fault strikes these jobs now: their next starts must come within the bound."""
        now = time.monotonic()
        self._found.interrupted |= dict.fromkeys(jobs, now)

    def expect(self, fate: Fate, *jobs: str) -> None:
        """These do not have to be done, but to end in this way."""
        self._found.fates |= dict.fromkeys(jobs, fate)

    def expect_error(self, error: str, *jobs: str) -> None:
        """These have to fail with an exception of this name."""
        self.expect(Fate.FAILED, *jobs)
        self._found.errors |= dict.fromkeys(jobs, error)

    def expect_no_other_start(self, *jobs: str) -> None:
        """These must have started once when all is over, whoever died."""
        self._found.once |= set(jobs)

    def expect_in_line(self, jobs: Sequence[str]) -> None:
        """These must start in this order."""
        self._found.in_line = list(jobs)

    def expect_kept(self, label: str, message: bytes) -> None:
        """A message that is no job must still be somewhere, byte for byte, when the run is over."""
        self._foreign[label] = message

    def settle(self) -> None:
        """Waits until every accepted job has its end or is gone for good, or nothing has ended for the whole bound."""
        over = time.monotonic() + LONGEST_SECONDS
        moved, ends = time.monotonic(), 0
        with self._resting():
            while not self._is_over() and time.monotonic() < min(over, moved + self._patience):
                time.sleep(0.25)
                if (now := len(self.effects.of(END))) > ends:
                    moved, ends = time.monotonic(), now

    def judge(self) -> Verdict:
        """The verdict on what happened. Reads everything once more, so an outcome that changes is seen."""
        self._look()
        for memory in self._memories:
            self._found.overgrown |= memory.overgrown
            self.remarks.append(memory.remark)
        self._found.left_over = self._left_over()
        self._found.patience = self._scenario.bound + GRACE_SECONDS
        self._found.messages_kept = {label: self._holdings.keep(message) for label, message in self._foreign.items()}
        return judge(self._found)

    def _left_over(self) -> set[str]:
        """Jobs that have ended and whose messages nobody settles; stock's wait for its timeout, and are not judged."""
        ended = set(self._found.outcomes) if self.side.is_ours else set()
        left, over = ended, time.monotonic() + SETTLE_SECONDS
        with self._resting():
            while (left := self._holdings.mentioned(left)) and time.monotonic() < over:
                time.sleep(0.25)
        return left

    @property
    def jobs(self) -> int:
        """How many were accepted, messages that are no jobs among them; for jobs of schedules, the planned times."""
        sent = self._found.accepted.keys() - self._ticked
        return len(sent) + len(self._foreign) + len(self._found.planned)

    @property
    def portraits(self) -> list[dict[str, Any]]:
        """What the workers said of themselves."""
        return [effect.facts for effect in self.effects.of(WORKER)]

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        """Seconds without any job's end after which whatever is open counts as stuck."""
        chosen = 0 if self.quick else self._scenario.patience
        return (chosen or self._scenario.bound) + GRACE_SECONDS

    @property
    def _database(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def _name_on_server(self) -> str:
        return postgres.OURS if self.side.is_ours else postgres.STOCK

    @property
    def _database_url(self) -> str:
        if self._scenario.store == POSTGRESQL:
            return self.sql.url(self._name_on_server, self._sql_port)
        return f"sqlite:///{self.results_in_sqlite}"

    def _store(self) -> stores.Store:
        if self._scenario.store == POSTGRESQL:
            return stores.ledger_on_server(self.sql) if self.side.is_ours else stores.celery_on_server(self.sql)
        if self.side.is_ours:
            return stores.ledger_in_file(self._database)
        return stores.celery_in_file(self.results_in_sqlite) if self._scenario.store else stores.InRedis(self.client)

    def _environment(self, through: str) -> dict[str, str]:
        broker = through or self.redis.url
        database = self._database_url
        stock = f"db+{database}" if self._scenario.store else broker
        backend = f"penstock.ledger.backend:LedgerBackend+{database}" if self.side.is_ours else stock
        config = {
            "broker_url": broker,
            "result_backend": backend,
            "broker_connection_retry_on_startup": True,
            **self.side.config,
            **self._scenario.config,
            **({} if self.side.is_ours else self._scenario.stock),
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", CAMPAIGN) if name in os.environ}
        name, value = self._mark.split("=")
        return kept | {
            name: value,
            "PYTHONPATH": str(ROOT),
            "FAULTS_CONFIG": json.dumps(config),
            "REDIS_URL": broker,
            "DATABASE_URL": database,
            "PENSTOCK_VAR": str(self.folder / "var"),
            effects.FILE: str(self.effects.path),
            **({timetable.FILE: str(self._fires.file)} if self._fires.are_there else {}),
            tasks.HOLD: str(self.folder),
        }

    def _is_over(self) -> bool:
        self._look()
        now = time.monotonic()
        alive = self._found.traces | self._running()
        self._gone_since = {
            job: self._gone_since.get(job, now)
            for job in self._unfinished()
            if job not in alive and self._after.get(job) not in alive
        }
        if self._undecided():
            return False
        return all(now - self._gone_since.get(job, now) > GONE_SECONDS for job in self._unfinished())

    def _unfinished(self) -> list[str]:
        """Jobs without an end, as the tasks or the store tell it; both must agree for those that were done."""
        done = {effect.job for effect in self.effects.of(END)}
        return [
            job
            for job in self._found.accepted
            if job not in self._found.outcomes or (job not in done and self._found.outcomes[job].succeeded)
        ]

    def _undecided(self) -> set[str]:
        """Planned times without a job, of which the books do not say why."""
        return self._found.planned.keys() - self._found.fired.keys() - self._found.told.keys()

    def _running(self) -> set[str]:
        deaths = self._deaths.noticed()
        ended = {effect.attempt for effect in self.effects.of(END)}
        starts = self.effects.of(START)
        return {effect.job for effect in starts if effect.attempt not in ended and effect.pid not in deaths}

    def _look(self) -> None:
        self._found.effects = self.effects.all()
        self._look_at_fires()
        self._found.deaths, self._found.killed = self._deaths.noticed(), self._deaths.killed
        outcomes = self._holdings.outcomes(self._found.accepted)
        before = self._found.outcomes
        self._found.changed |= {job for job in before if job in outcomes and outcomes[job] != before[job]}
        self._found.outcomes = before | outcomes
        now = time.monotonic()
        self._found.stored |= {job: now for job in outcomes if job not in self._found.stored}
        self._found.traces = self._traces()

    def _look_at_fires(self) -> None:
        if not self._fires.are_there:
            return
        self._fires.note(self._holdings.booked())
        found = self._fires.found(self._found.effects)
        self._found.planned, self._found.fired = self._fires.planned, found.fired
        self._found.told, self._found.unplanned = found.told, found.unplanned
        self._ticked = found.jobs
        now = time.monotonic()
        self._found.accepted |= {job: now for job in found.jobs if job not in self._found.accepted}

    def _traces(self) -> set[str]:
        """Accepted jobs whose message lies in some key, under whatever name; and planned times of schedules of such."""
        unfinished, schedules = set(self._unfinished()), self._fires.schedules(self._undecided())
        try:
            named = self._holdings.mentioned(unfinished | set(schedules.values())) if unfinished or schedules else set()
        except redis.RedisError:
            return unfinished
        return (named & unfinished) | {fire for fire, schedule in schedules.items() if schedule in named}

    def _clean_up(self) -> None:
        self._deaths.kill(marked(self._mark))
        for process in (*self._workers, *self._beats):
            process.process.wait()


def new_ids(count: int) -> list[str]:
    """Ids as Celery makes them."""
    return [str(uuid.uuid4()) for _ in range(count)]
