"""What all commands share: the app that they belong to, and errors as one sentence with exit code 1."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from penstock.errors import PenstockError
from penstock.operations.moments import BadMoment, moment_of

if TYPE_CHECKING:
    from penstock.app import PenstockApp


class _Plainspoken:
    """The one place at which an error of ours becomes `penstock: …` on stderr, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)  # type: ignore[misc]
        except PenstockError as error:
            raise Refusal(str(error)) from error


class Refusal(click.ClickException):
    """A sentence on stderr and exit code 1."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        """Prints it."""
        click.echo(f"penstock: {self.format_message()}", file=file, err=True)


class Command(_Plainspoken, click.Command):
    """One verb."""


class Group(_Plainspoken, click.Group):
    """A noun with its verbs."""

    command_class = Command


class Word(click.ParamType[str]):
    """Text that a database can look for; the shell may hand over bytes that are not UTF-8."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """``value``, unless it cannot be stored or is empty."""
        text = str(value)
        if not text.strip():
            self.fail("is empty", param, ctx)
        if not text.isprintable():
            self.fail(f"{text!r} contains characters that cannot be printed", param, ctx)
        return text


class Since(click.ParamType[datetime]):
    """A point in time, given by its age or in ISO 8601."""

    name = "age or time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Naive when an ISO time names no zone."""
        try:
            return moment_of(str(value))
        except BadMoment as error:
            self.fail(str(error), param, ctx)


class NamedValue(click.ParamType[tuple[str, str]]):
    """A name and a value."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """From NAME=VALUE; the value may be empty, and have ``=`` in it."""
        if isinstance(value, tuple):
            return value
        name, sign, rest = str(value).partition("=")
        if not (name.strip() and sign):
            self.fail(f"{value!r} is no NAME=VALUE", param, ctx)
        return name.strip(), rest


def in_zone(moment: datetime | None, zone: str) -> datetime | None:
    """A time that names no zone means this one."""
    from zoneinfo import ZoneInfo

    return moment.replace(tzinfo=ZoneInfo(zone)) if moment and not moment.tzinfo else moment


def app_of(context: click.Context) -> PenstockApp:
    """The app that ``celery -A`` has found.

    Raises:
        PenstockError: it is none of ours.
    """
    from penstock.app import PenstockApp

    app = context.obj.app
    if not isinstance(app, PenstockApp):
        raise PenstockError(
            f"this command needs an app made by penstock; name yours before the command: `celery -A workers "
            f"{context.command_path.partition(' ')[2]}`"
        )
    return app


def booked_app_of(context: click.Context) -> PenstockApp:
    """The app that ``celery -A`` has found, for what is done to the ledger: ours, or one that has adopted it.

    Raises:
        PenstockError: its results are not in the ledger.
    """
    from penstock.operations.deployment import NotOnTheBooks, booked

    try:
        return booked(any_app_of(context))
    except NotOnTheBooks:
        raise PenstockError(
            "this command works on the ledger, and the results of this app are not there; give it a ledger "
            "(penstock.adopt(app, ledger=…)), or name another app before the command: `celery -A workers "
            f"{context.command_path.partition(' ')[2]}`"
        ) from None


def any_app_of(context: click.Context) -> Any:
    """The app that ``celery -A`` has found, whoever made it."""
    return context.obj.app
