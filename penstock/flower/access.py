"""Flower on loopback, behind a password that is made once and kept."""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from penstock.config import Settings, integer, words
from penstock.errors import SettingsError

LOOPBACK = "127.0.0.1"
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104
LOCAL_NAMES = ("localhost", "localhost.localdomain")
PORT = 5555
USER = "penstock"
CREDENTIALS_FILE = "flower-credentials"


@dataclass(frozen=True)
class Access:
    """Where Flower serves, and for whom.

    Attributes:
        address: what it binds to; loopback unless FLOWER_ADDRESS says otherwise.
        port: FLOWER_PORT, or 5555.
        basic_auth: ``user:password`` of everybody who may come in; empty when FLOWER_AUTH leaves that to OAuth.
        credentials: the file with the generated password; None when the environment has its own.
    """

    address: str
    port: int
    basic_auth: tuple[str, ...]
    credentials: Path | None

    @property
    def owner(self) -> str | None:
        """The user of the generated password, the only one; None when the environment names users."""
        return USER if self.credentials else None

    @property
    def url(self) -> str:
        """Where a browser on this host finds it."""
        host = LOOPBACK if self.address in ANYWHERE else self.address
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @classmethod
    def load(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> Self:
        """Reads Flower's own variables, and makes the credentials where they name none.

        Raises:
            SettingsError: one of them, or the file with the credentials, cannot be used.
        """
        environ = os.environ if environ is None else environ
        address = environ.get("FLOWER_ADDRESS", "").strip() or LOOPBACK
        port = _port(environ)
        given = words(environ.get("FLOWER_BASIC_AUTH", ""))
        if not all(all(each.partition(":")) for each in given):
            raise SettingsError(["FLOWER_BASIC_AUTH: an entry is not user:password; several are set apart by commas"])
        if given or environ.get("FLOWER_AUTH", "").strip():
            return cls(address, port, given, None)
        credentials = settings.var / CREDENTIALS_FILE
        return cls(address, port, (_kept_or_made(credentials),), credentials)


def is_loopback(host: str) -> bool:
    """Whether an address or a host's name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOCAL_NAMES


def _port(environ: Mapping[str, str]) -> int:
    text = environ.get("FLOWER_PORT", "").strip()
    try:
        return integer(1, 65535)(text) if text else PORT
    except ValueError as error:
        raise SettingsError([f"FLOWER_PORT: {error}"]) from None


def _kept_or_made(file: Path) -> str:
    try:
        if not file.exists():
            _make(file)
        credentials = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"PENSTOCK_VAR: {file} cannot be used ({error}); mend or remove it"]) from error
    if not all(credentials.partition(":")):
        raise SettingsError([f"PENSTOCK_VAR: {file} does not hold user:password; remove it to have a new one made"])
    return credentials


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.touch(mode=0o600)  # before it holds the password
    new.write_text(f"{USER}:{secrets.token_urlsafe(18)}\n")
    # A link, unlike a rename, replaces nothing: of two processes that come here at once, both use the first one's.
    with suppress(FileExistsError):
        file.hardlink_to(new)
    new.unlink()
