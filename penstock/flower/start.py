"""What a deployment's ``flowerconfig.py`` calls: everything is there, and ``celery flower`` starts our application."""

from __future__ import annotations

import os
import sys
from typing import Any

import flower.command

from penstock.checks import require_servers
from penstock.config import Settings
from penstock.errors import PenstockError
from penstock.flower.access import Access
from penstock.flower.roles import Role, Roles
from penstock.flower.site import Site
from penstock.operations.deployment import booked


def prepare(app: Any = None) -> Access:
    """Has ``celery flower`` start :class:`Site` in place of Flower's own application.

    Ends the process with a sentence if a server does not answer or a variable cannot be read: Flower itself would start
    and show an empty system.

    Args:
        app: an app that has adopted the ledger, which names its servers; None: the environment does.

    Returns:
        Where to serve and for whom, for Flower's own options.
    """
    try:
        settings = booked(app).settings if app is not None else Settings.load()
        access = Access.load(settings)
        Roles.load(os.environ, everybody=Role.VIEWER)  # A role that is misspelt is told here, and not by a traceback.
        require_servers(settings)
    except PenstockError as error:
        sys.exit(f"penstock: {error}")
    Site.owner = access.owner
    flower.command.Flower = Site
    return access
