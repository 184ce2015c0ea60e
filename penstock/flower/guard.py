"""What stands before every handler of Flower's and ours: who asks, from where, may they, and who did what."""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flower.views import BaseHandler
from tornado.web import HTTPError

from penstock.flower.access import is_loopback
from penstock.flower.auditing import Action, arguments_of, name_of, note, whom_of
from penstock.flower.masking import MaskedResult
from penstock.flower.roles import READ_BY_POST, SAFE_METHODS, Role, needed, runs_any_task

if TYPE_CHECKING:
    from penstock.flower.site import Site

_SCRIPTS = [b"\nvar autorefresh = %d;\n" % value for value in (0, 1)]
"""What stands within Flower's pages and not in a file: one line of workers.html, as templates leave white space."""
_HASHES = " ".join(f"'sha256-{base64.b64encode(sha256(script).digest()).decode()}'" for script in _SCRIPTS)
POLICY = (
    f"default-src 'self'; script-src 'self' {_HASHES}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Of Flower's pages. Those of ours are stricter."""
NOBODY = "somebody"
"""Where Flower asks nobody for a password."""


class Guarded(BaseHandler):
    """A handler that serves only those who may."""

    application: Site
    records_itself = False
    """Whether it notes in the audit by itself what it does."""
    acts = False
    """Whether the user was let in to do something."""

    def set_default_headers(self) -> None:
        """No page of ours or Flower's is shown inside of another one, and none runs what a job's arguments hold."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "same-origin")

    async def prepare(self) -> None:
        """Refuses what this user may not do, before anything is read or done."""
        self._require_own_host()
        if any("\x00" in part for part in self.path_args if part):
            raise HTTPError(404, "Nothing has such a name")  # PostgreSQL takes no NUL.
        # Whatever else has made an app in this thread, as Flower's report of an error does: results are ours.
        self.application.capp.set_current()
        if self.request.method not in SAFE_METHODS:
            self._require_authentication()
            self.require(self.needed_role())
            path = self.route_path
            if runs_any_task(path) and not self.application.roles.may_run_tasks:
                raise HTTPError(403, reason_of("starting any task is switched off; set FLOWER_RUN_TASKS=true"))
            self.acts = path != READ_BY_POST
        if (ready := super().prepare()) is not None:
            await ready

    def check_xsrf_cookie(self) -> None:
        """Refuses what a page elsewhere has a browser send; Flower itself does that only where it asks who it is."""
        origin = self.request.headers.get("Origin")
        # Every browser names the origin of what is no GET. Behind a proxy, only it knows that the origin is ours.
        is_vouched_for = self.request.headers.get("Sec-Fetch-Site") == "same-origin"
        if origin and not is_vouched_for and _host_of(origin) != self.request.host.lower():
            raise HTTPError(403, "Cross-site request forbidden")
        super().check_xsrf_cookie()

    def _require_own_host(self) -> None:
        """Where nobody is asked for a password, a page elsewhere could have its own name resolve to loopback, and read
        all of this in the browser of whoever looks at it.
        """
        if not self.application.asks_who and not is_loopback(_name_of_host(self.request.host)):
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
        # An error of the server may come when all was done, as when a task was sent and its state could not be read.
        if self.acts and not self.records_itself and not 400 <= self.get_status() < 500:
            whom = whom_of(self.path_args)
            arguments = arguments_of(self.request, whom, self.application.masking)
            action = Action(self.actor, name_of(self.route_path), whom, arguments, self.get_status())
            self.application.executor.submit(note, self.application.capp, action)


def reason_of(sentence: str) -> str:
    """A sentence for people as the message of an error: Tornado fills in what looks like a place for values."""
    return sentence.replace("%", "%%")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name_of_host(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _name_of(header: str) -> str:
    """The user of basic authentication, whose password was checked before."""
    try:
        return base64.b64decode(header.split()[-1]).decode().partition(":")[0]
    except (ValueError, IndexError, binascii.Error):
        return NOBODY


def guarded(handler: Any) -> Any:
    """A handler of Flower's, guarded; others (files) as they are."""
    if not (isinstance(handler, type) and issubclass(handler, BaseHandler)) or issubclass(handler, Guarded):
        return handler
    masked = (MaskedResult,) if hasattr(handler, "update_response_result") else ()
    return type(
        handler.__name__, (Guarded, *masked, handler), {"__doc__": handler.__doc__, "__module__": handler.__module__}
    )
