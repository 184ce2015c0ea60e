"""Settings of the task modules: what they may reach, and where they keep things."""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from penstock.config import (
    DATABASE_DRIVERS,
    DATABASE_SCHEMES,
    EnvironmentSettings,
    folder,
    named_values,
    setting,
    words,
)
from tasks import signing
from tasks.egress import EgressRefused, Network, parse

#: Well-known variables by which a command loads, finds or starts other code than its own. No job may set these.
SUBVERTING = re.compile(
    r"""
    (LD_|DYLD_|_RLD|GLIBC_|GCONV_|MALLOC_|OPENSSL_).* | LIBPATH | SHLIB_PATH | LOCPATH | NLSPATH  # loader and libraries
    | HOSTALIASES | RES_OPTIONS | KRB5_CONFIG | TERMINFO | TERMINFO_DIRS | TERMCAP
    | PATH | BASH.* | ENV | IFS | PS[0-4] | CDPATH | FPATH | GLOBIGNORE | SHELLOPTS | PROMPT_COMMAND  # shells
    | SHELL | ZDOTDIR | NULLCMD | READNULLCMD | TMPPREFIX
    | (PYTHON|PERL|RUBY|NODE_|NPM_CONFIG_|JAVA_|_JAVA_|JDK_JAVA_|PHP|LUA_|DOTNET_).* | CLASSPATH  # interpreters
    | AWKPATH | AWKLIBPATH | TCLLIBPATH | R_PROFILE | R_PROFILE_USER
    | EDITOR | VISUAL | PAGER | MANPAGER | BROWSER | LESSOPEN | LESSCLOSE | RSH | RSYNC_RSH  # programs to start
    | RSYNC_CONNECT_PROG | CVS_RSH | SVN_SSH | (GIT_|SSH_|SUDO_).* | PSQL_EDITOR | PSQL_PAGER
    | HOME | XDG_.* | CURL_HOME | WGETRC | PSQLRC | TAR_OPTIONS | MAKEFLAGS | GNUMAKEFLAGS | MAKEFILES  # their settings
    """,
    re.VERBOSE,
)


def _secrets(text: str) -> Mapping[str, str]:
    secrets = named_values(text)
    for name, secret in secrets.items():
        try:
            signing.key_of(secret)
        except ValueError as error:
            raise ValueError(f"the secret {name!r} {error}") from None
    return secrets


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word) for word in words(text))
    except ValueError as error:
        raise ValueError(f"{error}; give networks such as 10.1.0.0/16,127.0.0.0/8") from None


def _databases(text: str) -> Mapping[str, str]:
    """Only databases that can refuse writing; no message shows a URL, which may hold a password."""
    databases = {}
    for name, url in named_values(text).items():
        scheme, sign, rest = url.partition("://")
        scheme = DATABASE_DRIVERS.get(scheme, scheme)
        if not sign or scheme not in DATABASE_SCHEMES:
            raise ValueError(f"the database {name!r} is not postgresql://… or sqlite:///…")
        databases[name] = f"{scheme}://{rest}"
    return databases


def _http_url(text: str) -> str:
    try:
        return parse(text).url
    except EgressRefused as error:
        raise ValueError(str(error)) from None


def _commands(text: str) -> Mapping[str, Path]:
    """Allowed commands by name; each must exist now, so that no job can choose what is found later."""
    commands: dict[str, Path] = {}
    for word in words(text):
        found = shutil.which(word)
        if found is None:
            raise ValueError(f"there is no executable {word!r}; install it or give its path")
        # Symbolic links are kept: a program such as busybox looks at the name that it was called by.
        path = Path(found).absolute()
        if commands.setdefault(path.name, path) != path:
            raise ValueError(f"{commands[path.name]} and {path} have the same name; allow one of them")
    return commands


def _variables(text: str) -> frozenset[str]:
    """Names that jobs may set for their commands; none by which an allowed command would run something else."""
    for name in words(text):
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name of a variable; write names such as PGDATABASE,BACKUP_TARGET")
        if SUBVERTING.fullmatch(name):
            raise ValueError(
                f"{name} can make a command run other code; set it in a script, and allow that as a command"
            )
    return frozenset(words(text))


@dataclass(frozen=True)
class TaskSettings(EnvironmentSettings):
    """What the modules in this folder read from the environment."""

    prefix: ClassVar[str] = "TASKS_"

    webhook_secrets: Mapping[str, str] = setting(
        "TASKS_WEBHOOK_SECRETS",
        _secrets,
        default=lambda _: {},
        doc="Signing secrets by name (name=whsec_…,…). Jobs name a secret and never carry one.",
    )
    egress_allow: tuple[Network, ...] = setting(
        "TASKS_EGRESS_ALLOW",
        _networks,
        default=(),
        doc="Private networks that HTTP tasks may reach, e.g. 127.0.0.0/8; public addresses need no entry.",
    )
    databases: Mapping[str, str] = setting(
        "TASKS_DATABASES",
        _databases,
        default=lambda _: {},
        doc="postgresql:// and sqlite:/// URLs by name (sales=postgresql://…); reports only read them.",
    )
    reports_folder: Path = setting(
        "TASKS_REPORTS_FOLDER",
        folder,
        default=lambda _: Path("var/reports").absolute(),
        doc="Where reports are written; workers on several hosts share it.",
    )
    sales_webhook: str | None = setting(
        "TASKS_SALES_WEBHOOK", _http_url, default=None, doc="Told when the nightly sales report is ready."
    )
    shell_allow: Mapping[str, Path] = setting(
        "TASKS_SHELL_ALLOW",
        _commands,
        default=lambda _: {},
        doc="Commands that shell jobs may run, e.g. rsync,/usr/local/bin/backup. None: shell tasks are off.",
    )
    shell_environment: frozenset[str] = setting(
        "TASKS_SHELL_ENVIRONMENT",
        _variables,
        default=frozenset(),
        doc="Names of variables that shell jobs may set for their commands, e.g. PGDATABASE,BACKUP_TARGET.",
    )
