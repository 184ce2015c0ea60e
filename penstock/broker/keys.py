"""Every key in Redis, its type and its lifetime. ``lua/keys.lua`` is the twin of this module for the scripts.

Ready lists are kombu's own, so that stock producers and workers share them; all other names are ours. ``prefix`` is
kombu's ``global_keyprefix``. Times are whole milliseconds of the server's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

PRIORITY_STEPS = (0, 3, 6, 9)
"""kombu's default: priorities share four lists per queue; a smaller number goes first."""
STEP_SEPARATOR = "\x06\x16"
FIELD_SEPARATOR = "\x1f"


def step_of(priority: int) -> int:
    """The list that a priority from 0 (first) to 9 (last) belongs to."""
    return max(step for step in PRIORITY_STEPS if step <= max(priority, 0))


@dataclass(frozen=True)
class Keys:
    """Names of keys under one prefix."""

    prefix: str = ""

    def ready(self, queue: str, step: int) -> str:
        """List of raw messages: LPUSH goes last in line, RPOP takes the first. kombu's name."""
        return f"{self.prefix}{queue}{STEP_SEPARATOR}{step}" if step else f"{self.prefix}{queue}"

    def _ours(self, name: str) -> str:
        return f"{self.prefix}penstock:{name}"

    @property
    def queues(self) -> str:
        """Set of the queues that we ever published to or parked for: where something may have to be promoted."""
        return self._ours("queues")

    def waiting(self, queue: str) -> str:
        """Sorted set of job ids, scored by the time from which they may be claimed. Only jobs published by us."""
        return self._ours(f"waiting:{queue}")

    def parked(self, queue: str) -> str:
        """Sorted set ``step ␟ unique ␟ raw``, scored by the time when the message is due."""
        return self._ours(f"parked:{queue}")

    def wake(self, queue: str) -> str:
        """List of at most 128 tokens; each wakes one idle claimer. Deleted when a claim finds the queue empty."""
        return self._ours(f"wake:{queue}")

    @property
    def gates(self) -> str:
        """Hash queue → JSON of why it is closed; a queue with a field is not claimed from."""
        return self._ours("gates")

    def unknown_list(self, queue: str, step: int, task: str) -> str:
        """List of messages of a task that the worker that claimed them did not know; the same order as ready lists."""
        return self._ours(f"unknown:{step}:{queue}{FIELD_SEPARATOR}{task}")

    @property
    def unknown(self) -> str:
        """Hash: key of an unknown-task list → ``task ␟ queue ␟ step``; a field for each list that is not empty."""
        return self._ours("unknown")

    @property
    def blocked(self) -> str:
        """Hash job id → why it is put aside; for jobs of unknown tasks, and of breakers, whose id could be read."""
        return self._ours("blocked")

    @property
    def breaker_keeper(self) -> str:
        """The keeper that starts probes and brings back what breakers have put aside; lives for seconds."""
        return self._ours("breaker-keeper")

    @property
    def breakers(self) -> str:
        """Set of the tasks whose breaker is open or half-open."""
        return self._ours("breakers")

    def breaker(self, task: str) -> str:
        """Hash of a breaker that is not closed; ``lua/breaker.lua`` has its fields."""
        return self._ours(f"breaker:{task}")

    def attempts(self, task: str) -> str:
        """Hash of the attempts that ended in the window of a closed breaker, by twentieths; lives twice as long."""
        return self._ours(f"attempts:{task}")

    def broken_list(self, queue: str, step: int, task: str) -> str:
        """List ``length of the job's id : id raw`` of what a breaker has put aside; in the order of ready lists."""
        return self._ours(f"broken:{step}:{queue}{FIELD_SEPARATOR}{task}")

    @property
    def broken(self) -> str:
        """Hash: key of such a list → ``task ␟ queue ␟ step``; a field for each list that is not empty."""
        return self._ours("broken")

    @property
    def unbroken(self) -> str:
        """Says for an hour that such jobs are at the end of their queues, where they are older than the first."""
        return self._ours("unbroken")

    def inflight(self, claimer: str, queue: str) -> str:
        """Hash token → raw message: what the claimer holds of this queue."""
        return self._ours(f"inflight:{claimer}:{queue}")

    def worker(self, worker: str) -> str:
        """Hash of one incarnation: its claimers' last bases, its in-flight hashes' names, since when it ends, and its
        card, what its keeper says of it as JSON; see :mod:`penstock.engine.keeping.card`.
        """
        return self._ours(f"worker:{worker}")

    @property
    def leases(self) -> str:
        """Sorted set of live workers, scored by their last renewal."""
        return self._ours("leases")

    @property
    def dying(self) -> str:
        """Hash of workers whose claims are being taken back, slice by slice → 1 if these count as crashes."""
        return self._ours("dying")

    @property
    def deliveries(self) -> str:
        """Hash SHA-1 of a raw message → ``deliveries:crashes:time``; empty unless something was redelivered."""
        return self._ours("deliveries")

    @property
    def outbox(self) -> str:
        """Hash outbox key → 1: Redis has the message of this row of the ledger's outbox, wherever it is at the moment.

        The field goes when the message is settled as done, or its dead letter is in the ledger.
        """
        return self._ours("outbox")

    @property
    def spool(self) -> str:
        """Hash ``claim ␟ queue`` → JSON list of records: outcomes of workers that ended while SQL was away.

        Their messages are settled; the field goes when the ledger has them.
        """
        return self._ours("spool")

    @property
    def relay(self) -> str:
        """The keeper that publishes the outbox at the moment; lives for seconds."""
        return self._ours("relay")

    @property
    def reaper(self) -> str:
        """Hash ``since``, ``last``: for how long ticks of reaping have come without a break."""
        return self._ours("reaper")

    @property
    def server(self) -> str:
        """Hash ``run_id``, ``changed``: which server this was last, and since when (ms) it is another one; 0: never."""
        return self._ours("server")

    @property
    def promoter(self) -> str:
        """The keeper that promotes at the moment; lives for seconds."""
        return self._ours("promoter")

    def watcher(self, queue: str) -> str:
        """The keeper that watches a queue's ready lists for foreign producers; lives for seconds."""
        return self._ours(f"watcher:{queue}")

    @property
    def revoked(self) -> str:
        """Sorted set of revoked job ids, scored by version."""
        return self._ours("revoked")

    @property
    def revoked_stamps(self) -> str:
        """Sorted set ``header ␟ value`` of revoked stamps, scored by version."""
        return self._ours("revoked:stamps")

    @property
    def revoked_signals(self) -> str:
        """Hash job id → name of the signal that ends it, for those that were revoked to be terminated."""
        return self._ours("revoked:signals")

    @property
    def cancelling(self) -> str:
        """Hash job id → ``asked:stop`` (ms): cancelled jobs that have not ended, or of which a message is left.

        From ``stop`` on, if it is not empty, the body is stopped that has not stopped by itself.
        """
        return self._ours("cancelling")

    @property
    def canceller(self) -> str:
        """The keeper that ends cancelled jobs which wait; lives for seconds."""
        return self._ours("canceller")

    @property
    def revoked_version(self) -> str:
        """The newest version: microseconds of the server's clock, and never less than the one before."""
        return self._ours("revoked:version")

    @property
    def tally(self) -> str:
        """Hash of what was counted for the balance sheet; ``since`` (ms): from when on.

        ``accepted:queue`` new jobs published by us, ``purged:queue`` those deleted without an end in the ledger,
        ``elsewhere:queue`` those whose message a stock worker took, ``base:queue`` what is added to the accepted ones
        since somebody took the present as a new beginning, at ``rebased`` (ms).
        """
        return self._ours("tally")

    @property
    def dead(self) -> str:
        """List of the ids of dead entries that the ledger has not committed yet."""
        return self._ours("dead")

    def dead_entry(self, entry: str) -> str:
        """Hash of a buried or quarantined message; deleted once the ledger has its row."""
        return self._ours(f"dead:{entry}")

    def producer(self, producer: str) -> str:
        """The last sequence number of a producer's connection; remembered for a minute after its last call."""
        return self._ours(f"producer:{producer}")

    def ended(self, job: str) -> str:
        """Channel on which the end of a job is announced; the payload is its state. Keeps nothing."""
        return self._ours(f"ended:{job}")
