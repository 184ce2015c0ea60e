"""Who does something here, for the audit."""

from __future__ import annotations

import getpass
import os
import socket


def actor() -> str:
    """The user of this process: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
