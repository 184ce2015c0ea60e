"""An application that is pointed at the servers of the tests, wherever its own settings point.

Whatever the module of the application says, a test can reach no queue and no ledger of a deployment.
"""

from __future__ import annotations

import threading
from typing import Any

from celery import Celery
from celery.app.utils import find_app

from penstock import client
from penstock.adoption import AMQP, BACKEND, CONSUMER
from penstock.app import PenstockApp, make_app
from penstock.config import Settings
from penstock.errors import SettingsError

NAME = "penstock_testing"
JSON_ONLY = {
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_default_queue": "default",
    "task_store_errors_even_if_ignored": True,
    "broker_connection_retry_on_startup": True,
}
"""Settings of an app that the kit makes itself, for projects whose tasks need none."""


def application(where: str, settings: Settings) -> Celery:
    """The application of a project, pointed at the servers of ``settings``.

    Args:
        where: ``module`` or ``module:name``, as ``celery -A`` takes it; empty: one is made, which knows every task
            that was declared with ``@task``.

    Raises:
        SettingsError: there is no application, or it is not one of ours.
    """
    if not where:
        app: Celery = make_app(NAME, settings=settings, config=dict(JSON_ONLY))
    else:
        try:
            app = find_app(where)
        except (ImportError, AttributeError) as error:
            raise SettingsError([f"penstock_app: {where!r} cannot be imported ({error})"]) from error
    point(app, settings)
    return app


def point(app: Celery, settings: Settings) -> None:
    """Has an application use these servers and no others.

    Raises:
        SettingsError: it is neither made by ``make_app`` nor adopted.
    """
    if app.conf.worker_consumer != CONSUMER or app.amqp_cls != AMQP:
        raise SettingsError(
            [f"penstock_app: {app.main or app!r} is a plain Celery app; call penstock.adopt(app) where it is made"]
        )
    app.conf.update(
        broker_url=settings.redis_url,
        broker_read_url=settings.redis_url,
        broker_write_url=settings.redis_url,
        broker_transport_options={**(app.conf.broker_transport_options or {}), **settings.broker_options},
        result_backend=f"{BACKEND}+{settings.database_url}",
        result_extended=True,
        # A test of what is enqueued has to see messages; jobs.inline() runs them.
        task_always_eager=False,
    )
    _forget_connections(app)
    if isinstance(app, PenstockApp):
        app.settings = settings
    client.configure(settings)
    app.set_default()
    app.set_current()
    app.loader.import_default_modules()
    app.finalize()


def _forget_connections(app: Any) -> None:
    app.__dict__.pop("amqp", None)
    app._pool = None
    app._backend_cache = None
    app._local = threading.local()
