"""Guards of breakers: what is not started, what is tried, and that nothing of it is lost or started twice."""

from tests.mutants.guard import Guard

LUA = "penstock/broker/lua"
ON_SCRIPTS = "tests/broker/test_breakers.py"
DUTY, ON_ENGINE = "penstock/engine/keeping/breakers.py", "tests/engine/test_breakers.py"
CHILD = "penstock/engine/child.py"

GUARDS = (
    Guard(
        name="breaker-asks-about-each-job",
        file=f"{LUA}/settle.lua",
        text="  if not state then return ADMITTED end\n",
        replacement="  if true then return ADMITTED end\n",
        test=f"{ON_SCRIPTS}::test_an_open_breaker_puts_a_job_aside_and_says_why[valkey]",
        why="A service that is down gets every job all the same.",
    ),
    Guard(
        name="breaker-claims-go-on-when-admitted",
        file=f"{LUA}/settle.lua",
        text="      if answer ~= ADMITTED then redis.call('HDEL', inflight, token) end\n",
        replacement="      redis.call('HDEL', inflight, token)\n",
        test=f"{ON_SCRIPTS}::test_a_closed_breaker_lets_jobs_start[valkey]",
        why="The job runs without a claim, and is lost if its process dies.",
    ),
    Guard(
        name="breaker-probes-are-bounded",
        file=f"{LUA}/settle.lua",
        text="      redis.call('HINCRBY', breaker, 'left', -1)\n",
        replacement="",
        test=f"{ON_SCRIPTS}::test_a_half_open_breaker_lets_as_many_start_as_it_has_probes[valkey]",
        why="All jobs that wait are tried at once on a service that may be down.",
    ),
    Guard(
        name="breaker-probe-asks-again",
        file=f"{LUA}/settle.lua",
        text="    if redis.call('HEXISTS', breaker, probe) == 1 then return ADMITTED end\n",
        replacement="",
        test=f"{ON_SCRIPTS}::test_a_probe_that_asks_again_is_the_same_probe[valkey]",
        why="A probe whose answer was lost is put aside, and nobody answers for it.",
    ),
    Guard(
        name="breaker-judged-by-probes-alone",
        file=f"{LUA}/trip.lua",
        text="    if redis.call('HDEL', key, 'probe:' .. ARGV[i]) == 1 then\n",
        replacement="    if true then\n",
        test=f"{ON_SCRIPTS}::test_what_began_before_it_opened_says_nothing_of_now[valkey-0]",
        why="A job that began an hour ago closes the breaker of a service that is down.",
    ),
    Guard(
        name="breaker-window-slides",
        file=f"{LUA}/trip.lua",
        text="  if at > newest - SLICES and at <= newest then\n",
        replacement="  if true then\n",
        test=f"{ON_SCRIPTS}::test_failures_that_are_older_than_the_window_count_no_more[valkey]",
        why="Single failures of a whole day open a breaker.",
    ),
    Guard(
        name="breaker-waits-for-its-pause",
        file=f"{LUA}/probe.lua",
        text="if not state or next == 0 or now < next then return '0' end\n",
        replacement="if not state then return '0' end\n",
        test=f"{ON_SCRIPTS}::test_before_the_pause_is_over_nothing_is_tried[valkey]",
        why="Jobs are tried twice a second, and a breaker that a person has opened closes by itself.",
    ),
    Guard(
        name="breaker-makes-up-for-lost-probes-only",
        file=f"{LUA}/probe.lua",
        text="local wanted = tonumber(kept[4]) - succeeded - left\n",
        replacement="local wanted = tonumber(kept[4])\n",
        test=f"{ON_SCRIPTS}::test_a_probe_that_has_not_started_is_not_made_up_for[valkey]",
        why="While a queue is paused, each round puts one more job in front of it, and all of them are tried at once.",
    ),
    Guard(
        name="breaker-oldest-probe-first",
        file=f"{LUA}/broken.lua",
        text="  if push == 'RPUSH' then first, last, by = #taken, 1, -1 end\n",
        replacement="",
        test=f"{ON_SCRIPTS}::test_several_probes_keep_their_order[valkey]",
        why="Jobs overtake those before them.",
    ),
    Guard(
        name="breaker-forgets-who-is-back",
        file=f"{LUA}/broken.lua",
        text="    if job ~= '' then redis.call('HDEL', ours .. 'blocked', job) end\n",
        replacement="",
        test=f"{ON_SCRIPTS}::test_what_was_aside_returns_to_the_end_of_its_queue_in_slices_and_in_order[valkey]",
        why="Jobs that have run are shown as blocked, and Redis keeps their ids for ever.",
    ),
    Guard(
        name="breaker-aside-is-purged",
        file="penstock/broker/queues.py",
        text="            for raws in _discard_broken(scripts, broken):\n",
        replacement="            for raws in ():\n",
        test=f"{ON_SCRIPTS}::test_a_purge_takes_what_is_aside[valkey]",
        why="A queue that somebody has emptied fills up again when the breaker closes.",
    ),
    Guard(
        name="breaker-aside-is-released",
        file="penstock/broker/release.py",
        text="        while left > 0 and (moved := scripts.unbreak(broken.list_key)[0]):\n",
        replacement="        while False:\n",
        test=f"{ON_SCRIPTS}::test_a_release_brings_back_what_is_aside_and_forgets_the_breakers[valkey]",
        why="Whoever goes back to stock Celery leaves jobs behind that nobody finds.",
    ),
    Guard(
        name="breaker-counts-deaths",
        file=DUTY,
        text="        if outcome.reason == Reason.CRASHED or",
        replacement="        if",
        test=f"{ON_ENGINE}::test_the_death_of_a_process_counts_as_a_failure",
        why="A task that kills its process each time is started again and again.",
    ),
    Guard(
        name="breaker-counts-what-it-is-told-to",
        file="penstock/engine/attempts.py",
        text="isinstance(cause, breaker.on), f",
        replacement="True, f",
        test=f"{ON_ENGINE}::test_an_error_that_says_nothing_of_the_service_does_not_count",
        why="Mistakes of a caller stop the jobs of all others.",
    ),
    Guard(
        name="breaker-told-by-the-next-keeper",
        file=DUTY,
        text="        self._broken: list[str] | None = None\n",
        replacement="        self._broken: list[str] | None = []\n",
        test="tests/engine/test_breaker_news.py::test_a_keeper_tells_what_it_finds_though_it_is_nothing",
        why="Children of a keeper that died before a breaker closed ask Redis about each job for ever.",
    ),
)
