"""Guards of the keeper and of the worker's link to it: settlements outlive processes, a lease ends with its worker."""

from tests.mutants.guard import Guard

LINK, KEEPER, KEEPING = "penstock/engine/link.py", "penstock/engine/keeper.py", "penstock/engine/keeping"
ON_KEEPER = "tests/broker/test_guards_keeper.py"

GUARDS = (
    Guard(
        name="settlements-go-to-the-next-keeper",
        file=LINK,
        text="            for line in self._unconfirmed.values():\n                self._unsent += line\n",
        replacement="",
        test=f"{ON_KEEPER}::test_a_settlement_that_its_keeper_took_to_its_grave_goes_to_the_next_one",
        why="What a keeper took to its grave stays in flight, and runs again when the worker ends.",
    ),
    Guard(
        name="keeper-is-replaced",
        file=LINK,
        text="            if self._process is not None and self._process.poll() is not None:\n",
        replacement="            if False:\n",
        test=f"{ON_KEEPER}::test_a_keeper_that_died_is_replaced",
        why="A worker without a keeper loses its lease, and its running jobs start a second time.",
    ),
    Guard(
        name="next-keeper-knows-the-lease",
        file=LINK,
        text='{"config": self._config, **self._facts}',
        replacement='{"config": self._config}',
        test=f"{ON_KEEPER}::test_a_later_keeper_renews_the_same_lease",
        why="The next keeper renews nothing, and the worker's running jobs start a second time.",
    ),
    Guard(
        name="keeper-reads-all-it-was-told",
        file=KEEPER,
        text="        self._take(first)\n        self._take_unread()\n",
        replacement="        self._take(first)\n",
        test=f"{ON_KEEPER}::test_a_settlement_that_its_keeper_took_to_its_grave_goes_to_the_next_one",
        why="What comes with the configuration, as repeated settlements do, waits until the worker speaks again.",
    ),
    Guard(
        name="keeper-ignores-signals",
        file=KEEPER,
        text="        signal.signal(ignored, signal.SIG_IGN)\n",
        replacement="        pass\n",
        test=f"{ON_KEEPER}::test_signals_to_the_whole_group_do_not_end_the_keeper",
        why="Ctrl-C ends the keeper before the jobs that the worker is still finishing.",
    ),
    Guard(
        name="goodbye-counts-no-crash",
        file=KEEPER,
        text="counted=not self._said_goodbye",
        replacement="counted=True",
        test=f"{ON_KEEPER}::test_a_worker_that_says_goodbye_gives_back_without_counting",
        why="Three rolling deploys bury jobs that have done nothing wrong.",
    ),
    Guard(
        name="killed-worker-counts-a-crash",
        file=KEEPER,
        text="counted=not self._said_goodbye",
        replacement="counted=False",
        test=f"{ON_KEEPER}::test_a_worker_that_is_killed_gives_back_at_once_and_counts_a_crash",
        why="A job that has its worker killed, as for its memory, does so for ever.",
    ),
    Guard(
        name="end-of-the-worker-is-noticed",
        file=KEEPER,
        text="        if not chunk:\n            self._ended = True\n",
        replacement="        if not chunk:\n",
        test=f"{ON_KEEPER}::test_a_worker_that_is_killed_gives_back_at_once_and_counts_a_crash",
        why="The jobs of a killed worker wait for a lease to end.",
    ),
    Guard(
        name="lonely-children-hold-no-claims",
        file=KEEPER,
        text="            self._ended = time.monotonic() - self._orphaned > self._ward.lease_seconds\n",
        replacement="            pass\n",
        test=f"{ON_KEEPER}::test_a_worker_whose_child_lives_on_gives_back_when_its_lease_ends",
        why="A child that outlives its worker keeps the worker's jobs for ever.",
    ),
    Guard(
        name="lost-lease-is-told",
        file=f"{KEEPING}/renew.py",
        text="            self.ward.tell(lost=lost)\n",
        replacement="            pass\n",
        test=f"{ON_KEEPER}::test_a_lease_that_was_taken_away_is_told",
        why="A worker that was reaped runs on beside those that have its jobs now.",
    ),
    Guard(
        name="running-jobs-hear-of-revocations",
        file=KEEPER,
        text=" News(ward),",
        replacement="",
        test=f"{ON_KEEPER}::test_a_job_that_was_revoked_is_told",
        why="A revocation that the broadcast did not reach ends no running job.",
    ),
    Guard(
        name="keepers-promote",
        file=KEEPER,
        text=" Promote(ward),",
        replacement="",
        test=f"{ON_KEEPER}::test_what_is_due_is_promoted",
        why="Jobs for later never start.",
    ),
    Guard(
        name="keepers-reap",
        file=KEEPER,
        text="[Reap(ward), ",
        replacement="[",
        test=f"{ON_KEEPER}::test_a_silent_worker_is_reaped_by_anothers_keeper",
        why="The jobs of a host that is gone are in flight for ever.",
    ),
)
