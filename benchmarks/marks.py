"""When each job started, in a file that the workers' processes and the harness map: nobody has to ask a server."""

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
            self._map = mmap.mmap(file.fileno(), 0)
        self._started = 0

    @classmethod
    def create(cls, path: Path, slots: int = SLOTS) -> Marks:
        """A new file, all slots empty."""
        path.write_bytes(bytes(slots * SIZE))
        return cls(path)

    def note(self, slot: int) -> None:
        """Writes the time into a slot."""
        struct.pack_into("d", self._map, slot * SIZE, time.monotonic())

    def at(self, slot: int) -> float:
        """One slot."""
        return float(struct.unpack_from("d", self._map, slot * SIZE)[0])

    def read(self, count: int, first: int = 0) -> list[float]:
        """``count`` slots from ``first`` on."""
        return list(struct.unpack_from(f"{count}d", self._map, first * SIZE))

    def all_started(self, count: int) -> bool:
        """Whether the first ``count`` slots have a time. Asked again, it goes on where it saw the first gap."""
        while self._started < count and self.at(self._started):
            self._started += 1
        return self._started >= count

    def clear(self) -> None:
        """Empties all slots."""
        self._map[:] = bytes(len(self._map))
        self._started = 0
