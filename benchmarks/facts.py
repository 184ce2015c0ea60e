"""What a process of a side is made of, told in a file that the harness reads. Standard library only."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any


def write(**facts: Any) -> None:
    """Writes them, and whether Penstock is loaded in this process, under its id."""
    file = Path(os.environ["BENCH_FACTS"]) / f"{os.getpid()}.json"
    # Threads of a process may tell at the same time.
    new = file.with_suffix(f".{threading.get_ident()}")
    new.write_text(json.dumps(facts | {"penstock": has_penstock()}))
    new.rename(file)


def read(folder: Path) -> dict[int, dict[str, Any]]:
    """What each process has told, by its id."""
    return {int(file.stem): json.loads(file.read_text()) for file in folder.glob("*.json")}


def has_penstock() -> bool:
    """Whether anything of ours is loaded here."""
    return "penstock" in sys.modules
