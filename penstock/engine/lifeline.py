"""Ties a pool's children to their worker: when the worker is killed they end at once, and their jobs go back."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from celery import signals

PR_SET_PDEATHSIG = 1


def tie_children() -> None:
    """In the parent, before the pool forks."""
    parent = os.getpid()

    def tie(**_: Any) -> None:
        if os.getpid() == parent or not sys.platform.startswith("linux"):
            return  # Elsewhere the keeper waits for them, as long as a lease.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died before the kernel knew what to do about that.
            os.kill(os.getpid(), signal.SIGKILL)

    signals.worker_process_init.connect(tie, weak=False, dispatch_uid="penstock-lifeline")
