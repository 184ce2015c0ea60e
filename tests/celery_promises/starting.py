"""Imported with the tasks, before a worker imports what `-I` names: notes the signals that it sends until then.

Other programs of these applications import it as well, and send none of these.
"""

import os
from typing import Any

from celery import signals

from tests.celery_promises import notes


@signals.celeryd_init.connect
def on_celeryd_init(sender: str, instance: Any, conf: Any, options: Any, **_: Any) -> None:
    fields = {"instance": instance.hostname, "conf": conf.timezone, "options": sorted(options)}
    notes.write(f"signals:{sender}", ["celeryd_init", fields])


@signals.celeryd_after_setup.connect
def on_celeryd_after_setup(sender: str, instance: Any, conf: Any, **_: Any) -> None:
    fields = {"instance": instance.hostname, "conf": conf.timezone}
    notes.write(f"signals:{sender}", ["celeryd_after_setup", fields])


@signals.after_setup_logger.connect
def on_after_setup_logger(**fields: Any) -> None:
    _note_logger("after_setup_logger", **fields)


@signals.after_setup_task_logger.connect
def on_after_setup_task_logger(**fields: Any) -> None:
    _note_logger("after_setup_task_logger", **fields)


@signals.beat_embedded_init.connect
def on_beat_embedded_init(sender: Any, **_: Any) -> None:
    notes.write("signals:beat", ["beat_embedded_init", {"sender": type(sender).__name__}])


def _note_logger(name: str, logger: Any, loglevel: int, logfile: Any, format: str, colorize: bool, **_: Any) -> None:
    if "PROMISES_NOTES" in os.environ:
        fields = {"logger": logger.name, "loglevel": loglevel, "logfile": logfile, "format": format}
        notes.write(f"signals:loggers:{os.getpid()}", [name, fields | {"colorize": colorize}])
