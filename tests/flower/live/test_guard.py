"""From where Flower is used: nobody from outside without a password, no page elsewhere, and no page around ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from penstock.flower.routes import ROUTES
from penstock.job import State
from tests.conftest import producer
from tests.faults.servers import free_port
from tests.flower.live.asking import OWN_FORM, TOKEN, Answer, ask, by_password
from tests.flower.live.conftest import NewGround
from tests.flower.live.ground import APP, Flower, Ground
from tests.flower.live.tasks import fail
from tests.flower.live.test_roles import OURS
from tests.live import ROOT, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WITHOUT_PASSWORD = """
import flower.command
from penstock.flower.site import Site

flower.command.Flower = Site
"""
ELSEWHERE = {
    "a cross-site form": {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"},
    "a neighbour's page": {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
    "an old browser": {"Origin": "https://elsewhere.example"},
    "a page without an origin": {"Origin": "null"},
    "an origin that is none": {"Origin": "http://[elsewhere"},
}


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground(FLOWER_INSPECT_TIMEOUT="100") as made:
        yield made


@pytest.fixture(scope="module")
def flower(ground: Ground) -> Iterator[Flower]:
    with ground.flower() as running:
        yield running


@pytest.fixture
def without_password(ground: Ground, tmp_path: Path) -> Path:
    """A configuration of our application that asks nobody who they are."""
    file = tmp_path / "open.py"
    file.write_text(WITHOUT_PASSWORD)
    return file


def unlocked(ground: Ground) -> dict[str, str]:
    """A deployment's variables, without users and roles."""
    return {name: value for name, value in ground.environment.items() if not name.startswith("FLOWER_")}


def failed_start(environment: dict[str, str], *options: str) -> str:
    """What a Flower says that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", APP, "flower", *options],
        env=environment | {"FLOWER_PORT": str(free_port())},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "elsewhere.example"])  # noqa: S104
def test_nobody_outside_is_served_without_a_password(ground: Ground, without_password: Path, address: str) -> None:
    told = failed_start(unlocked(ground) | {"FLOWER_ADDRESS": address}, f"--conf={without_password}")
    assert f"would serve everybody on {address} without authentication; set FLOWER_BASIC_AUTH" in told


def test_a_password_that_is_empty_is_none(ground: Ground, without_password: Path) -> None:
    told = failed_start(unlocked(ground), f"--conf={without_password}", "--basic_auth=")
    assert "an entry of FLOWER_BASIC_AUTH or --basic_auth is not user:password" in told


def test_without_a_password_it_is_on_loopback_and_asked_by_its_name_there(
    ground: Ground, without_password: Path
) -> None:
    flower = Flower(unlocked(ground), ground.folder / "open.log", f"--conf={without_password}")
    try:
        connections = psutil.Process(flower.process.pid).net_connections()
        assert {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        assert ask(flower.url, "/history").status == 200
        for path in ("/history", "/workers", "/metrics", "/login"):
            # A name that somebody has resolve to loopback, so that this browser takes Flower for a page of theirs.
            for host in ("rebound.example", "rebound.example:5555", "[::1", "127.0.0.1.rebound.example"):
                assert ask(flower.url, path, headers={"Host": host}).status == 403, (path, host)
        for host in ("localhost:5555", "[::1]:5555", "127.0.0.2"):
            assert ask(flower.url, "/history", headers={"Host": host}).status == 200, host
    finally:
        flower.stop()


def test_without_a_password_a_page_elsewhere_does_nothing(ground: Ground, without_password: Path) -> None:
    open_api = {"FLOWER_UNAUTHENTICATED_API": "true"}
    flower = Flower(unlocked(ground) | open_api, ground.folder / "open-api.log", f"--conf={without_password}")
    try:
        path = "/api/worker/shutdown/somebody"
        assert ask(flower.url, path, "POST").status == 404
        for headers in ELSEWHERE.values():
            assert ask(flower.url, path, "POST", headers=headers).status == 403
    finally:
        flower.stop()


def test_a_socket_file_is_served_without_a_password_under_the_same_rules(
    ground: Ground, without_password: Path, tmp_path: Path
) -> None:
    file = tmp_path / "flower.socket"
    log = tmp_path / "flower.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", APP, "flower", f"--conf={without_password}"],
            env=unlocked(ground) | {"FLOWER_UNIX_SOCKET": str(file), "FLOWER_ADDRESS": "0.0.0.0"},  # noqa: S104
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: file.exists() or process.poll() is not None, "Flower listens at its file", 30)
        assert process.poll() is None, log.read_text()
        assert ask("http://localhost", "/history", unix_socket=str(file)).status == 200
        assert ask("http://rebound.example", "/history", unix_socket=str(file)).status == 403
        assert not [each for each in psutil.Process(process.pid).net_connections("inet") if each.status == "LISTEN"]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def failed_job(ground: Ground) -> str:
    """A job that could be retried."""
    with ground.worker(), producer(ground.environment):
        id = fail.enqueue("once").id
        ground.await_end(id, State.FAILED)
    return id


FORGERIES: dict[str, dict[str, str]] = {
    "no token": {},
    "a token without its cookie": {"X-XSRFToken": TOKEN},
    "a cookie without its token": {"Cookie": f"_xsrf={TOKEN}"},
    "another token": {"Cookie": f"_xsrf={TOKEN}", "X-XSRFToken": "a-guess"},
    **{where: headers | OWN_FORM for where, headers in ELSEWHERE.items()},
}
EVERY_DEED = [(name, deed) for name, own in OURS.items() if name in {name for *_, name in ROUTES} for deed in own.deeds]


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_deed_that_no_form_of_ours_has_sent_is_refused(flower: Flower, forgery: str) -> None:
    for name, deed in EVERY_DEED:
        headers = by_password("ada") | FORGERIES[forgery]
        answer = ask(flower.url, OURS[name].path, "POST", fields={"deed": deed}, headers=headers)
        assert answer.status == 403, (name, deed)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_deed_does_nothing(ground: Ground, flower: Flower, failed_job: str, forgery: str) -> None:
    fields = {"deed": "retry", "job": failed_job}
    answer = ask(flower.url, "/history", "POST", fields=fields, headers=by_password("ada") | FORGERIES[forgery])
    assert answer.status == 403
    assert ground.audit_of(failed_job) == []


def test_the_same_deed_with_the_token_of_its_form_is_done(ground: Ground, flower: Flower, failed_job: str) -> None:
    fields = {"deed": "retry", "job": failed_job}
    assert ask(flower.url, "/history", "POST", fields=fields, headers=by_password("ada") | OWN_FORM).status == 303
    assert [entry.action for entry in ground.audit_of(failed_job)] == ["retry"]


@pytest.mark.parametrize("where", ELSEWHERE)
def test_no_action_of_flowers_own_is_sent_from_elsewhere(flower: Flower, where: str) -> None:
    for path in ("/api/worker/shutdown/somebody", "/api/worker/pool/grow/somebody", "/api/task/revoke/somebody"):
        assert ask(flower.url, path, "POST", headers=by_password("ada") | ELSEWHERE[where] | OWN_FORM).status == 403


def test_a_proxy_that_changes_the_name_of_the_host_leaves_actions_as_they_are(flower: Flower) -> None:
    headers = {"Origin": "https://flower.example", "Sec-Fetch-Site": "same-origin"}
    path = "/api/worker/pool/grow/somebody"
    assert ask(flower.url, path, "POST", headers=by_password("ada") | headers | OWN_FORM).status == 404


def directives(answer: Answer) -> dict[str, str]:
    """The content policy of a page."""
    policy = answer.headers["Content-Security-Policy"]
    return dict(each.strip().partition(" ")[::2] for each in policy.split(";"))


@pytest.mark.parametrize("name", [name for *_, name in ROUTES if name in OURS])
def test_no_page_of_ours_is_framed_kept_or_runs_what_is_written_into_it(flower: Flower, name: str) -> None:
    answer = ask(flower.url, OURS[name].path, headers=by_password("vera"))
    policy = directives(answer)
    assert policy["default-src"] == "'self'"
    assert (policy["frame-ancestors"], policy["object-src"], policy["base-uri"]) == ("'none'", "'none'", "'none'")
    assert policy["form-action"] == "'self'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/workers", "/tasks", "/broker", "/task/unknown", "/nothing-here", "/api/tasks"])
def test_no_page_of_flowers_own_is_framed_or_runs_what_is_written_into_it(flower: Flower, path: str) -> None:
    answer = ask(flower.url, path, headers=by_password("vera"))
    policy = directives(answer)
    assert policy["script-src"].startswith("'self' 'sha256-")
    assert "unsafe" not in policy["script-src"]
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_cookies_are_kept_from_scripts_and_from_pages_elsewhere(flower: Flower) -> None:
    fields = {"deed": "retry"}
    done = ask(flower.url, "/history", "POST", fields=fields, headers=by_password("otto") | OWN_FORM)
    (notice,) = (cookie for cookie in done.headers.get_all("Set-Cookie", []) if cookie.startswith("notice="))
    assert "HttpOnly" in notice
    assert "SameSite=Lax" in notice
    shown = ask(flower.url, "/history", headers=by_password("otto"))
    # Flower's own scripts read this one: it is the token that they send.
    (token,) = (cookie for cookie in shown.headers.get_all("Set-Cookie", []) if cookie.startswith("_xsrf="))
    assert "SameSite=Lax" in token
