"""Settings: what the environment says, checked as a whole before anything starts.

A settings class is a frozen dataclass whose fields are made by :func:`setting`. :func:`load` reads one or several
of them at once and reports every problem in a single :class:`~penstock.errors.SettingsError`, so that a broken
deployment is mended in one round and not one variable at a time.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

from penstock.errors import SettingsError
from penstock.redaction import WORDS as REDACTED_WORDS
from penstock.redaction import Redaction
from penstock.retention import DEFAULT as DEFAULT_RETENTION
from penstock.retention import RetentionRules, read_rules

T = TypeVar("T")
REQUIRED = object()
EMBEDDED_FILE = "embedded.json"
BROKER_SCHEMES = ("redis", "rediss", "redis+socket", "sentinel")
SENTINEL_SECONDS = 2.0
"""How long a Sentinel may take to accept a connection, and to answer, before the next one is asked."""
CERTIFICATE_WORDS = ("required", "optional", "none", "CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE")
LOG_LEVELS: dict[str, int | None] = {"off": None, "warning": 30, "info": 20, "debug": 10}
"""From which level on, by Python's numbers, what a job logs is kept with it."""
DATABASE_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
DATABASE_SCHEMES = ("sqlite", "postgresql+psycopg")


def setting(
    variable: str,
    parse: Callable[[str], T],
    *,
    doc: str,
    default: T | Callable[[Mapping[str, Any]], T] | object = REQUIRED,
    remedy: str = "",
) -> Any:
    """A field read from the environment.

    Args:
        variable: name of the environment variable; an empty value counts as absent.
        parse: turns the text into the value; raises ValueError with a sentence that says what is allowed.
        doc: one line for people: meaning and unit.
        default: a value, or a function of the fields read so far; without one the variable is required.
        remedy: what to do when a required variable is absent.
    """
    metadata = {"variable": variable, "parse": parse, "default": default, "doc": doc, "remedy": remedy}
    return dataclasses.field(metadata=metadata)


def load(*classes: type[EnvironmentSettings], environ: Mapping[str, str] | None = None) -> tuple[Any, ...]:
    """Reads the given settings classes from the environment.

    Raises:
        SettingsError: with every problem of every class, and a suggestion for each misspelt variable.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    values = [_read(cls, environ, problems) for cls in classes]
    problems += _misspelt(classes, environ)
    if problems:
        raise SettingsError(problems)
    return tuple(cls(**fields) for cls, fields in zip(classes, values, strict=True))


def _read(cls: type[EnvironmentSettings], environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        meta = field.metadata
        text = environ.get(meta["variable"], "").strip()
        try:
            values[field.name] = meta["parse"](text) if text else _default(meta, values)
        except ValueError as error:
            problems.append(f"{meta['variable']}: {error}")
        except KeyError:
            # The default depends on a field that is itself a problem, and is reported already.
            continue
    return values


def _default(meta: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    default = meta["default"]
    if default is REQUIRED:
        raise ValueError(f"is not set; {meta['remedy']}")
    return default(values) if callable(default) else default


def _misspelt(classes: tuple[type[EnvironmentSettings], ...], environ: Mapping[str, str]) -> Iterator[str]:
    for cls in classes:
        known = [field.metadata["variable"] for field in dataclasses.fields(cls)]
        for name in sorted(environ):
            if name.startswith(cls.prefix) and name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
                yield f"{name}: there is no such setting; {hint}"


def integer(low: int, high: int) -> Callable[[str], int]:
    """A parser for whole numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number; give one from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is out of bounds; give a number from {low} to {high}")
        return number

    return parse


def words(text: str) -> tuple[str, ...]:
    """A parser for a comma-separated list."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def parts_of_names(text: str) -> tuple[str, ...]:
    """A parser for a comma-separated list of words that names are searched for."""
    parts = words(text)
    if wrong := [word for word in parts if not re.fullmatch(r"[\w.-]*[^\W_][\w.-]*", word)]:
        raise ValueError(f"{wrong[0]!r} is no part of a name; give letters, digits and _, - or . between them")
    return parts or tuple(REDACTED_WORDS)


def names(text: str) -> tuple[str, ...]:
    """A parser for a comma-separated list of names of arguments."""
    given = words(text)
    if wrong := [word for word in given if not (word.isidentifier() and word.isascii())]:
        raise ValueError(f"{wrong[0]!r} is no name that an argument can be searched by; give names such as order_id")
    return given


def named_values(text: str) -> Mapping[str, str]:
    """A parser for ``name=value`` pairs separated by commas."""
    pairs: dict[str, str] = {}
    for word in words(text):
        name, sign, value = word.partition("=")
        if not (sign and name.strip() and value.strip()):
            raise ValueError(f"an entry is not name=value (entry {len(pairs) + 1}); write name=value,name=value")
        pairs[name.strip()] = value.strip()
    return pairs


def _job_logs(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"{text!r} is none of {', '.join(LOG_LEVELS)}")
    return text.lower()


def folder(text: str) -> Path:
    """A parser for a folder; relative ones count from the current folder."""
    path = Path(text).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ValueError(f"{text!r} is a file; name a folder")
    return path


def _broker_url(text: str) -> str:
    scheme = urlsplit(text).scheme
    if scheme not in BROKER_SCHEMES:
        allowed = ", ".join(f"{name}://" for name in BROKER_SCHEMES)
        raise ValueError(f"scheme {scheme!r} is not served; use one of {allowed}, e.g. redis://localhost:6379/0")
    if any(mark.isspace() for mark in text):
        raise ValueError("contains white space; percent-encode it")
    parts = [urlsplit(part) for part in (text.split(";") if scheme == "sentinel" else [text])]
    for part in parts:
        _check_broker_address(scheme, part)
    # kombu takes them from the address at which it is: from another Sentinel it would go elsewhere.
    if len({(part.username, part.password, part.path.strip("/")) for part in parts}) > 1:
        raise ValueError("its Sentinels differ in user, password or database; write the same in each address")
    return text


def _check_broker_address(scheme: str, address: SplitResult) -> None:
    """One address; raises ValueError with what is allowed."""
    if address.scheme != scheme:
        raise ValueError("an address is not a Sentinel's; write sentinel://host:26379/0;sentinel://host:26379/0")
    query = dict(parse_qsl(address.query))
    is_socket = scheme == "redis+socket"
    example = "redis+socket:///folder/redis.sock?virtual_host=0" if is_socket else f"{scheme}://host:6379/0"
    if is_socket and not address.path.strip("/"):
        raise ValueError(f"the path of the socket is missing; write {example}")
    if not is_socket and not _has_sound_port(address):
        raise ValueError(f"the port is not a number; write {example}")
    database = query.pop("virtual_host", "") if is_socket else address.path.strip("/")
    if database and not database.isdigit():
        raise ValueError(f"the database is not a number; write {example}")
    if query.get("ssl_cert_reqs", "none") not in CERTIFICATE_WORDS:
        raise ValueError("ssl_cert_reqs is none of required, optional, none; write ?ssl_cert_reqs=required")
    query.pop("credential_provider", None)
    if unknown := [name for name in query if is_socket or not name.startswith("ssl_")]:
        raise ValueError(f"{unknown[0]!r} is not an option that an address may have; leave it out")


def _has_sound_port(address: SplitResult) -> bool:
    try:
        address.port  # noqa: B018  raises when it is none
    except ValueError:
        return False
    return True


def _database_url(text: str) -> str:
    scheme, sign, rest = text.partition("://")
    scheme = DATABASE_DRIVERS.get(scheme, scheme)
    if not sign or scheme not in DATABASE_SCHEMES:
        raise ValueError(
            f"scheme {scheme.split(':')[0]!r} is not served; use postgresql://user:password@host/name or sqlite:///file.db"
        )
    if scheme == "sqlite" and rest.lstrip("/") in ("", ":memory:"):
        raise ValueError("a ledger in memory would be another one in each process; name a file: sqlite:///ledger.db")
    if not _has_sound_port(urlsplit(text)):
        raise ValueError("the port is not a number; write postgresql://user:password@host:5432/name")
    return f"{scheme}://{rest}"


def _timezone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        close = difflib.get_close_matches(text, zoneinfo.available_timezones(), n=1)
        hint = f"did you mean {close[0]}?" if close else "use an IANA name such as Europe/Berlin"
        raise ValueError(f"{text!r} is not a time zone; {hint}") from None
    return text


def _embedded_broker(values: Mapping[str, Any]) -> str:
    """The address of the embedded server that ``make up`` or ``make demo`` runs in the same folder."""
    try:
        return str(json.loads((values["var"] / EMBEDDED_FILE).read_text())["redis_url"])
    except FileNotFoundError:
        raise ValueError(
            "is not set and no embedded server runs here; set it (redis://host:6379/0) or run `make up`"
        ) from None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"is not set and {values['var'] / EMBEDDED_FILE} cannot be read ({error}); run `make up` again"
        ) from None


def _sentinel_master(values: Mapping[str, Any]) -> str:
    if values.get("redis_url", "").startswith("sentinel://"):
        raise ValueError("is not set and REDIS_URL is a sentinel:// address; set it to the name that follows `monitor`")
    return ""


@dataclass(frozen=True)
class EnvironmentSettings:
    """Base of settings classes; ``prefix`` marks the variables in which a misspelling is an error."""

    prefix: ClassVar[str]

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Reads this class alone; see :func:`load`."""
        (settings,) = load(cls, environ=environ)
        return settings  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Settings(EnvironmentSettings):
    """What the library needs to know of its deployment."""

    prefix: ClassVar[str] = "PENSTOCK_"

    var: Path = setting(
        "PENSTOCK_VAR",
        folder,
        default=lambda _: Path("var").absolute(),
        doc="Folder for what is kept on disk: embedded server, SQLite ledger and credentials.",
    )
    redis_url: str = setting(
        "REDIS_URL",
        _broker_url,
        default=_embedded_broker,
        doc="Broker; redis://, rediss://, redis+socket:// or sentinel://. Default: the embedded server.",
    )
    sentinel_master: str = setting(
        "PENSTOCK_SENTINEL_MASTER",
        str,
        default=_sentinel_master,
        doc="Name under which the Sentinels watch the broker; required with sentinel://.",
    )
    database_url: str = setting(
        "DATABASE_URL",
        _database_url,
        default=lambda values: f"sqlite:///{values['var'] / 'ledger.db'}",
        doc="Ledger; postgresql:// or sqlite:///. Default: a SQLite file in the var folder.",
    )
    timezone: str = setting(
        "PENSTOCK_TIMEZONE", _timezone, default="UTC", doc="IANA time zone in which cron schedules are read."
    )
    drain_seconds: int = setting(
        "PENSTOCK_DRAIN_SECONDS",
        integer(1, 3600),
        default=20,
        doc="Seconds that a stopping worker gives its running jobs before it returns them to their queue.",
    )
    lease_seconds: int = setting(
        "PENSTOCK_LEASE_SECONDS",
        integer(5, 300),
        default=10,
        doc="Seconds that a silent worker keeps its claims before others run its jobs.",
    )
    crash_limit: int = setting(
        "PENSTOCK_CRASH_LIMIT",
        integer(1, 100),
        default=3,
        doc="Deliveries that ended in a crash before a job is buried.",
    )
    retention: RetentionRules = setting(
        "PENSTOCK_RETENTION",
        read_rules,
        default=DEFAULT_RETENTION,
        doc="Ages (1h to 3650d, or forever) after which what is over leaves the ledger; the rest keeps its default.",
    )
    max_argument_bytes: int = setting(
        "PENSTOCK_MAX_ARGUMENT_BYTES",
        integer(1024, 64 * 1024 * 1024),
        default=1024 * 1024,
        doc="Bytes that a job's arguments may take as JSON; larger ones are refused at enqueue.",
    )
    job_logs: str = setting(
        "PENSTOCK_JOB_LOGS",
        _job_logs,
        default="info",
        doc="From which level on (off, warning, info, debug) what a job logs is kept with it, for people to read.",
    )
    redact: tuple[str, ...] = setting(
        "PENSTOCK_REDACT",
        parts_of_names,
        default=REDACTED_WORDS,
        doc="Words (password,iban,…): arguments and headers whose names contain one are shown as ***.",
    )
    searchable: tuple[str, ...] = setting(
        "PENSTOCK_SEARCHABLE",
        names,
        default=(),
        doc="Names of arguments (order_id,customer,…) by whose values jobs may be searched.",
    )

    def __post_init__(self) -> None:
        # Whoever may search for a value can guess it, hidden or not.
        hidden = [name for name in self.searchable if self.redaction.is_secret(name)]
        if hidden:
            raise SettingsError(
                [f"PENSTOCK_SEARCHABLE: {hidden[0]!r} is hidden by PENSTOCK_REDACT; take it out of one of them"]
            )

    @property
    def redaction(self) -> Redaction:
        """Hides what nobody is to see."""
        return Redaction(self.redact)

    @property
    def broker_options(self) -> dict[str, Any]:
        """Celery's ``broker_transport_options``: what the address has no place for."""
        ours = {
            "lease_seconds": self.lease_seconds,
            "crash_limit": self.crash_limit,
            "retention": str(self.retention),
            "job_logs": self.job_logs,
            "redact": list(self.redact),
        }
        if not self.sentinel_master:
            return ours
        # kombu sets no times here: one Sentinel that is silent would hold up everybody, though the next one answers.
        times = {"socket_connect_timeout": SENTINEL_SECONDS, "socket_timeout": SENTINEL_SECONDS}
        return {**ours, "master_name": self.sentinel_master, "sentinel_kwargs": times}

    @property
    def result_backend(self) -> str:
        """Celery's ``result_backend`` for the ledger."""
        return f"penstock.ledger.backend:LedgerBackend+{self.database_url}"
