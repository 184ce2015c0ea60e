"""Whatever workers tell, in whatever order, by whichever connection and however often, the books are right."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, text

from penstock.ledger.recorder import Recorder
from penstock.ledger.recording import record
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Outcome
from penstock.ledger.session import engine_for
from tests.ledger.recording.world import JOBS, OUTCOMES, Claim, World

EXAMPLES, STEPS = 25, 20
THREADS, ROUNDS = 4, 12
jobs = st.integers(0, JOBS - 1)
retries = st.integers(0, 2)
deliveries = st.integers(0, 2)
steps = st.sampled_from([Step.START, Step.START, Step.RUNNING, Step.ASIDE])
outcomes = st.sampled_from(OUTCOMES)
connections = st.sampled_from([0, 1])


class Telling(RuleBasedStateMachine):
    """Two connections, and claims of three jobs that tell whatever they like."""

    url: str
    connections: Sequence[Connection]

    @initialize()
    def begin(self) -> None:
        self.world = World(self.url)
        self.claims: list[Claim] = []
        self.batch: list[Record] = []
        self.last: list[Record] = []

    @rule(job=jobs, retries=retries, deliveries=deliveries, has_run=st.booleans())
    def deliver(self, job: int, retries: int, deliveries: int, has_run: bool) -> None:
        """A claim of a job; nobody promises that claims come in the order of their attempts."""
        token = f"t:{len(self.claims)}"
        self.claims.append(Claim(self.world.jobs[job], token, retries, deliveries, has_run))

    def _claim(self, data: st.DataObject) -> Claim:
        if not self.claims:
            self.deliver(0, 0, 0, True)
        return data.draw(st.sampled_from(self.claims))

    @rule(data=st.data(), which=steps)
    def tell_a_step(self, data: st.DataObject, which: Step) -> None:
        self.batch.append(self.world.step(self._claim(data), which))

    @rule(data=st.data(), outcome=outcomes)
    def tell_an_end(self, data: st.DataObject, outcome: Outcome) -> None:
        self.batch.append(self.world.end(self._claim(data), outcome))

    @rule(job=jobs)
    def cancel(self, job: int) -> None:
        self.batch.append(self.world.cancel(self.world.jobs[job]))

    @rule(at=connections, is_answered=st.booleans())
    def commit(self, at: int, is_answered: bool) -> None:
        """Writes what was told; if the answer is lost, the same again by another connection."""
        for connection in [self.connections[at]] if is_answered else [self.connections[at], self.connections[1 - at]]:
            with connection.begin():
                written = record(connection, self.batch)
            self.world.note(self.batch, written)
        self.batch, self.last = [], self.batch

    @rule(at=connections)
    def roll_back(self, at: int) -> None:
        """The connection is cut before COMMIT; what was told is told again later."""
        connection = self.connections[at]
        with connection.begin() as transaction:
            record(connection, self.batch)
            transaction.rollback()

    @rule()
    def tell_again(self) -> None:
        self.batch.extend(self.last)

    @invariant()
    def ends_stay(self) -> None:
        self.world.check_ends()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.commit(0, True)
            self.world.check()


@pytest.fixture
def two_connections(database_url: str) -> Iterator[list[Connection]]:
    """Without a wait for the disk, which is not what is looked at."""
    made = [engine_for(database_url).connect() for _ in range(2)]
    for connection in made:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET synchronous_commit = off"))
            connection.commit()
    yield made
    for connection in made:
        connection.close()


def test_whatever_is_told_in_whatever_order_the_books_are_right(
    database_url: str, two_connections: list[Connection]
) -> None:
    machine = type("Machine", (Telling,), {"url": database_url, "connections": two_connections})
    settings = hypothesis_settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=settings)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_told_at_once_the_books_are_right(database_url: str, seed: int) -> None:
    """Workers that write batches of the same jobs at the same time, each its own claims and each batch twice."""
    world, recorder = World(database_url), Recorder(database_url)
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        chance = random.Random(f"{seed}-{worker}")  # noqa: S311
        try:
            for number in range(ROUNDS):
                told = batch(world, chance, f"{worker}:{number}")
                for _ in range(2):
                    world.note(told, recorder.write(told))
        except BaseException as error:
            failures.append(error)

    run_at_once(work)
    assert failures == []
    world.check()


def batch(world: World, chance: random.Random, token: str) -> list[Record]:
    """What one worker tells of some jobs at once."""
    told = []
    for place, job in enumerate(chance.sample(world.jobs, chance.randint(1, JOBS))):
        claim = Claim(job, f"{token}:{place}", chance.randint(0, 3), chance.randint(0, 1))
        told += [world.step(claim, Step.START)] if chance.random() < 0.5 else []
        told += [world.end(claim, chance.choice(OUTCOMES))] if chance.random() < 0.6 else []
        told += [world.cancel(job)] if chance.random() < 0.03 else []
    return told


def run_at_once(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
