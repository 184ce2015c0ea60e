"""What Flower's own routes do is in the audit: who, what, to whom, with which arguments, and no secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select

from penstock.ledger.session import reading
from penstock.ledger.tables import audit
from tests.flower.live.asking import OWN_FORM, Answer, ask, by_password
from tests.flower.live.conftest import NewGround
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.secret_tasks import SECRET
from tests.live import Worker, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
APP = "tests.flower.live.secret_app"
LOG_IN = "tests.flower.live.secret_tasks.log_in"


@dataclass(frozen=True)
class Noted:
    """A row of the audit."""

    actor: str
    action: str
    job_id: str | None
    details: Mapping[str, Any]


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground(FLOWER_RUN_TASKS="true") as made:
        made.app = APP
        yield made


@pytest.fixture(scope="module")
def worker(ground: Ground) -> Iterator[Worker]:
    with ground.worker("-n", "audited@here") as running:
        yield running


@pytest.fixture(scope="module")
def flower(ground: Ground, worker: Worker) -> Iterator[Flower]:
    with ground.flower() as running:
        wait_for(lambda: "audited@here" in ask(running.url, "/api/workers", headers=by_password("vera")).text, "known")
        yield running


def act(flower: Flower, path: str, who: str = "otto", body: str = "") -> Answer:
    """Does it."""
    return ask(flower.url, path, "POST", body=body, headers=by_password(who) | OWN_FORM)


def noted(ground: Ground, action: str) -> Noted:
    """The last row of an action, once it is there."""

    def look() -> Noted | None:
        columns = (audit.c.actor, audit.c.action, audit.c.job_id, audit.c.details)
        with reading(ground.database_url) as connection:
            row = connection.execute(
                select(*columns).where(audit.c.action == action).order_by(audit.c.id.desc())
            ).first()
        return Noted(*row) if row else None

    return wait_for(look, f"{action} is in the audit")


@pytest.mark.parametrize(
    ("path", "action", "arguments"),
    [
        ("/api/worker/pool/grow/audited@here?n=1", "worker pool grow", {"n": ["1"]}),
        ("/api/worker/pool/shrink/audited@here?n=1", "worker pool shrink", {"n": ["1"]}),
        ("/api/worker/queue/add-consumer/audited@here?queue=low", "worker queue add-consumer", {"queue": ["low"]}),
        (
            "/api/worker/queue/cancel-consumer/audited@here?queue=low",
            "worker queue cancel-consumer",
            {"queue": ["low"]},
        ),
    ],
)
def test_an_action_on_a_worker_is_noted(
    ground: Ground, flower: Flower, path: str, action: str, arguments: dict[str, list[str]]
) -> None:
    assert act(flower, path).status == 200
    assert noted(ground, action) == Noted("otto (Flower)", action, None, {"of": "audited@here", "arguments": arguments})


def test_an_action_on_a_task_is_noted(ground: Ground, flower: Flower) -> None:
    assert act(flower, f"/api/task/rate-limit/{LOG_IN}?workername=audited@here&ratelimit=10/m").status == 200
    row = noted(ground, "task rate-limit")
    assert row.details == {"of": LOG_IN, "arguments": {"workername": ["audited@here"], "ratelimit": ["10/m"]}}


def test_a_revoked_job_has_it_in_its_own_audit(ground: Ground, flower: Flower) -> None:
    assert act(flower, "/api/task/revoke/job-of-audit?terminate=true").status == 200
    row = noted(ground, "task revoke")
    assert (row.job_id, row.details["arguments"]) == ("job-of-audit", {"terminate": ["true"]})


def test_a_task_that_an_admin_starts_is_noted_without_its_secrets(ground: Ground, flower: Flower) -> None:
    body = f'{{"args": ["{SECRET}"], "kwargs": {{"settings": {{"api_key": "{SECRET}", "user": "vera"}}}}}}'
    assert act(flower, f"/api/task/send-task/{LOG_IN}", "ada", body).status == 200
    row = noted(ground, "task send-task")
    assert (row.actor, row.details["of"]) == ("ada (Flower)", LOG_IN)
    assert row.details["arguments"] == {"args": ["***"], "kwargs": {"settings": {"api_key": "***", "user": "vera"}}}


def test_what_no_text_can_hold_keeps_nothing_out_of_the_audit(ground: Ground, flower: Flower) -> None:
    odd = "odd%0d%0ajob" + quote("\u202e<script>")
    assert act(flower, f"/api/task/revoke/{odd}?terminate=false&other=%ff%fe%00").status == 200
    wait_for(lambda: "odd" in str(noted(ground, "task revoke").details["of"]), "it is in the audit")
    row = noted(ground, "task revoke")
    assert "\x00" not in str(row.details)
    assert row.details["arguments"]["terminate"] == ["false"]


def test_what_is_refused_is_not_noted_as_done(ground: Ground, flower: Flower) -> None:
    assert act(flower, "/api/worker/pool/restart/audited@here").status == 403
    assert act(flower, "/api/worker/pool/autoscale/audited@here?min=1&max=2", "vera").status == 403
    assert act(flower, "/api/worker/pool/grow/nobody@here?n=1").status == 404
    assert act(flower, "/api/task/revoke/afterwards").status == 200
    wait_for(lambda: noted(ground, "task revoke").job_id == "afterwards", "what came after is in the audit")
    with reading(ground.database_url) as connection:
        rows = connection.execute(select(audit.c.action, audit.c.details)).all()
    assert {action for action, _ in rows}.isdisjoint({"worker pool restart", "worker pool autoscale"})
    assert "nobody@here" not in str(rows)


def test_a_worker_that_is_shut_down_is_noted(ground: Ground, flower: Flower, worker: Worker) -> None:
    assert act(flower, "/api/worker/shutdown/audited@here", "ada").status == 200
    assert noted(ground, "worker shutdown").actor == "ada (Flower)"
    assert worker.process is not None
    wait_for(lambda: worker.process and worker.process.poll() is not None, "the worker has ended", 30)
