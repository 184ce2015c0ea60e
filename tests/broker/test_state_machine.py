"""Whatever happens in whatever order, the real scripts do what the model says, and lose and double nothing."""

from collections.abc import Iterable
from copy import deepcopy
from itertools import permutations
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penstock.broker.keys import Keys
from penstock.broker.scripts import Scripts, Settlement, Source
from tests.broker.keyspace import Between, Space, dump, server_ms
from tests.broker.model import Model

UNIT = 1_000_000
"""Steps of time in ms, so large that the time which a run takes never decides anything."""
LEASE, GAP = 5 * UNIT // 2, 3 * UNIT // 2
LIMIT = 2
QUEUES = ("mail", "post")
STEPS = (0, 3)
TASKS = ("demo.x", "demo.y")
READY = [Source(queue, step) for queue in QUEUES for step in STEPS]
UNKNOWN = [Source(queue, step, task) for queue in QUEUES for step in STEPS for task in TASKS]
MAX_WORKERS = 3

queues, steps, slices = st.sampled_from(QUEUES), st.sampled_from(STEPS), st.integers(1, 4)
settled = st.sampled_from(
    ["ack", "ack_counted", "return", "interrupt", "requeue", "crash", "park", "block", "bury", "quarantine"]
)


class Broker(RuleBasedStateMachine):
    """The scripts on a server beside the model; after each step both must look the same."""

    client: redis.Redis
    keys = Keys("app.")

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.scripts = Scripts(self.client, self.keys)
        self.model = Model(LIMIT)
        self.accepted: list[bytes] = []
        self.workers: list[str] = []
        self.bases: dict[str, int] = {}
        self.claims: list[tuple[Any, ...]] = []
        self.issued: list[tuple[str, str, str]] = []
        self.published: list[tuple[Any, ...]] = []
        self.times = 0

    # Producers.

    @rule(
        queue=queues,
        step=steps,
        size=st.integers(1, 3),
        later=st.integers(0, 2),
        indexed=st.sampled_from(["", "new", "known"]),
        is_new=st.booleans(),
    )
    def publish(self, queue: str, step: int, size: int, later: int, indexed: str, is_new: bool) -> None:
        raws = [self._new_message() for _ in range(size)]
        jobs = {"": lambda _: "", "new": lambda raw: f"job {raw.decode()}", "known": lambda _: "job"}
        messages = [(jobs[indexed](raw), raw) for raw in raws]
        due = self._due(later) if later else 0
        self.published.append(("p", len(self.published), queue, step, messages, due, is_new))
        assert self._publish(self.published[-1])

    @precondition(lambda self: self.published)
    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        assert not self._publish(data.draw(st.sampled_from(self.published)))

    def _publish(self, call: tuple[Any, ...]) -> bool:
        *arguments, is_new = call
        accepted, now = self._timed(lambda: self.scripts.publish(*arguments, is_new=is_new))
        assert accepted == self.model.publish(*arguments, now, is_new=is_new)
        return accepted

    @rule(queue=queues, step=steps, size=st.integers(2, 5))
    def a_stock_producer_pushes(self, queue: str, step: int, size: int) -> None:
        for _ in range(size):
            raw = self._new_message()
            self.client.lpush(self.keys.ready(queue, step), raw)
            self.model.push(queue, step, raw)

    @rule(queue=queues, step=steps)
    def a_stock_worker_pops(self, queue: str, step: int) -> None:
        assert self.client.rpop(self.keys.ready(queue, step)) == self.model.pop(queue, step)

    # Workers.

    @initialize()
    def start(self) -> None:
        # Who consumes from a queue makes it known; see the tests of claim and publish.
        self.client.sadd(self.keys.queues, *QUEUES)
        self.model.queues.update(QUEUES)
        self.join()
        self.a_stock_producer_pushes(QUEUES[0], STEPS[0], 4)

    @precondition(lambda self: len(self.model.leases) < MAX_WORKERS)
    @rule()
    def join(self) -> None:
        worker = f"w{len(self.workers)}"
        self.workers.append(worker)
        _, now = self._timed(lambda: self.scripts.join(worker))
        self.model.join(worker, now)

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        renewed, now = self._timed(lambda: self.scripts.renew(worker))
        assert renewed == self.model.renew(worker, now)

    @precondition(lambda self: self.model.leases)
    @rule(
        data=st.data(),
        child=st.sampled_from(["", "/1"]),
        ready=st.permutations(READY),
        unknown=st.lists(st.sampled_from(UNKNOWN), unique=True, max_size=2),
        bounds=st.tuples(st.integers(1, 8), st.sampled_from([1_000_000, 3, 1])),
        verbs=st.lists(settled, max_size=4),
    )
    def claim_and_settle(
        self,
        data: st.DataObject,
        child: str,
        ready: list[Source],
        unknown: list[Source],
        bounds: tuple[int, int],
        verbs: list[str],
    ) -> None:
        worker = data.draw(st.sampled_from(sorted(self.model.leases)))
        claimer = worker + child
        self.claims.append((worker, claimer, self.bases.get(claimer, 0), [*ready, *unknown], *bounds))
        messages = self._claim(self.claims[-1])
        assert len(messages) <= bounds[0]
        taken_from = [Source(message.queue, int(message.token.partition(":")[2])) for message in messages]
        if not unknown and taken_from:
            self._were_empty(ready[: ready.index(taken_from[-1])])
        for verb in verbs:
            if tokens := self.model.tokens():
                self._settle([self._settlement(data.draw(st.sampled_from(tokens)), verb, len(tokens) % 3)])

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def claim_again_or_without_a_lease(self, data: st.DataObject) -> None:
        self._claim(data.draw(st.sampled_from(self.claims)))

    def _claim(self, call: tuple[Any, ...]) -> list[Any]:
        reply = self.scripts.claim(*call)
        expected = self.model.claim(*call)
        assert reply.has_lease == (expected is not None)
        by_number = sorted(reply.messages, key=lambda message: int(message.token.partition(":")[0]))
        assert by_number == (expected or [])
        for message in by_number:
            token = (call[1], message.queue, message.token)
            if token not in self.issued:
                self.issued.append(token)
            self.bases[call[1]] = max(self.bases.get(call[1], 0), int(message.token.partition(":")[0]))
        return reply.messages

    @precondition(lambda self: self.model.tokens())
    @rule(data=st.data(), verbs=st.lists(settled, min_size=1, max_size=3), later=st.integers(0, 2))
    def settle(self, data: st.DataObject, verbs: list[str], later: int) -> None:
        tokens = self.model.tokens()
        chosen = [(data.draw(st.sampled_from(tokens)), verb) for verb in verbs]
        self._settle([self._settlement(token, verb, later) for token, verb in chosen])

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), verb=settled, foreign=st.booleans())
    def settle_what_may_be_stale(self, data: st.DataObject, verb: str, foreign: bool) -> None:
        claimer, queue, token = data.draw(st.sampled_from(self.issued))
        settlement = ("nobody" if foreign else claimer, queue, token)
        is_owner = settlement in self.model.tokens()
        assert bool(self._settle([self._settlement(settlement, verb, 0)])[0]) == is_owner

    def _settlement(self, token: tuple[str, str, str], verb: str, later: int) -> Settlement:
        arguments = {
            "crash": (str(LIMIT),),
            "park": (str(self._due(later)),),
            "block": (TASKS[later % 2], f"job of {token}" if later else ""),
            "bury": ("too bad", f"job of {token}"),
            "quarantine": ("not JSON",),
        }
        return Settlement(*token, verb, *arguments.get(verb, ()))

    def _settle(self, settlements: list[Settlement]) -> list[int]:
        answers, now = self._timed(lambda: self.scripts.settle(settlements))
        assert answers == [self.model.settle(settlement, now) for settlement in settlements]
        return answers

    @precondition(lambda self: self.model.index or self.model.blocked)
    @rule(data=st.data())
    def unindex(self, data: st.DataObject) -> None:
        known = [*self.model.index, *(("mail", job) for job in self.model.blocked)]
        jobs = data.draw(st.lists(st.sampled_from(known), max_size=3))
        self.scripts.unindex(jobs)
        self.model.unindex(jobs)

    # Keepers.

    @precondition(lambda self: self.model.leases or self.model.dying)
    @rule(data=st.data(), counted=st.booleans(), limit=slices)
    def a_worker_ends(self, data: st.DataObject, counted: bool, limit: int) -> None:
        worker = data.draw(st.sampled_from(sorted({*self.model.leases, *self.model.dying})))
        (taken, left), now = self._timed(lambda: self.scripts.call("retire", worker, int(counted), LIMIT, limit))
        assert taken <= limit
        assert (taken, bool(left)) == self.model.retire(worker, counted, limit, now)

    @rule(limit=slices)
    def reap(self, limit: int) -> None:
        reaped, now = self._timed(lambda: self.scripts.reap(LEASE, GAP, LIMIT, limit))
        assert reaped.given_back <= limit
        answer = (reaped.given_back, reaped.more, set(reaped.workers))
        before, seen = self.model, self._seen()
        # In which order the dying are gone through is the server's affair.
        for order in permutations(sorted({*before.leases, *before.dying})):
            self.model = deepcopy(before)
            if answer == self.model.reap(LEASE, GAP, limit, order, now) and seen == self._expected():
                return
        assert (answer, seen) == (self.model.reap(LEASE, GAP, limit, [], now), self._expected())

    @rule(limit=slices, everything=st.booleans(), names=st.permutations(QUEUES))
    def promote(self, limit: int, everything: bool, names: list[str]) -> None:
        promoted, now = self._timed(lambda: self.scripts.promote(names, limit, everything=everything))
        assert promoted.moved <= limit
        assert promoted[:2] == self.model.promote(names, limit, now, everything)

    @rule(source=st.sampled_from(UNKNOWN), limit=slices)
    def unblock(self, source: Source, limit: int) -> None:
        answer = self.scripts.unblock(self.keys.unknown_list(*source), limit)
        assert answer[0] <= limit
        assert answer == self.model.unblock(source, limit)

    # Operators, and the world.

    @rule(queue=queues)
    def pause_or_resume(self, queue: str) -> None:
        if queue in self.model.gates:
            self.client.hdel(self.keys.gates, queue)
        else:
            self.client.hset(self.keys.gates, queue, "{}")
        self.model.gates ^= {queue}

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), units=st.integers(1, 3), ticking=st.booleans(), limit=slices)
    def some_workers_are_silent(self, data: st.DataObject, units: int, ticking: bool, limit: int) -> None:
        silent = data.draw(st.sets(st.sampled_from(sorted(self.model.leases)), min_size=1))
        self._shift(units * UNIT, silent, ticking=ticking)
        self.reap(limit)

    @rule(units=st.sampled_from([-2, -1, 1, 2, 3]))
    def the_clock_is_set_or_the_server_was_stopped(self, units: int) -> None:
        self.client.script_flush()
        self._shift(units * UNIT, list(self.model.leases), ticking=False)

    def _shift(self, ms: int, workers: Iterable[str], *, ticking: bool) -> None:
        for worker in workers:
            self.client.zincrby(self.keys.leases, -ms, worker)
        for queue in QUEUES:
            for member in self.client.zrange(self.keys.parked(queue), 0, -1):
                self.client.zincrby(self.keys.parked(queue), -ms, member)
        if self.client.exists(self.keys.reaper):
            for name in ["since"] if ticking else ["since", "last"]:
                self.client.hincrby(self.keys.reaper, name, -ms)
        self.model.shift(ms, workers, ticking=ticking)

    # What always holds.

    @invariant()
    def each_message_is_in_exactly_one_place_and_nothing_else_is_there(self) -> None:
        seen = self._seen()
        assert seen == self._expected()
        parked = [raw for _, _, raw, _ in seen[1]]
        elsewhere = _messages(seen[0], self.keys)
        assert sorted([*parked, *elsewhere, *self.model.consumed]) == sorted(self.accepted)

    def _seen(self) -> tuple[Space, list[tuple[str, int, bytes, int]]]:
        """The whole key space, and what is parked without the names under which it is."""
        space = dump(self.client)
        parked = [
            (queue, int(member.split(b"\x1f")[0]), member.split(b"\x1f", 2)[2], due)
            for queue in QUEUES
            for member, due in space.pop(self.keys.parked(queue), {}).items()
        ]
        return space, sorted(parked)

    def _expected(self) -> tuple[Space, list[tuple[str, int, bytes, int]]]:
        parked = [(one.queue, one.step, one.raw, one.due) for one in self.model.parked]
        return self.model.space(self.keys), sorted(parked)

    def _were_empty(self, sources: list[Source]) -> None:
        """Strict priority: a list was served only after those before it were empty."""
        for source in sources:
            paused = source.queue in self.model.gates
            assert paused or not self.client.exists(self.keys.ready(source.queue, source.step))

    def _new_message(self) -> bytes:
        self.accepted.append(b"%d" % len(self.accepted))
        return self.accepted[-1]

    def _due(self, units: int) -> int:
        """A time in the middle between two steps, and no two the same; 0 units: half a step ago."""
        self.times += 1
        return server_ms(self.client) + units * UNIT - UNIT // 2 + self.times

    def _timed(self, call: Any) -> tuple[Any, Between]:
        before = server_ms(self.client)
        answer = call()
        return answer, Between(before, server_ms(self.client))


def _messages(space: Space, keys: Keys) -> Iterable[bytes]:
    """Every message that the server has, except for the parked ones."""
    ready = {keys.ready(queue, step) for queue in QUEUES for step in STEPS}
    for key, value in space.items():
        if key in ready or key.startswith(keys._ours("unknown:")):
            yield from value
        elif key.startswith(keys._ours("inflight:")):
            yield from value.values()
        elif key.startswith(keys._ours("dead:")):
            yield value["raw"]


@pytest.mark.timeout(60)
def test_the_scripts_do_what_the_model_says(server: redis.Redis) -> None:
    machine = type("BrokerOnServer", (Broker,), {"client": server})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=checks),
    )
