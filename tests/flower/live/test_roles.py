"""Who may do what: every route of Flower and of ours, every method, every deed, asked for by everybody.

The routes are those of the application itself. One that is not in the tables here fails the tests: somebody has to
decide who may use it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from celery import Celery
from flower.options import default_options
from flower.urls import settings
from tornado.web import create_signed_value

from penstock.flower.page import Page
from penstock.flower.roles import Role
from penstock.flower.site import Site
from tests.flower.live.asking import OWN_FORM, ask, by_password
from tests.flower.live.conftest import NewGround
from tests.flower.live.ground import APP, USERS, Flower, Ground
from tests.live import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SECRET = "a-cookie-secret"
UNKNOWN = "nobody-knows-this"
OPEN_TO_ALL, NOBODY_AT_ALL = 0, 4
"""Beside the numbers of roles."""


@dataclass(frozen=True)
class Rights:
    """Who may use a route.

    Attributes:
        path: an example of it.
        looks: the least role that may GET it; None: it has no GET.
        shown: the status for those who may.
        acts: the least role that may POST to it; None: it has no POST.
        done: the status of that for those who may, for a worker or a task that nobody knows.
    """

    path: str
    looks: int | None = Role.VIEWER
    shown: int = 200
    acts: int | None = None
    done: int = 404


def _action(path: str, acts: int, done: int = 404) -> Rights:
    return Rights(f"{path}/{UNKNOWN}", None, acts=acts, done=done)


FLOWERS = {
    "/": Rights("/"),
    "/workers": Rights("/workers"),
    "/worker/(.+)": Rights(f"/worker/{UNKNOWN}", shown=404),
    "/task/(.+)": Rights(f"/task/{UNKNOWN}", shown=404),
    "/tasks": Rights("/tasks"),
    # Its POST reads, as its GET does: Flower's own page asks by it.
    "/tasks/datatable": Rights(
        "/tasks/datatable?draw=1&start=0&length=10&order[0][column]=0", acts=Role.VIEWER, done=200
    ),
    "/broker": Rights("/broker"),
    "/api/workers": Rights("/api/workers"),
    "/api/worker/shutdown/(.+)": _action("/api/worker/shutdown", Role.ADMIN),
    "/api/worker/pool/restart/(.+)": _action("/api/worker/pool/restart", Role.ADMIN),
    "/api/worker/pool/grow/(.+)": _action("/api/worker/pool/grow", Role.OPERATOR),
    "/api/worker/pool/shrink/(.+)": _action("/api/worker/pool/shrink", Role.OPERATOR),
    "/api/worker/pool/autoscale/(.+)": _action("/api/worker/pool/autoscale", Role.OPERATOR),
    "/api/worker/queue/add-consumer/(.+)": _action("/api/worker/queue/add-consumer", Role.OPERATOR),
    "/api/worker/queue/cancel-consumer/(.+)": _action("/api/worker/queue/cancel-consumer", Role.OPERATOR),
    "/api/tasks": Rights("/api/tasks"),
    "/api/task/types": Rights("/api/task/types"),
    "/api/queues/length": Rights("/api/queues/length"),
    "/api/task/info/(.*)": Rights(f"/api/task/info/{UNKNOWN}", shown=404),
    "/api/task/apply/(.+)": _action("/api/task/apply", NOBODY_AT_ALL),
    "/api/task/async-apply/(.+)": _action("/api/task/async-apply", NOBODY_AT_ALL),
    "/api/task/send-task/(.+)": _action("/api/task/send-task", NOBODY_AT_ALL),
    "/api/task/result/(.+)": Rights(f"/api/task/result/{UNKNOWN}"),
    "/api/task/abort/(.+)": _action("/api/task/abort", Role.OPERATOR, done=200),
    # These two say first that they are not told which worker.
    "/api/task/timeout/(.+)": _action("/api/task/timeout", Role.OPERATOR, done=400),
    "/api/task/rate-limit/(.+)": _action("/api/task/rate-limit", Role.OPERATOR, done=400),
    "/api/task/revoke/(.+)": _action("/api/task/revoke", Role.OPERATOR, done=200),
    # A scraper and a load balancer have no password; they read names and figures, and no arguments.
    "/metrics": Rights("/metrics", OPEN_TO_ALL),
    "/healthcheck": Rights("/healthcheck", OPEN_TO_ALL),
    "/static/(.*)": Rights("/static/favicon.ico", OPEN_TO_ALL),
    r"/(favicon\.ico)": Rights("/favicon.ico", OPEN_TO_ALL),
    r"/(robots\.txt)": Rights("/robots.txt", OPEN_TO_ALL, shown=404),
    "/login/?": Rights("/login", OPEN_TO_ALL, shown=404, acts=Role.ADMIN),
    "/logout": Rights("/logout", OPEN_TO_ALL),
    ".*": Rights("/no-such-page", OPEN_TO_ALL, shown=404, acts=Role.ADMIN),
}
"""Flower's own, by pattern."""
FILES = ("/static/favicon.ico", "/favicon.ico", "/robots.txt")


@dataclass(frozen=True)
class Own:
    """Who may use a page of ours: everybody who has logged in looks at it.

    Attributes:
        path: an example.
        deeds: the least role for each.
        shown: the status of the example.
    """

    path: str
    deeds: dict[str, Role] = field(default_factory=dict)
    shown: int = 200


OPERATORS = Role.OPERATOR
OURS = {
    "history": Own("/history", dict.fromkeys(("retry", "cancel", "discard"), OPERATORS)),
    "audit": Own("/audit", {"look": OPERATORS, **dict.fromkeys(("fail-lost", "rebase"), Role.ADMIN)}),
    "errand": Own(f"/errand/{UNKNOWN}", {"stop": OPERATORS}, shown=404),
    "job": Own(
        "/job/never-seen",
        dict.fromkeys(("retry", "retry-edited", "discard", "cancel", "terminate"), OPERATORS),
        shown=404,
    ),
    "failures": Own(
        "/failures",
        dict.fromkeys(("replay", "discard", "replay-all", "discard-all", "open-breaker", "close-breaker"), OPERATORS),
    ),
    "failure": Own(
        f"/failures/{UNKNOWN}",
        dict.fromkeys(
            ("replay", "discard", "replay-all", "discard-all", "replay-selected", "discard-selected"), OPERATORS
        ),
        shown=404,
    ),
    "queues": Own("/queues", dict.fromkeys(("pause", "resume"), OPERATORS)),
    "queue": Own("/queues/default", dict.fromkeys(("pause", "resume"), OPERATORS)),
    "processes": Own("/processes"),
    "schedules": Own("/schedules"),
    "schedule": Own(
        f"/schedules/{UNKNOWN}", dict.fromkeys(("pause", "resume", "trigger", "backfill"), OPERATORS), shown=404
    ),
    "unfired": Own("/unfired/missed"),
    "worker-processes": Own(
        f"/processes/{UNKNOWN}",
        {**dict.fromkeys(("grow", "shrink", "stop-claiming", "claim-again"), OPERATORS), "shut-down": Role.ADMIN},
        shown=404,
    ),
}
"""Our own, by name."""

PEOPLE: dict[str, tuple[int, dict[str, str]]] = {
    "nobody": (0, {}),
    "a wrong password": (0, by_password("ada", "guessed")),
    **{user: (Role[word.upper()], by_password(user)) for user, word in USERS.items()},
}
"""What each may do, and how each comes in."""


def _rules() -> list[Any]:
    site = Site(options=default_options, capp=Celery("none", broker="memory://", set_as_current=False), **settings)
    return [rule for router in site.default_router.rules for rule in router.target.rules]


RULES = _rules()
FLOWERS_PATTERNS = [
    rule.matcher.regex.pattern.removesuffix("$")
    for rule in RULES
    if not (isinstance(rule.target, type) and issubclass(rule.target, Page)) and rule.name != "penstock-static"
]
PAGES = {rule.name: rule.target for rule in RULES if isinstance(rule.target, type) and issubclass(rule.target, Page)}


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground(FLOWER_INSPECT_TIMEOUT="100") as made:
        yield made


@pytest.fixture(scope="module")
def flower(ground: Ground) -> Iterator[Flower]:
    with ground.flower() as running:
        yield running


def refusal(has_logged_in: bool) -> int:
    """How somebody is refused."""
    return 403 if has_logged_in else 401


def expected(role: int, least: int, status: int) -> int:
    """The status of a request by somebody of a role."""
    return status if role >= least else refusal(role > 0)


def test_every_route_of_flower_has_been_decided_on() -> None:
    assert set(FLOWERS_PATTERNS) == set(FLOWERS)


def test_every_deed_of_ours_has_been_decided_on() -> None:
    declared = {(name, deed): act.role for name, page in PAGES.items() for deed, act in page.deeds.items()}
    decided = {(name, deed): role for name in PAGES for deed, role in OURS[name].deeds.items()}
    assert declared == decided


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("pattern", FLOWERS)
def test_a_route_of_flower_serves_only_who_may(flower: Flower, pattern: str, who: str) -> None:
    role, headers = PEOPLE[who]
    rights = FLOWERS[pattern]
    if rights.looks is not None:
        assert ask(flower.url, rights.path, headers=headers).status == expected(role, rights.looks, rights.shown)
    status = ask(flower.url, rights.path, "POST", headers=headers | OWN_FORM).status
    if rights.path in FILES:
        assert status == 405
    elif rights.acts is None:
        assert status == expected(role, Role.ADMIN, 405)
    else:
        assert status == expected(role, rights.acts, rights.done)


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_ours_serves_only_who_may(flower: Flower, name: str, who: str) -> None:
    role, headers = PEOPLE[who]
    own = OURS[name]
    assert ask(flower.url, own.path, headers=headers).status == expected(role, Role.VIEWER, own.shown)
    for deed, least in own.deeds.items():
        answer = ask(flower.url, own.path, "POST", fields={"deed": deed}, headers=headers | OWN_FORM)
        # Nothing is selected: whoever may is told so.
        assert answer.status in (303, 400) if role >= least else answer.status == refusal(role > 0), deed
    answer = ask(flower.url, own.path, "POST", fields={"deed": UNKNOWN}, headers=headers | OWN_FORM)
    assert answer.status == expected(role, Role.VIEWER, 400)


@pytest.mark.parametrize("who", PEOPLE)
def test_no_other_method_does_anything(flower: Flower, who: str) -> None:
    _, headers = PEOPLE[who]
    paths = [rights.path for rights in FLOWERS.values()] + [own.path for own in OURS.values()]
    got = {
        (path, method): ask(flower.url, path, method, headers=headers | OWN_FORM).status
        for path in paths
        for method in ("PUT", "DELETE", "PATCH", "HEAD", "TRACE")
    }
    allowed = (401, 403, 405, 501)
    assert {asked: status for asked, status in got.items() if status not in allowed and asked[0] not in FILES} == {}


def test_any_task_is_run_by_admins_alone_where_that_is_switched_on(ground: Ground) -> None:
    with ground.flower(FLOWER_RUN_TASKS="true") as flower:
        for route in ("apply", "async-apply"):
            path = f"/api/task/{route}/{UNKNOWN}"
            got = {who: ask(flower.url, path, "POST", headers=headers).status for who, (_, headers) in PEOPLE.items()}
            assert got == {"nobody": 401, "a wrong password": 401, "vera": 403, "otto": 403, "ada": 404}, route


def test_a_read_only_flower_lets_nobody_do_anything(ground: Ground) -> None:
    with ground.flower("--read_only") as flower:
        for rights in FLOWERS.values():
            if rights.acts is not None:
                status = ask(flower.url, rights.path, "POST", headers=by_password("ada") | OWN_FORM).status
                assert status == expected(Role.VIEWER, rights.acts, rights.done)
        for own in (OURS[name] for name in PAGES):
            assert ask(flower.url, own.path, headers=by_password("ada")).status == own.shown
            for deed in own.deeds:
                headers = by_password("ada") | OWN_FORM
                assert ask(flower.url, own.path, "POST", fields={"deed": deed}, headers=headers).status == 403


def powers(flower: Flower, headers: dict[str, str]) -> Role | int:
    """The role that somebody has, as far as actions tell."""
    if ask(flower.url, "/history", headers=headers).status != 200:
        return 0
    if ask(flower.url, f"/api/worker/shutdown/{UNKNOWN}", "POST", headers=headers | OWN_FORM).status == 404:
        return Role.ADMIN
    grown = ask(flower.url, f"/api/worker/pool/grow/{UNKNOWN}", "POST", headers=headers | OWN_FORM).status
    return Role.OPERATOR if grown == 404 else Role.VIEWER


def test_whoever_may_come_in_is_an_operator_where_no_roles_are_given(ground: Ground) -> None:
    with ground.flower(FLOWER_ROLES="") as flower:
        assert {powers(flower, by_password(user)) for user in USERS} == {Role.OPERATOR}


def test_the_owner_of_the_generated_password_is_an_admin(ground: Ground) -> None:
    with ground.flower(FLOWER_ROLES="", FLOWER_BASIC_AUTH="") as flower:
        user, _, password = (ground.folder / "var" / "flower-credentials").read_text().strip().partition(":")
        assert powers(flower, by_password(user, password)) == Role.ADMIN


def test_roles_are_given_by_pattern_and_by_name(ground: Ground) -> None:
    with ground.flower(FLOWER_ROLES="o*=admin,vera=operator") as flower:
        assert {user: powers(flower, by_password(user)) for user in USERS} == {
            "otto": Role.ADMIN, "vera": Role.OPERATOR, "ada": Role.VIEWER,
        }  # fmt: skip


def test_users_of_oauth_have_roles_by_their_addresses(ground: Ground) -> None:
    variables = {
        "FLOWER_BASIC_AUTH": "",
        "FLOWER_AUTH": ".*@example.com",
        "FLOWER_COOKIE_SECRET": SECRET,
        "FLOWER_ROLES": "ada@example.com=admin,o*@example.com=operator,*@example.com=viewer",
    }
    with ground.flower(**variables) as flower:
        assert {
            address: powers(flower, {}) if not address else _powers_by_cookie(flower, address)
            for address in ("", "ada@example.com", "otto@example.com", "vera@example.com", "ada@example.org")
        } == {
            "": 0,
            "ada@example.com": Role.ADMIN,
            "otto@example.com": Role.OPERATOR,
            "vera@example.com": Role.VIEWER,
            "ada@example.org": 0,
        }
        forged = create_signed_value("another-secret", "user", "ada@example.com").decode()
        assert ask(flower.url, "/history", headers={"Cookie": f"user={forged}"}).status == 302
        assert ask(flower.url, f"/api/worker/shutdown/{UNKNOWN}", "POST", headers=OWN_FORM).status == 403


def _powers_by_cookie(flower: Flower, address: str) -> Role | int:
    signed = create_signed_value(SECRET, "user", address).decode()

    def asked(path: str, method: str = "GET") -> int:
        cookie = {"Cookie": f"user={signed}; {OWN_FORM['Cookie']}"}
        return ask(flower.url, path, method, headers=OWN_FORM | cookie).status

    if asked("/history") != 200:
        return 0
    if asked(f"/api/worker/shutdown/{UNKNOWN}", "POST") == 404:
        return Role.ADMIN
    return Role.OPERATOR if asked(f"/api/worker/pool/grow/{UNKNOWN}", "POST") == 404 else Role.VIEWER


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"FLOWER_ROLES": "ada=amdin"}, "FLOWER_ROLES: 'amdin' is no role; known are viewer, operator, admin"),
        ({"FLOWER_RUN_TASKS": "perhaps"}, "FLOWER_RUN_TASKS: 'perhaps' is neither true nor false"),
        ({"FLOWER_BASIC_AUTH": "ada:a,b"}, "FLOWER_BASIC_AUTH: an entry is not user:password"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_at_the_start(
    ground: Ground, variables: dict[str, str], sentence: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", APP, "flower"],
        env=ground.environment | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.count("penstock: ")) == (1, 1), done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
