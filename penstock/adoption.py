"""Switching Penstock on in an existing Celery app."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from penstock.errors import DeclarationError
from penstock.task import on_declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery

    from penstock.scheduler.schedule import Schedule
    from penstock.task import Task

POOL = "penstock.engine.pool:Pool"
CONSUMER = "penstock.engine.consumer:consumer"
AUTOSCALER = "penstock.engine.autoscale:Autoscaler"
CONTROL = "penstock.engine.revoking:Control"
AMQP = "penstock.engine.amqp:AMQP"
BACKEND = "penstock.ledger.backend:LedgerBackend"
SCHEDULER = "penstock.scheduler.beat:Scheduler"
TWIN = "penstock.app:TaskTwin"
LOST_CHILD_SECONDS = 0.5
PATIENCE = 5.0
"""Seconds that Redis has to tell whether it keeps jobs; Celery then goes on to wait for it."""
logger = logging.getLogger("penstock")


def adopt(
    app: Celery, *, engine: bool = True, ledger: str | None = None, schedules: Sequence[Schedule] | None = None
) -> Celery:
    """Makes an existing Celery app claim its jobs instead of popping them; call it once, where the app is made.

    Tasks, queues, messages and the command line stay as they are, and stock producers and workers may go on beside
    it. Jobs are settled after they ran unless a task asks for ``acks_late=False``. To go back, end the workers, run
    ``celery -A … release --all`` and take the call out.

    A worker of the app ends with one sentence when its Redis may drop jobs (an eviction policy, a cluster, a replica,
    a version that is too old).

    Args:
        engine: whether workers run jobs in children that claim for themselves, many times as fast. False: Celery's own
            pool does, as it does with each ``worker -P`` but ``prefork``.
        ledger: address of a database for every outcome, as SQLAlchemy has it; ``celery -A … ledger upgrade`` makes its
            tables. None: the app's result backend stays. With it, ``celery beat`` keeps schedules there as well, those
            of ``beat_schedule`` among them; any number of beats may run.
        schedules: further schedules, made by :func:`penstock.scheduler.schedule`; they need the ledger.

    Returns:
        The same app.
    """
    from celery import signals

    from penstock.broker import transport
    from penstock.engine import deciding, following

    transport.install()
    following.install()
    deciding.install()
    signals.celeryd_init.connect(_refuse_unsafe_broker, dispatch_uid="penstock-adopt")
    if engine:
        app.conf.worker_pool = POOL
        app.conf.worker_autoscaler = AUTOSCALER
    if ledger is not None:
        app.conf.result_backend = f"{BACKEND}+{ledger}"
        app.conf.result_extended = True
        app.conf.beat_scheduler = SCHEDULER
        app.schedules = tuple(schedules or ())
    elif schedules:
        raise DeclarationError("schedules are rows of the ledger; give its address as well: adopt(app, ledger=…)")
    app.conf.worker_consumer = CONSUMER
    app.conf.task_acks_late = True
    app.conf.worker_cancel_long_running_tasks_on_connection_loss = False
    # A Redis that refuses for a while (full, read-only, without its replicas) must not end the worker.
    app.conf.broker_channel_error_retry = True
    app.conf.worker_lost_wait = LOST_CHILD_SECONDS
    app.control_cls = CONTROL
    app.amqp_cls = AMQP
    _know_declared(app)
    return app


def _know_declared(app: Celery) -> None:
    """Has the app run what ``@penstock.task`` declares, unless it has a task of that name."""
    from kombu.utils.imports import symbol_by_name

    def add_twin(declared: Task[..., Any]) -> None:
        if app.finalized and declared.name not in app.tasks:
            app.register_task(symbol_by_name(TWIN)(declared))

    def add_twins(**_: Any) -> None:
        on_declared(add_twin)

    # Made when Celery finalizes the app: making a twin reads the configuration, and importing must stay cheap.
    app.on_after_finalize.connect(add_twins, weak=False)


def _refuse_unsafe_broker(instance: Any = None, **_: Any) -> None:
    """Before a worker starts. An app made by ``make_app`` has been checked as a whole, and is asked once more."""
    from kombu.transport import resolve_transport

    from penstock.broker.transport import Transport
    from penstock.checks.broker import look_at
    from penstock.errors import BrokerUnavailable

    conf = instance.app.conf
    url = conf.broker_read_url or conf.broker_url
    if not issubclass(resolve_transport(instance.app.connection_for_read().transport_cls), Transport):
        return
    try:
        findings = look_at(url, conf.broker_transport_options or {}, PATIENCE)
    except BrokerUnavailable as error:
        logger.warning("%s", error)
        return
    for finding in findings:
        if finding.warning:
            logger.warning("%s: %s", finding.name, finding.text)
    if wrong := [finding.text for finding in findings if not finding.passed]:
        raise SystemExit(f"penstock: {'; '.join(wrong)}")
