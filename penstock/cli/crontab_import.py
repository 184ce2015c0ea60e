"""Reading a crontab for `schedules import`, writing the module, and telling what became of each line."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from penstock.cli.output import print_json, print_rows
from penstock.errors import PenstockError
from penstock.scheduler.crontab.module import render_module
from penstock.scheduler.crontab.reading import Allowed, Entry, Reading, Remark, read_crontab
from penstock.wording import counted, one_line

if TYPE_CHECKING:
    from celery import Celery

STANDARD_INPUT = Path("-")
MOST_BYTES = 1024 * 1024
SHOWN_CHARACTERS = 200
FOLDERS = (Path("/bin"), Path("/usr/bin"), Path("/sbin"), Path("/usr/sbin"))


def import_crontab(
    app: Celery,
    path: Path,
    *,
    console: Console,
    commands: Iterable[str],
    variables: Iterable[str],
    system: bool,
    output: Path | None,
    force: bool,
    prefix: str,
    as_json: bool,
) -> bool:
    """Reads a crontab, writes a module of schedules and tells what is not carried over.

    Args:
        app: its time zone is the one of schedules that name none.
        path: of the crontab; ``-`` is standard input.
        console: standard output.
        commands: names or paths of those that workers run, as in TASKS_SHELL_ALLOW.
        variables: names of those that jobs may set.
        system: its lines name a user before the command.
        output: where the module goes; standard output if absent.
        force: overwrite that file.
        prefix: stands before the name of each schedule.
        as_json: one JSON document instead of the module or the table.

    Returns:
        Whether every line was carried over.

    Raises:
        PenstockError: the crontab cannot be read, or the module not written.
    """
    source = "standard input" if path == STANDARD_INPUT else str(path)
    reading = read_crontab(_read(path), allowed(commands, variables), system=system, prefix=prefix.lstrip())
    module = render_module(reading, source)
    if output is not None:
        _write(output, module, force)
    if as_json:
        print_json(_as_json(reading, module, output))
    elif output is None:
        click.echo(module, nl=False)
        _print_remarks(Console(stderr=True, no_color=console.no_color, highlight=False, markup=False), reading)
    else:
        _print_entries(console, reading.entries)
        _print_remarks(console, reading)
        console.print(_summary(reading, output, app), soft_wrap=True)
    return not reading.lost


def allowed(commands: Iterable[str], variables: Iterable[str]) -> Allowed:
    """What workers run, by the names that jobs say. A command need not be installed on this machine."""
    paths: dict[str, set[str]] = {}
    for word in commands:
        found = shutil.which(word) or word
        path = Path(found)
        known = paths.setdefault(path.name, set())
        if "/" in found:
            known.update(map(str, _same(path.absolute())))
    return Allowed({name: frozenset(known) for name, known in paths.items()}, frozenset(variables))


def _same(path: Path) -> Iterator[Path]:
    """The path, and how else it is written where /bin is /usr/bin."""
    yield path
    for folder in FOLDERS:
        if path.parent in FOLDERS and path.parent.exists() and folder.exists() and folder.samefile(path.parent):
            yield folder / path.name


def _read(path: Path) -> str:
    try:
        with click.open_file(str(path), "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PenstockError(f"{path} cannot be read ({error.strerror}); name a crontab") from error
    if len(data) > MOST_BYTES:
        raise PenstockError(f"{path} is longer than {MOST_BYTES:,} bytes; name a crontab")
    return bytes(data).decode("utf-8", "surrogateescape")


def _write(path: Path, module: str, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="ascii") as file:
            file.write(module)
    except FileExistsError as error:
        raise PenstockError(f"{path} is there already; name another file, or overwrite it with --force") from error
    except OSError as error:
        raise PenstockError(f"{path} cannot be written ({error.strerror}); name another file") from error


def _as_json(reading: Reading, module: str, output: Path | None) -> dict[str, Any]:
    return {
        "entries": [asdict(entry) for entry in reading.entries],
        "remarks": [asdict(remark) for remark in reading.remarks],
        "module": module,
        "output": output,
    }


def _print_entries(console: Console, entries: Iterable[Entry]) -> None:
    print_rows(console, [_row(entry) for entry in entries])


def _row(entry: Entry) -> tuple[Text, Text, Text]:
    when = f"{entry.expression} ({entry.timezone})" if entry.timezone else entry.expression
    call = shlex.join((entry.command, *entry.arguments))
    return Text(one_line(entry.name), style="bold"), Text(one_line(when)), Text(one_line(call))


def _print_remarks(console: Console, reading: Reading) -> None:
    for remark in reading.remarks:
        console.print(_shown(remark), soft_wrap=True)


def _shown(remark: Remark) -> Text:
    what, style = ("not carried over", "bold red") if remark.is_lost else ("carried over with a loss", "yellow")
    line = one_line(remark.text[: SHOWN_CHARACTERS + 1])
    cut = line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"
    text = Text(f"line {remark.number}: {cut}\n  ")
    return text.append(what, style=style).append(f": {one_line(remark.why)}")


def _summary(reading: Reading, output: Path, app: Celery) -> Text:
    lost = f", {counted(len(reading.lost), 'line')} not carried over" if reading.lost else ""
    text = f"{counted(len(reading.entries), 'schedule')} in {output}{lost}"
    if any(entry.timezone is None for entry in reading.entries):
        text += (
            f"; times without CRON_TZ are read in {app.conf.timezone or 'UTC'}, which cron read in its machine's zone"
        )
    return Text(f"{text}\nto start them, name the module in schedules/__init__.py")
