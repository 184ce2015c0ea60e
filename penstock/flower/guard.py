"""What stands before every handler of Flower's and ours: who asks, from where, may they, and who did what."""

from __future__ import annotations

import base64
import binascii
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flower.views import BaseHandler
from tornado.web import HTTPError

from penstock.flower.access import is_loopback
from penstock.flower.roles import SAFE_METHODS, Role, needed, runs_any_task
from penstock.ledger import queries
from penstock.ledger.backend import ledger_url
from penstock.ledger.session import writing

if TYPE_CHECKING:
    from penstock.flower.site import Site

logger = logging.getLogger(__name__)
NOBODY = "somebody"
"""Where Flower asks nobody for a password."""
ACTION_LENGTH = 32


class Guarded(BaseHandler):
    """A handler that serves only those who may."""

    application: Site
    records_itself = False
    """Whether it notes in the audit by itself what it does."""

    def set_default_headers(self) -> None:
        """No page of ours or Flower's is shown inside of another one."""
        super().set_default_headers()
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "same-origin")

    async def prepare(self) -> None:
        """Refuses what this user may not do, before anything is read or done."""
        self._require_own_host()
        if self.request.method not in SAFE_METHODS:
            self._require_authentication()
            self.require(self.needed_role())
            path = self.route_path
            if runs_any_task(path) and not self.application.roles.may_run_tasks:
                raise HTTPError(403, reason_of("starting any task is switched off; set FLOWER_RUN_TASKS=true"))
        if (ready := super().prepare()) is not None:
            await ready

    def _require_own_host(self) -> None:
        """Where nobody is asked for a password, a page elsewhere could have its own name resolve to loopback, and read
        all of this in the browser of whoever looks at it.
        """
        if not self.application.asks_who and not is_loopback(urlsplit(f"//{self.request.host}").hostname or ""):
            raise HTTPError(403, reason_of("without authentication, Flower is asked as localhost only"))

    def _require_authentication(self) -> None:
        if not self.current_user:
            raise HTTPError(403, reason_of("log in first"))

    @property
    def route_path(self) -> str:
        """The path without the prefix that a proxy may have."""
        prefix = self.application.prefix
        return str(self.request.path).removeprefix(prefix)

    @property
    def user(self) -> str:
        """Who asks, as they have logged in."""
        known = self.current_user
        if isinstance(known, str):
            return known
        return _name_of(self.request.headers.get("Authorization", "")) if self.application.asks_who else NOBODY

    @property
    def actor(self) -> str:
        """Who asks, for the audit."""
        return f"{self.user} (Flower)"

    @property
    def role(self) -> Role:
        """What the user may do; with Flower's own ``--read_only``, everybody looks on."""
        return Role.VIEWER if self.application.options.read_only else self.application.roles.of(self.user)

    def needed_role(self) -> Role:
        """The role that this request asks for."""
        return needed(self.request.method or "", self.route_path)

    def require(self, role: Role) -> None:
        """Returns if the user has this role.

        Raises:
            HTTPError: 403, they have not.
        """
        if self.role < role:
            raise HTTPError(403, reason_of(f"this takes the role {role.word}, and {self.user} is {self.role.word}"))

    def on_finish(self) -> None:
        """Notes what was done by one of Flower's own routes."""
        super().on_finish()
        is_done = self.request.method not in SAFE_METHODS and self.get_status() < 400
        if is_done and not self.records_itself:
            self.application.executor.submit(_note, self.application.capp, self.actor, *self._told())

    def _told(self) -> tuple[str, dict[str, Any]]:
        """The action and its details."""
        words = self.route_path.removeprefix("/api/").split("/")
        whom = self.path_args[0] if self.path_args else ""
        named = self.application.redaction.value(
            None, {name: self.get_arguments(name) for name in self.request.arguments}
        )
        action = " ".join(words[:-1] if whom else words)[:ACTION_LENGTH]
        return action, {"of": whom, "arguments": named}


def reason_of(sentence: str) -> str:
    """A sentence for people as the message of an error: Tornado fills in what looks like a place for values."""
    return sentence.replace("%", "%%")


def _note(app: Any, actor: str, action: str, details: dict[str, Any]) -> None:
    url = ledger_url(app)
    if url is None:
        return
    try:
        with writing(url) as connection:
            queries.add_audit(connection, actor=actor, action=action, details=details)
    except Exception:
        logger.exception("%s has done %r (%s), and the audit could not be written", actor, action, details)


def _name_of(header: str) -> str:
    """The user of basic authentication, whose password was checked before."""
    try:
        return base64.b64decode(header.partition(" ")[2]).decode().partition(":")[0]
    except (ValueError, binascii.Error):
        return NOBODY


def guarded(handler: Any) -> Any:
    """A handler of Flower's, guarded; others (files) as they are."""
    if not (isinstance(handler, type) and issubclass(handler, BaseHandler)) or issubclass(handler, Guarded):
        return handler
    return type(handler.__name__, (Guarded, handler), {"__doc__": handler.__doc__, "__module__": handler.__module__})
