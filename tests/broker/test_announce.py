"""Announce: who waits for a job hears of its end, and nothing stays behind."""

from tests.broker.bench import Bench


def test_each_waiter_hears_of_its_own_job(bench: Bench) -> None:
    with bench.client.pubsub(ignore_subscribe_messages=True) as ears:
        ears.subscribe(bench.keys.ended("j1"))
        ears.get_message(timeout=5)  # The answer to the subscription.
        assert bench.scripts.announce([("j1", "succeeded"), ("j2", "failed")]) == 1
        heard = ears.get_message(timeout=5)
    assert heard is not None
    assert (heard["channel"], heard["data"]) == (bench.keys.ended("j1").encode(), b"succeeded")


def test_an_announcement_leaves_nothing_behind(bench: Bench) -> None:
    assert bench.scripts.announce([("j1", "succeeded")]) == 0
    assert bench.space == {}


def calls(bench: Bench) -> int:
    """How often a script was run."""
    return int(bench.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_many_jobs_are_one_call_and_none_are_no_call(bench: Bench) -> None:
    bench.scripts.announce([("j", "succeeded")])
    before = calls(bench)
    bench.scripts.announce([])
    assert calls(bench) == before
    bench.scripts.announce([(f"j{number}", "succeeded") for number in range(5000)])
    assert calls(bench) == before + 1
