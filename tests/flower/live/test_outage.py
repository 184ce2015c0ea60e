"""Servers that are away and come back, and a Flower that is started anew."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest
import redis

from penstock.job import State
from tests.conftest import producer
from tests.faults.postgres import OURS, OWNER, Postgres, own_server
from tests.faults.proxy import Proxy
from tests.faults.servers import free_port
from tests.flower.live.asking import OWN_FORM, ask, by_password
from tests.flower.live.ground import Flower, Ground, text_of
from tests.flower.live.tasks import add, fail
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LEDGERS_PASSWORD = "the-ledgers-own"
PAGES = ("/history", "/failures")
"""Two of those that read the ledger; the others ask through the same function."""
JOB_LINK = re.compile(r"Select job ([\w-]+)")
LIVE = ("/workers", "/tasks", "/broker", "/api/tasks", "/api/workers")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of this module's own, which its tests stop and start."""
    with own_server() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(redis_server: str) -> Iterator[Proxy]:
    """The way to Redis."""
    with Proxy(redis.connection.parse_url(redis_server)["port"]) as running:
        yield running


@pytest.fixture(scope="module")
def ground(
    server: Postgres, proxy: Proxy, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        variables = {"FLOWER_INSPECT_TIMEOUT": "100"}
        # This server asks nobody for a password, so any will do.
        url = server.url(OURS).replace(f"{OWNER}@", f"{OWNER}:{LEDGERS_PASSWORD}@")
        yield Ground(tmp_path_factory.mktemp("flower"), proxy.url, url, variables)
        client.flushdb()


@pytest.fixture(scope="module")
def job(ground: Ground) -> str:
    """One that has been retried, so that there is a history and an audit."""
    with ground.worker(), producer(ground.environment):
        id = add.enqueue(1).id
        ground.await_end(id, State.SUCCEEDED)
    return id


def look(flower: Flower, path: str) -> tuple[int, str]:
    """Status and words of a page."""
    answer = ask(flower.url, path, headers=by_password("otto"))
    return answer.status, text_of(answer.text)


def print_of(ground: Ground, job: str) -> str:
    """The fingerprint of the error of a job."""
    row = ground.row_of(job)
    assert row is not None
    assert row.error_fingerprint is not None
    return row.error_fingerprint


def test_without_the_ledger_its_pages_say_so_and_flowers_own_go_on(
    server: Postgres, flower: Flower, ground: Ground, job: str
) -> None:
    server.stop()
    try:
        for path in PAGES:
            status, words = look(flower, path)
            assert status == 503, path
            assert "A server does not answer" in words
            assert "the ledger at" in words
            assert LEDGERS_PASSWORD not in words
        assert {path: look(flower, path)[0] for path in LIVE} == dict.fromkeys(LIVE, 200)
        # What is done meanwhile is done, and the log has what the audit could not be told.
        revoked = ask(flower.url, "/api/task/revoke/in-the-dark", "POST", headers=by_password("otto") | OWN_FORM)
        assert revoked.status == 200
        wait_for(lambda: "otto (Flower) has done 'task revoke'" in flower.log, "the log says who did what")
        assert "in-the-dark" in flower.log
        assert LEDGERS_PASSWORD not in flower.log
    finally:
        server.start()
    for path in PAGES:
        wait_for(lambda path=path: look(flower, path)[0] == 200, f"{path} is back")
    assert job[:8] in look(flower, "/history")[1]


def test_a_deed_without_the_ledger_is_told_to_have_failed(server: Postgres, flower: Flower, job: str) -> None:
    server.stop()
    try:
        fields = {"deed": "retry", "job": job}
        done = ask(flower.url, "/history", "POST", fields=fields, headers=by_password("otto") | OWN_FORM)
        assert done.status == 303
        notice = next(each for each in done.headers.get_all("Set-Cookie", []) if each.startswith("notice="))
        cookie = {"Cookie": notice.partition(";")[0]}
        shown = ask(flower.url, "/errand/none", headers=by_password("otto") | cookie)
        assert "the ledger at" in text_of(shown.text)
    finally:
        server.start()
    wait_for(lambda: look(flower, "/history")[0] == 200, "the page is back")


def test_without_redis_the_pages_of_the_ledger_go_on(proxy: Proxy, ground: Ground, flower: Flower, job: str) -> None:
    port, nowhere = proxy._upstream, free_port()
    proxy.retarget(nowhere)
    try:
        assert job[:8] in look(flower, "/history")[1]
        status, _ = look(flower, "/tasks")
        assert status == 200
        fields = {"deed": "retry", "job": job}
        done = ask(flower.url, "/history", "POST", fields=fields, headers=by_password("otto") | OWN_FORM)
        assert done.status == 303
    finally:
        proxy.retarget(port)
    with ground.worker("-E"), producer(ground.environment):
        id = add.enqueue(2).id
        ground.await_end(id, State.SUCCEEDED)

    # Its events reach Flower again, without a new start.
    def knows_of_a_new_job() -> bool:
        with ground.worker("-E"), producer(ground.environment):
            fresh = add.enqueue(3).id
            ground.await_end(fresh, State.SUCCEEDED)
            return ask(flower.url, f"/api/task/info/{fresh}", headers=by_password("otto")).status == 200

    wait_for(knows_of_a_new_job, "Flower hears events again", 60)


def test_a_flower_that_is_started_anew_has_forgotten_nothing(ground: Ground, job: str) -> None:
    with ground.flower() as before:
        fields = {"deed": "cancel", "job": job}
        ask(before.url, "/history", "POST", fields=fields, headers=by_password("otto") | OWN_FORM)
        ask(before.url, "/api/task/revoke/of-before", "POST", headers=by_password("otto") | OWN_FORM)
        wait_for(lambda: ground.audit_of("of-before"), "the audit has it")
        seen = set(JOB_LINK.findall(ask(before.url, "/history", headers=by_password("otto")).text))
    assert job in seen
    with ground.flower() as after:
        assert set(JOB_LINK.findall(ask(after.url, "/history", headers=by_password("otto")).text)) == seen
    assert [entry.actor for entry in ground.audit_of("of-before")] == ["otto (Flower)"]


def test_an_errand_that_was_cut_says_so_and_what_it_did_is_done(ground: Ground) -> None:
    with ground.worker(), producer(ground.environment):
        failed = [fail.enqueue("all at once").id for _ in range(5)]
        for id in failed:
            ground.await_end(id, State.FAILED)
    with ground.flower() as before:
        fields = {"deed": "replay-all", "rate": "1/m"}
        path = f"/failures/{print_of(ground, failed[0])}"
        begun = ask(before.url, path, "POST", fields=fields, headers=by_password("otto") | OWN_FORM)
        errand = begun.headers["Location"]
        assert errand.startswith("/errand/")
        wait_for(lambda: re.search(r"\b1 of", look(before, errand)[1]), "it has done one of them")
        before.stop(signal.SIGKILL)
    with ground.flower() as after:
        status, words = look(after, errand)
        assert status == 404
        assert "Flower was started anew and it has ended with that; the page Audit says how far it came" in words
    replayed = [id for id in failed if ground.audit_of(id)]
    assert 1 <= len(replayed) < len(failed)
