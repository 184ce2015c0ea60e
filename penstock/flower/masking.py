"""Secrets do not get into what Flower's live pages and API know: events, reports of workers, results."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.operations.jobs.arguments import names_of
from penstock.redaction import Redaction
from penstock.wording import printable

WORDED = ("result", "exception", "traceback")
"""Fields of events that hold a task's own words."""
REQUESTS = ("active", "reserved", "scheduled")
"""Reports of workers that list jobs with their arguments."""
UNREADABLE = (ValueError, SyntaxError, MemoryError, RecursionError, TypeError)


class Masking:
    """For one deployment.

    Args:
        app: its tasks' parameters have names, which tell that an argument by position is a secret.
        redaction: what a secret is.
    """

    def __init__(self, app: Any, redaction: Redaction) -> None:
        self._app = app
        self._redaction = redaction
        self._names: dict[str, list[str]] = {}

    def event(self, event: dict[str, Any]) -> None:
        """Takes the secrets out of an event, and what no page could be written with."""
        for field, value in event.items():
            if isinstance(value, str):
                event[field] = printable(value)
        self._mask_arguments(event, event.get("name"))
        for field in WORDED:
            if isinstance(event.get(field), str):
                event[field] = self._redaction.text(event[field])

    def report(self, method: str, response: Any) -> Any:
        """What a worker has told of itself, without secrets.

        Args:
            method: of Celery's inspection.
        """
        if method == "conf":
            return self._redaction.value(None, response)
        if method in REQUESTS and isinstance(response, list):
            return [self._request(each) for each in response]
        return response

    def value(self, value: Any) -> Any:
        """A copy without secrets."""
        return self._redaction.value(None, value)

    def text(self, text: str) -> str:
        """A traceback or a message without secrets."""
        return self._redaction.text(text)

    def call(self, task: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a request that starts a task, without secrets."""
        masked = dict(self._redaction.value(None, {key: body[key] for key in body if key not in ("args", "kwargs")}))
        args, kwargs = self._redaction.call(body.get("args", []), body.get("kwargs", {}), self._parameters(task))
        return {**masked, "args": args, "kwargs": kwargs}

    def _request(self, told: Any) -> Any:
        if not isinstance(told, dict):
            return told
        if isinstance(told.get("request"), dict):
            return {**told, "request": self._request(told["request"])}
        return self._mask_arguments(dict(told), told.get("name") or told.get("type"))

    def _mask_arguments(self, told: dict[str, Any], task: Any) -> dict[str, Any]:
        names = self._parameters(task)
        if "args" in told:
            told["args"] = self._args(told["args"], names)
        if "kwargs" in told:
            kwargs = told["kwargs"]
            told["kwargs"] = self.text(kwargs) if isinstance(kwargs, str) else self.value(kwargs)
        return told

    def _args(self, args: Any, names: Sequence[str]) -> Any:
        if not isinstance(args, str):
            return self._redaction.call(args, {}, names)[0]
        secret = next((name for name in names if self._redaction.is_secret(name)), None)
        if secret is None:
            return self.text(args)
        try:
            shown, _ = self._redaction.call(ast.literal_eval(args), {}, names)
        except UNREADABLE:
            return self._redaction.value(secret, args)  # Nobody can tell which of them is the secret one.
        return repr(tuple(shown)) if isinstance(shown, list) else str(shown)

    def _parameters(self, task: Any) -> list[str]:
        name = str(task)
        if name not in self._names:
            if name not in self._app.tasks:
                return []  # Not kept: whoever sends events may name as many as they like.
            self._names[name] = names_of(self._app, name)
        return self._names[name]


class MaskedResult:
    """Handlers of Flower's API that answer with a job's result."""

    application: Any

    def update_response_result(self, response: dict[str, Any], result: Any) -> None:
        """Puts the result into an answer."""
        super().update_response_result(response, result)  # type: ignore[misc]
        masking: Masking = self.application.masking
        response["result"] = masking.value(response["result"])
        if isinstance(response.get("traceback"), str):
            response["traceback"] = masking.text(response["traceback"])
