"""Crontabs as data: lines that are plain, allowed commands become entries, and of all others it is said why not.

Read as Debian's cron and cronie read them. Text in, data out: nothing is looked up, started or written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.errors import DeclarationError
from penstock.scheduler.crontab.shell_words import NeedsShell, Word, split, without_discarding
from penstock.scheduler.timetables.cron import Cron
from penstock.scheduler.timetables.zones import zone_of

MOST_CHARACTERS = 4000
"""Of a line. Debian's cron reads a thousand of a command."""
MOST_OF_A_NAME = 180
MOST_MINUTES_OF_DELAY = 24 * 60
SCRIPT = "put it into a script and add that to TASKS_SHELL_ALLOW, e.g. /usr/local/bin/backup"

_VARIABLE = re.compile(r"""(?P<quote>["']?)(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P=quote)[ \t]*=[ \t]*(?P<value>.*)""")
_JOB = re.compile(r"-?(?P<when>@[^ \t]+|[^ \t]+(?:[ \t]+[^ \t]+){4})[ \t]+(?P<rest>.+)")
_USER = re.compile(r"(?P<user>[^ \t]+)[ \t]+(?P<rest>.+)")
_BEFORE_INPUT = re.compile(r"(?P<command>(?:\\.|[^%])*)(?:%(?P<input>.*))?")
_PERCENT = re.compile(r"(\\?)%")
#: What ``penstock.scheduler`` fills in before a job starts, or refuses as misspelt.
_PLACE = re.compile(r"\{(?:previous_?)?fire")
_SHELLS_OWN = re.compile(
    r"\.|:|!|case|cd|eval|exec|exit|export|for|if|read|set|source|test|trap|ulimit|umask|until|wait|while"
)
_LOSSES = {
    "MAILTO": "nobody is sent mail; `jobs show` has each job's output, `failures list` those that failed",
    "MAILFROM": "nobody is sent mail",
    "SHELL": "no shell reads the commands",
    "PATH": "commands are found by TASKS_SHELL_ALLOW, and find /usr/local/bin:/usr/bin:/bin as their own PATH",
    "HOME": "commands start in / and find the HOME of the workers' user",
}
_TZ = "TZ is the command's own; cron reads times in its machine's zone. Where yours reads them in TZ, write CRON_TZ"


@dataclass(frozen=True)
class Allowed:
    """What the deployment's workers run."""

    commands: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Absolute paths by the name that jobs say; none where only the name is known."""
    variables: frozenset[str] = frozenset()
    """Names of variables that jobs may set."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line that becomes a schedule."""

    number: int
    """Of its line, from 1."""
    text: str
    """The line."""
    name: str
    """Unique among the entries."""
    expression: str
    command: str
    arguments: tuple[str, ...] = ()
    stdin: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    timezone: str | None = None
    """None: of the machine."""
    jitter: float = 0.0
    """Seconds."""


@dataclass(frozen=True)
class Remark:
    """What of a line is not carried over."""

    number: int
    text: str
    why: str
    """With what to do about it."""
    is_lost: bool
    """Nothing has become of the line; otherwise it is carried over with a loss."""


@dataclass(frozen=True)
class Reading:
    """What a crontab has become. Each line that is not blank and no comment is in it at least once."""

    entries: tuple[Entry, ...]
    settings: tuple[int, ...]
    """Numbers of the lines that set a variable."""
    remarks: tuple[Remark, ...]

    @property
    def lost(self) -> tuple[Remark, ...]:
        """Of lines that nothing has become of."""
        return tuple(remark for remark in self.remarks if remark.is_lost)


def read_crontab(text: str, allowed: Allowed, *, system: bool = False, prefix: str = "") -> Reading:
    """Reads a crontab. Whatever it holds, nothing is raised.

    Args:
        text: of the file; bytes that are not UTF-8 as lone surrogates.
        allowed: which commands and variables are carried over.
        system: its lines name a user before the command, as in /etc/crontab and /etc/cron.d.
        prefix: stands before the name of each entry.
    """
    reader = _Reader(allowed, system, prefix)
    for number, line in enumerate(text.split("\n"), 1):
        reader.read(number, line.removesuffix("\r").lstrip())
    return Reading(tuple(reader.entries), tuple(reader.settings), tuple(reader.remarks))


class _Lost(Exception):
    """Why a line is not carried over, and what to do."""


class _Reader:
    """Goes through the lines; variables hold for those that follow."""

    def __init__(self, allowed: Allowed, system: bool, prefix: str) -> None:
        self.entries: list[Entry] = []
        self.settings: list[int] = []
        self.remarks: list[Remark] = []
        self._allowed, self._system, self._prefix = allowed, system, prefix
        self._names: set[str] = set()
        self._timezone: str | None = None
        self._jitter = 0.0
        self._environment: dict[str, str] = {}
        self._number, self._text = 0, ""

    def read(self, number: int, text: str) -> None:
        """Takes the next line."""
        self._number, self._text = number, text
        if not text or text.startswith("#"):
            return
        try:
            _check_text(text)
            if found := _VARIABLE.fullmatch(text):
                self._set(found["name"], _value(found["value"].rstrip()))
                self.settings.append(number)
            else:
                self.entries.append(self._entry(text))
        except (_Lost, NeedsShell, DeclarationError) as error:
            why = f"{error}; {_remedy(error)}" if isinstance(error, NeedsShell) else str(error)
            self.remarks.append(Remark(number, text, why, is_lost=True))

    def _remark(self, why: str) -> None:
        self.remarks.append(Remark(self._number, self._text, why, is_lost=False))

    def _set(self, name: str, value: str) -> None:
        if name == "CRON_TZ":
            self._timezone = value.removeprefix(":") or None
            self._check_zone()
        elif name == "RANDOM_DELAY":
            self._jitter = self._delay(value)
        elif name in self._allowed.variables:
            self._environment[name] = value
        elif not (name.startswith("MAIL") and not value):
            self._remark(_LOSSES.get(name, f"jobs may not set {name}; add it to TASKS_SHELL_ENVIRONMENT if it matters"))
        if name == "TZ":
            self._remark(_TZ)

    def _check_zone(self) -> None:
        """Raises DeclarationError for a zone that nobody knows, at its own line and at those that it holds for."""
        if self._timezone:
            zone_of(self._timezone)

    def _delay(self, minutes: str) -> float:
        if re.fullmatch("[0-9]{1,4}", minutes) and int(minutes) <= MOST_MINUTES_OF_DELAY:
            return 60.0 * int(minutes)
        self._remark(f"RANDOM_DELAY is a number of minutes up to {MOST_MINUTES_OF_DELAY}; cron takes this for 0")
        return 0.0

    def _entry(self, text: str) -> Entry:
        job = _JOB.fullmatch(text)
        if job is None:
            raise _Lost("neither a variable nor five fields, or a word such as @daily, and a command; correct it")
        expression = " ".join(job["when"].split())
        Cron(expression)
        self._check_zone()
        rest, user = self._without_user(job["rest"])
        line, stdin = _with_input(rest)
        line, discarded = without_discarding(line)
        environment, command, arguments = self._call(line)
        if _PLACE.search("\n".join((*arguments, stdin or "", *environment.values()))):
            raise _Lost("in a schedule, braces with fire_time hold the time of the start; write this one by hand")
        if user:
            self._remark(f"it runs as the workers' user, and not as {user}")
        if discarded:
            self._remark(f"cron throws output away or merges it ({discarded}); here it is kept, as stdout and stderr")
        return Entry(
            number=self._number,
            text=text,
            name=self._name(command),
            expression=expression,
            command=command,
            arguments=arguments,
            stdin=stdin,
            environment=environment,
            timezone=self._timezone,
            jitter=self._jitter,
        )

    def _call(self, line: str) -> tuple[dict[str, str], str, tuple[str, ...]]:
        """Variables, command and arguments of what a shell would be given."""
        variables, words = _without_variables(split(line))
        if strange := sorted(variables.keys() - self._allowed.variables):
            raise _Lost(f"it sets {', '.join(strange)}; add that to TASKS_SHELL_ENVIRONMENT, or {SCRIPT}")
        if not words:
            raise _Lost("there is no command; add one")
        return self._environment | variables, self._command(words[0].text), tuple(word.text for word in words[1:])

    def _without_user(self, rest: str) -> tuple[str, str]:
        if not self._system:
            return rest, ""
        found = _USER.fullmatch(rest)
        if found is None:
            raise _Lost("a system crontab names a user before the command, and here is only one word; correct it")
        return found["rest"], found["user"]

    def _command(self, word: str) -> str:
        """The name by which jobs say it."""
        commands = self._allowed.commands
        if found := next((name for name, paths in commands.items() if word == name or word in paths), None):
            return found
        name = word.rpartition("/")[2]
        if _SHELLS_OWN.fullmatch(word):
            raise _Lost(f"it needs a shell (its own command {word}); {SCRIPT}")
        if "/" in word and name in commands:
            known = ", ".join(sorted(commands[name])) or "another path"
            raise _Lost(f"{word} is not allowed, {name} is {known}; write one path here and in TASKS_SHELL_ALLOW")
        if "/" in word and not word.startswith("/"):
            raise _Lost(f"{word} is not an absolute path; write that, and add it to TASKS_SHELL_ALLOW")
        hint = "" if self._system or word != "root" else "; a system crontab, which names users, is read with --system"
        raise _Lost(f"{word} is not allowed; add it to TASKS_SHELL_ALLOW{hint}")

    def _name(self, command: str) -> str:
        base = name = f"{self._prefix}{command}"[:MOST_OF_A_NAME].strip()
        count = 1
        while name in self._names:
            count += 1
            name = f"{base} {count}"
        self._names.add(name)
        return name


def _remedy(error: NeedsShell) -> str:
    return f"leave it out, as output is kept with the job, or {SCRIPT}" if error.sign in (">", ">>") else SCRIPT


def _check_text(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise _Lost(f"it is longer than {MOST_CHARACTERS:,} characters; {SCRIPT}")
    if strange := next((mark for mark in text if not (mark.isprintable() or mark == "\t")), None):
        raise _Lost(f"it holds {strange!a}, which is no text or cannot be seen; {SCRIPT}")


def _value(text: str) -> str:
    """The value of a variable without the quotes around it."""
    if text[:1] not in ('"', "'"):
        return text
    if len(text) < 2 or text.find(text[0], 1) != len(text) - 1:
        raise _Lost("its quotes do not match, so that cron does not read it; correct it")
    return text[1:-1]


def _with_input(text: str) -> tuple[str, str | None]:
    """A command, and what it reads: all behind the first percent sign, further ones being line ends.

    With a backslash before it, a percent sign is one.
    """
    found = _BEFORE_INPUT.fullmatch(text)
    assert found is not None  # of each text without line ends
    given = _PERCENT.sub(lambda percent: "%" if percent[1] else "\n", found["input"] or "")
    # As cron does, which ends the last line.
    return found["command"].replace("\\%", "%"), f"{given.removesuffix(chr(10))}\n" if given else None


def _without_variables(words: list[Word]) -> tuple[dict[str, str], list[Word]]:
    """The variables that are set before a command, and its words."""
    variables: dict[str, str] = {}
    for place, word in enumerate(words):
        if word.variable is None:
            return variables, words[place:]
        name, value = word.variable
        variables[name] = value
    return variables, []
