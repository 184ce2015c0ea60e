"""When each job started, in a file that the worker's children and the harness map: nobody has to ask a server."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

SLOTS = 1 << 16
SIZE = struct.calcsize("d")


class Marks:
    """One time (``time.monotonic``, the same clock in all processes of a machine) for each slot; 0: not yet."""

    def __init__(self, path: str | Path) -> None:
        with Path(path).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SLOTS * SIZE)

    @classmethod
    def create(cls, path: Path) -> Marks:
        """A new file, all slots empty."""
        path.write_bytes(bytes(SLOTS * SIZE))
        return cls(path)

    def note(self, slot: int) -> None:
        """Writes the time into a slot."""
        struct.pack_into("d", self._map, slot * SIZE, time.monotonic())

    def read(self, count: int) -> list[float]:
        """The first ``count`` slots."""
        return list(struct.unpack_from(f"{count}d", self._map))

    def clear(self) -> None:
        """Empties all slots."""
        self._map[:] = bytes(SLOTS * SIZE)
