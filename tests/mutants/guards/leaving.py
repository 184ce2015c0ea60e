"""Guards of the ways in and out: adopting what stock workers hold, and releasing everything to them."""

from tests.mutants.guard import Guard

UNACKED, RELEASE = "penstock/broker/unacked.py", "penstock/broker/release.py"
ON_UNACKED, ON_RELEASE = "tests/broker/test_unacked.py", "tests/broker/test_release.py"

GUARDS = (
    Guard(
        name="adopt-only-the-abandoned",
        file=UNACKED,
        text='    return float("inf") if at_once else seconds - ',
        replacement='    return float("inf") if True else seconds - ',
        test=f"{ON_UNACKED}::test_what_a_stock_worker_holds_stays_its_own_before_its_time_is_up[valkey]",
        why="What stock workers run is put back and runs a second time beside itself.",
    ),
    Guard(
        name="adopt-what-the-index-lost",
        file=UNACKED,
        text="    if everything:\n        for tag, _",
        replacement="    if False:\n        for tag, _",
        test=f"{ON_UNACKED}::test_at_once_also_brings_what_the_index_has_lost[valkey]",
        why="A message whose worker died between two steps of kombu's stays where nobody looks.",
    ),
    Guard(
        name="adopt-to-its-priority",
        file=UNACKED,
        text='step_of(int(properties.get("priority") or 0))',
        replacement="0",
        test=f"{ON_UNACKED}::test_a_message_returns_to_its_priority[valkey]",
        why="Adopted jobs overtake all that are more urgent.",
    ),
    Guard(
        name="release-in-flight",
        file=RELEASE,
        text="    scripts.retire(worker, counted=False, crash_limit=1)\n",
        replacement="",
        test=f"{ON_RELEASE}::test_what_is_in_flight_goes_to_the_front_and_what_is_parked_to_the_end[valkey]",
        why="After a rollback the jobs that were in flight are where no stock worker looks.",
    ),
    Guard(
        name="release-counts-no-crash",
        file=RELEASE,
        text="    scripts.retire(worker, counted=False, crash_limit=1)\n",
        replacement="    scripts.retire(worker, counted=True, crash_limit=1)\n",
        test=f"{ON_RELEASE}::test_what_is_in_flight_goes_to_the_front_and_what_is_parked_to_the_end[valkey]",
        why="A rollback buries every job that was in flight.",
    ),
    Guard(
        name="release-the-parked",
        file=RELEASE,
        text="    released.parked = _unpark(scripts, names)\n",
        replacement="",
        test=f"{ON_RELEASE}::test_what_is_in_flight_goes_to_the_front_and_what_is_parked_to_the_end[valkey]",
        why="After a rollback jobs for later never start.",
    ),
    Guard(
        name="live-workers-are-seen",
        file=RELEASE,
        text="if worker not in silent or at != first[worker])",
        replacement="if worker not in silent)",
        test=f"{ON_RELEASE}::test_a_worker_that_renews_after_an_outage_is_alive[valkey]",
        why="Everything is released under a worker that lives, and its jobs run twice.",
    ),
)
