"""Revoke: each call under a version that is newer than all before, whatever the clock does."""

from penstock.broker.keys import FIELD_SEPARATOR
from tests.broker.bench import Bench

STAMP = f"customer{FIELD_SEPARATOR}7"


def test_revoked_jobs_are_noted_under_one_version(bench: Bench) -> None:
    version = bench.scripts.revoke(["j1", "j2"])
    assert bench.space == {
        bench.keys.revoked: {b"j1": version, b"j2": version},
        bench.keys.revoked_version: b"%d" % version,
    }


def test_revoked_stamps_are_noted_beside_the_jobs(bench: Bench) -> None:
    first = bench.scripts.revoke(["j1"])
    second = bench.scripts.revoke_stamps([STAMP])
    assert bench.space == {
        bench.keys.revoked: {b"j1": first},
        bench.keys.revoked_stamps: {STAMP.encode(): second},
        bench.keys.revoked_version: b"%d" % second,
    }


def test_versions_are_microseconds_of_the_server(bench: Bench) -> None:
    low = bench.now
    version = bench.scripts.revoke(["j1"])
    assert low * 1000 <= version <= (bench.now + 1) * 1000


def test_versions_only_grow(bench: Bench) -> None:
    versions = [bench.scripts.revoke([f"j{i}"]) for i in range(200)]
    assert versions == sorted(set(versions))
    assert bench.space[bench.keys.revoked] == {b"j%d" % i: version for i, version in enumerate(versions)}


def test_versions_grow_after_the_clock_was_set_back(bench: Bench) -> None:
    ahead = bench.now * 1000 + 3_600_000_000
    bench.client.set(bench.keys.revoked_version, ahead)
    assert [bench.scripts.revoke(["j1"]), bench.scripts.revoke_stamps([STAMP])] == [ahead + 1, ahead + 2]
    assert bench.space == {
        bench.keys.revoked: {b"j1": ahead + 1},
        bench.keys.revoked_stamps: {STAMP.encode(): ahead + 2},
        bench.keys.revoked_version: b"%d" % (ahead + 2),
    }


def test_revoking_a_job_again_makes_it_news(bench: Bench) -> None:
    bench.scripts.revoke(["j1"])
    version = bench.scripts.revoke(["j1"])
    assert bench.space == {bench.keys.revoked: {b"j1": version}, bench.keys.revoked_version: b"%d" % version}


def test_many_thousands_are_revoked_in_one_call(bench: Bench) -> None:
    version = bench.scripts.revoke([f"j{i}" for i in range(20_000)])
    assert bench.space == {
        bench.keys.revoked: {b"j%d" % i: version for i in range(20_000)},
        bench.keys.revoked_version: b"%d" % version,
    }


def test_a_flush_of_the_scripts_is_not_noticed(bench: Bench) -> None:
    first = bench.scripts.revoke(["j1"])
    bench.client.script_flush()
    assert bench.scripts.revoke(["j2"]) > first
