"""Flower with our pages: the same application, every route of it guarded, and what the ledger remembers beside it."""

from __future__ import annotations

import copy
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from flower.app import Flower, rewrite_handler
from flower.urls import settings as flower_settings
from flower.views.auth import LoginHandler
from flower.views.error import NotFoundErrorHandler
from tornado.options import options
from tornado.routing import Rule
from tornado.util import import_object
from tornado.web import StaticFileHandler, url

from penstock.config import words
from penstock.flower.access import LOOPBACK, is_loopback
from penstock.flower.errands import Errands
from penstock.flower.guard import guarded
from penstock.flower.loader import Loader
from penstock.flower.masking import Masking
from penstock.flower.roles import Role, Roles
from penstock.flower.routes import ROUTES
from penstock.flower.sampling import Sampling, mask_reports
from penstock.redaction import WORDS, Redaction

REDACT_VARIABLE = "PENSTOCK_REDACT"
ASSETS = Path(__file__).with_name("static")


class Site(Flower):
    """Flower's application, with pages that read the ledger, roles and an audit.

    Attributes:
        owner: a user who is an admin without being named by FLOWER_ROLES.

    Raises:
        SettingsError: FLOWER_ROLES or FLOWER_RUN_TASKS cannot be read.
    """

    owner: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("xsrf_cookie_kwargs", {"samesite": "Lax"})
        kwargs["template_loader"] = Loader(kwargs.get("template_path") or flower_settings["template_path"])
        super().__init__(*args, **kwargs)
        # Without authentication Flower serves loopback only, and whoever works on this machine owns the deployment.
        everybody = Role.OPERATOR if self.asks_who else Role.ADMIN
        self.roles = Roles.load(os.environ, everybody=everybody, owner=self.owner)
        self.redaction = Redaction(words(os.environ.get(REDACT_VARIABLE, "")) or WORDS)
        self.errands = Errands(self.executor)
        self.masking = Masking(self.capp, self.redaction)
        self.sampling = Sampling(self.events, self.masking)
        mask_reports(self.inspector, self.masking)
        self.wildcard_router.rules = [_guarded(rule) for rule in self.wildcard_router.rules]
        own = [url(pattern, handler, name=name) for pattern, handler, name in ROUTES]
        own.append(url(r"/penstock/static/(.*)", StaticFileHandler, {"path": str(ASSETS)}, name="penstock-static"))
        self.add_handlers(
            ".*", [rewrite_handler(each, self.options.url_prefix) for each in own] if self.prefix else own
        )

    @property
    def prefix(self) -> str:
        """What each path begins with behind a proxy: empty, or ``/prefix``."""
        given = (self.options.url_prefix or "").strip("/")
        return f"/{given}" if given else ""

    def asset(self, name: str) -> str:
        """The address of one of our files; another one with each change, so that browsers may keep it."""
        digest = hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:12]
        return f"{self.reverse_url('penstock-static', name)}?v={digest}"

    @property
    def tabs(self) -> list[tuple[str, str]]:
        """Names and labels of our pages in the navigation."""
        return [(name, page.label) for _, page, name in ROUTES if page.label]

    @property
    def asks_who(self) -> bool:
        """Whether users have to say who they are."""
        return bool(self.options.basic_auth or self.options.auth)

    def start_http_server(self) -> int | None:
        """Serves; on loopback unless users have to say who they are."""
        # An empty entry is an empty password of nobody, with which Flower would let everybody in.
        if not all(all(each.partition(":")) for each in self.options.basic_auth or ()):
            sys.exit(
                "penstock: an entry of FLOWER_BASIC_AUTH or --basic_auth is not user:password; correct or remove it"
            )
        if not (self.asks_who or self.options.unix_socket):
            address = self.options.address or LOOPBACK
            if not is_loopback(address):
                sys.exit(
                    f"penstock: Flower would serve everybody on {address} without authentication; set "
                    "FLOWER_BASIC_AUTH (user:password) or FLOWER_AUTH, or leave FLOWER_ADDRESS out"
                )
            self.options.address = address
        port: int | None = super().start_http_server()
        return port


class Login(LoginHandler):
    """Flower's own turns into what FLOWER_AUTH_PROVIDER names, past every guard; ours turns into it guarded."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """The handler of a request."""
        name = options.auth_provider
        return guarded(import_object(name) if name else NotFoundErrorHandler)(*args, **kwargs)


def _guarded(rule: Rule) -> Rule:
    """A rule whose handler is guarded. Flower's own one stays as it is: it belongs to every Flower of the process."""
    ours = copy.copy(rule)
    ours.target = Login if rule.target is LoginHandler else guarded(rule.target)
    return ours
