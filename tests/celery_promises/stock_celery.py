"""The `celery` command without plug-ins: those of an installed Penstock would load it into stock processes."""

import importlib.metadata
from typing import Any

_entry_points = importlib.metadata.entry_points


def without_plugins(**selected: Any) -> Any:
    """What is installed, except commands for `celery`."""
    return [] if selected.get("group") == "celery.commands" else _entry_points(**selected)


if __name__ == "__main__":
    importlib.metadata.entry_points = without_plugins
    from celery.__main__ import main

    main()
