"""Settings of the task modules: what they may reach, and where they keep things."""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from penstock.config import EnvironmentSettings, folder, named_values, setting, words

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word) for word in words(text))
    except ValueError as error:
        raise ValueError(f"{error}; give networks such as 10.1.0.0/16,127.0.0.0/8") from None


def _commands(text: str) -> Mapping[str, Path]:
    """Allowed commands by their name; each must exist now, so that a job cannot choose what is found later."""
    commands = {}
    for word in words(text):
        found = shutil.which(word)
        if found is None:
            raise ValueError(f"there is no executable {word!r}; install it or give its path")
        commands[Path(word).name] = Path(found).resolve()
    return commands


def _http_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("is not an http:// or https:// address")
    return text


@dataclass(frozen=True)
class TaskSettings(EnvironmentSettings):
    """What the modules in this folder read from the environment."""

    prefix: ClassVar[str] = "TASKS_"

    webhook_secrets: Mapping[str, str] = setting(
        "TASKS_WEBHOOK_SECRETS",
        named_values,
        default=lambda _: {},
        doc="Signing secrets by name (name=whsec_…,…). Jobs name a secret and never carry one.",
    )
    egress_allow: tuple[Network, ...] = setting(
        "TASKS_EGRESS_ALLOW",
        _networks,
        default=(),
        doc="Private networks that HTTP tasks may reach, e.g. 127.0.0.0/8. Public addresses are always allowed.",
    )
    databases: Mapping[str, str] = setting(
        "TASKS_DATABASES",
        named_values,
        default=lambda _: {},
        doc="SQLAlchemy URLs by name (sales=postgresql+psycopg://…), read by reports.",
    )
    reports_folder: Path = setting(
        "TASKS_REPORTS_FOLDER", folder, default=lambda _: Path("var/reports").absolute(), doc="Where reports are written."
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
