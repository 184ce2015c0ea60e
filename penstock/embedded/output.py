"""What several processes print, as one text: whole lines, each behind the name of its process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import IO, TextIO

COLOURS = (36, 33, 32, 35, 34, 31)
LONGEST_LINE = 64 * 1024
"""Bytes after which a line is cut in two, so that output without line ends cannot fill the memory."""


class LabelledOutput:
    """Writes lines of several sources to one stream; coloured on a terminal unless NO_COLOR is set."""

    def __init__(self, stream: TextIO, labels: Iterable[str]) -> None:
        labels = list(labels)
        width = max(len(label) for label in labels)
        coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._stream = stream
        self._lock = threading.Lock()
        self._prefixes = {
            label: _coloured(f"{label:{width}} |", COLOURS[position % len(COLOURS)])
            if coloured
            else f"{label:{width}} |"
            for position, label in enumerate(labels)
        }
        self.broken = False
        """Whether nobody reads any more: the terminal is closed, or a pipe's reader is gone."""

    def write(self, label: str, line: str) -> None:
        """Writes one line."""
        with self._lock:
            if self.broken:
                return
            try:
                self._stream.write(f"{self._prefixes[label]} {line}\n")
                self._stream.flush()
            except OSError:
                self.broken = True

    def copy(self, label: str, source: IO[bytes]) -> None:
        """Writes the lines of a source until it ends, and closes it. Goes on when nobody reads, or it would block."""
        with source:
            while line := source.readline(LONGEST_LINE):
                self.write(label, line.decode(errors="replace").rstrip("\r\n"))


def _coloured(text: str, colour: int) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"
