"""Settings of the task modules: what they may reach, and where they keep things."""

from __future__ import annotations

import ipaddress
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
