"""The short way, which nearly every job takes: Celery's own tracer, and around it as little as there can be.

What Celery's worker makes a request, a pool message and a callback of is here one dictionary before the tracer and one
tuple after it. Whatever is not a success of a plain message goes on by Celery's own request, so that retries, failures
and rejections are what they are elsewhere.
"""

from __future__ import annotations

import time
from json import JSONEncoder
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.task import Context
from celery.worker.request import create_request_cls
from kombu.utils.imports import symbol_by_name

from penstock import tags
from penstock.engine.running.announcing import Announcer
from penstock.engine.running.handing import PLAIN, TELL, Handing
from penstock.engine.running.opening import Job
from penstock.engine.running.quickening import CustomHeaders
from penstock.engine.running.reception import Reception, stopped
from penstock.errors import JobCancelled
from penstock.ledger import collecting
from penstock.ledger.recording.plain import told_of
from penstock.ledger.values import claim_token
from penstock.message import ENQUEUED_AT, SCHEDULE, TAGS, encoder

to_json = encoder(JSONEncoder, allow_nan=False)
SILENT = (states.IGNORED, states.REJECTED)
"""Ends that Celery tells a backend of by a signal only."""


class PlainRunner:
    """Of one child."""

    def __init__(
        self,
        handing: Handing,
        reception: Reception,
        announcer: Announcer,
        hostname: str,
        *,
        by_copy: bool,
    ) -> None:
        """Args:
        by_copy: whether the ledger's database reads rows by COPY.
        """
        self._handing = handing
        self._reception = reception
        self._claims = reception.claims
        self._announcer = announcer
        self._hostname = hostname
        self._by_copy = by_copy
        self._requests: dict[str, Any] = {}
        self._custom_headers = CustomHeaders()

    def run(self, job: Job) -> float:
        """Runs a plain job to its end; how long its body took, in seconds."""
        duties, headers = job.duties, job.headers
        assert duties is not None
        args, kwargs, embed = job.body
        id = headers["id"]
        request = self._request(job, embed)
        limits = headers.get("timelimit")
        soft, hard = duties.soft_limit, duties.hard_limit
        if limits:
            hard, soft = limits[0] or hard, limits[1] or soft
        pool = self._reception.pool
        collection = None
        if duties.on_the_books:
            collection = collecting.Collection(
                id, is_on_the_books=True, keeps_success=True, started=time.time(), request=request
            )
            mark = collecting.open(collection)
        start, started_at = time.monotonic(), time.time()
        place = self._announcer.desk.place
        place.begin(job, start, started_at, soft, hard)
        if soft or hard:
            self._handing.watch_limits()
        error: ExceptionInfo | JobCancelled | None = None
        info = None
        try:
            result, info, runtime, shown = duties.quick_trace(id, args, kwargs, request)
            if info is not None and info.state in SILENT and collection is not None:
                context = Context(request, args=args, kwargs=kwargs)
                duties.task.backend.record_silent_end(context, info.state, info.retval)
        except Exception:
            error = ExceptionInfo()
        except JobCancelled as cancelled:
            error = cancelled
        finally:
            pool.done += 1
            place.ending()
            if collection is not None:
                collecting.close(mark)
                if collection.report is not None:
                    collection.report.end()
        took = time.monotonic() - start
        if error is None and info is None and (collection is None or collection.is_plain_success):
            self._succeed(job, collection, started_at, runtime, shown)
        else:
            told = (1, result, runtime) if error is None and info else (0, shown, runtime) if error is None else None
            self._finish(job, collection, started_at, told, error)
        return took

    def _request(self, job: Job, embed: dict[str, Any]) -> dict[str, Any]:
        """What the tracer makes the task's request of; the same as Celery's own."""
        properties = job.payload["properties"]
        claimed = job.claimed
        told = properties.get("delivery_info") or {}
        held = self._claims.holder(claimed.token)
        return {
            **job.headers,
            "headers": self._custom_headers.of(job.headers),
            "properties": properties,
            "reply_to": properties.get("reply_to"),
            "correlation_id": properties.get("correlation_id"),
            "hostname": self._hostname,
            "delivery_info": {
                "exchange": told.get("exchange"),
                "routing_key": told.get("routing_key"),
                "priority": properties.get("priority"),
                "redelivered": False,
                "deliveries": 0,
                "crashes": claimed.crashes,
                "token": claimed.token,
                "claimer": held,
            },
            "is_eager": False,
            **embed,
        }

    def _succeed(
        self,
        job: Job,
        collection: collecting.Collection | None,
        started_at: float,
        runtime: float,
        shown: str,
    ) -> None:
        held = self._claims.let_go(job.token)
        if held is None:
            return  # The lease was taken away: the job is somebody else's.
        headers, token = job.headers, job.token
        get = headers.get
        properties = job.payload["properties"]
        routing_key = (properties.get("delivery_info") or {}).get("routing_key")
        parent, root = get("parent_id"), get("root_id")
        ended = time.time()
        row, is_accepted = None, False
        if collection is not None:
            args, kwargs, _ = job.body
            values = (
                headers["id"],
                headers["task"],
                routing_key,
                self._hostname,
                claim_token(held[0], token),
                parent,
                root,
                get("group"),
                None,  # A replay is never plain.
                get(SCHEDULE),
                properties.get("priority"),
                tags.to_text(tags.of_header(told)) if (told := get(TAGS)) else None,
                *_arguments(args, kwargs),
                str(collection.success) if collection.success is not None else None,
                get(ENQUEUED_AT),
                started_at,
                ended,
            )
            row, is_accepted = told_of(values, by_copy=self._by_copy)
        self._handing.put(
            (
                PLAIN,
                held[0],
                held[1],
                token,
                headers["id"],
                routing_key,
                row,
                is_accepted,
                job.claimed_at,
                started_at,
                ended,
                runtime,
                parent,
                root,
                get("argsrepr"),
                get("kwargsrepr"),
                shown,
                get("shadow") or headers["task"],
                job.duties is not None and job.duties.sends_events,
            )
        )

    def _finish(
        self,
        job: Job,
        collection: collecting.Collection | None,
        started_at: float,
        told: Any,
        error: ExceptionInfo | JobCancelled | None,
    ) -> None:
        """All that is no plain success, by Celery's own request."""
        is_cancelled = isinstance(error, JobCancelled)
        if collection is not None and not is_cancelled and (words := collection.words()):
            self._handing.put((TELL, tuple(words), (), (), ()))
        self._announcer.desk.token = job.token
        self._announcer.started(job.headers.get("shadow") or job.headers["task"])
        self._announce_start(job, started_at)
        message = self._reception.message(job)
        self._claims.prepare(job.claimed, job.payload)
        request = self._request_class(job)(
            message,
            on_ack=lambda *_: self._reception.acknowledge(job.token),
            on_reject=lambda _log, _errors, requeue: self._reception.reject(job.token, requeue),
            app=self._reception.app,
            hostname=self._hostname,
            eventer=self._announcer,
            task=job.duties.task if job.duties else None,
            body=message.body,
            headers=job.headers,
        )
        request.time_start = started_at
        if is_cancelled:
            stopped(request)
        elif error is not None:
            request.on_failure(error)
        else:
            if not told[0]:
                self._announcer.log_success((request._type, request.id, job.headers), told[1], told[2])
            request.on_success(told)
        self._announcer.flush()

    def _announce_start(self, job: Job, started_at: float) -> None:
        """The keeper makes these events itself for a job that has run for long, or that succeeds."""
        if job.duties is None or not job.duties.sends_events or not self._announcer.enabled:
            return
        received, started = (
            received_event(job.headers, job.claimed_at),
            ("task-started", started_at, {"uuid": job.headers["id"]}),
        )
        token = job.token
        self._handing.put((TELL, (), ((token, *received), (token, *started)), (), ()))

    def _request_class(self, job: Job) -> Any:
        assert job.duties is not None
        name = job.duties.name
        if name not in self._requests:
            task = job.duties.task
            base = symbol_by_name(task.Request)
            reception = self._reception
            self._requests[name] = create_request_cls(
                base, task, reception.pool, self._hostname, self._announcer, app=reception.app
            )
        return self._requests[name]

    def forget(self) -> None:
        """Has the classes of requests made anew: they note whether there are events."""
        self._requests.clear()


def _arguments(args: Any, kwargs: Any) -> tuple[str, str]:
    """As JSON; those that JSON has no form for, which only a stock producer sends, as their text."""
    try:
        return to_json(args) if args else "[]", to_json(kwargs) if kwargs else "{}"
    except ValueError:
        return to_json([repr(args)]), to_json({"unserialisable": repr(kwargs)})


def received_event(headers: dict[str, Any], at: float) -> tuple[str, float, dict[str, Any]]:
    """Celery's `task-received`."""
    get = headers.get
    fields = {
        "uuid": get("id"),
        "name": get("shadow") or get("task"),
        "args": get("argsrepr", ""),
        "kwargs": get("kwargsrepr", ""),
        "root_id": get("root_id"),
        "parent_id": get("parent_id"),
        "retries": get("retries") or 0,
        "eta": get("eta"),
        "expires": get("expires"),
    }
    return "task-received", at, fields
