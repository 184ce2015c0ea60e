"""A whole system on one machine: an embedded Valkey, SQLite, and Celery's own commands in the foreground.

`python -m penstock.embedded` runs it; :func:`prepared_system` and :class:`Supervisor` are its parts for programs.
"""

from penstock.embedded.commands import system_processes
from penstock.embedded.process import Process
from penstock.embedded.supervisor import Supervisor
from penstock.embedded.system import System, prepared_system

__all__ = ["Process", "Supervisor", "System", "prepared_system", "system_processes"]
