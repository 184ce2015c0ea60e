"""What a child hands over, in memory that outlives it: a ring of records between one writer and one reader.

An outcome is in the ring the moment its body has ended, so that it survives a kill of the child, and it stays there
until the keeper has settled it, so that it survives a kill of the keeper. Both are forks of the process that made the
memory; a new keeper reads on where the settled part ends.

Writer and reader share two positions, each written by one of them alone. A record is copied before the position that
shows it is moved; its checksum is for processors that may show the two in another order.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator

SIZE = 1 << 20
"""Bytes of a ring for outcomes."""
MOST = 1 << 17
"""Bytes of the largest record; what is larger is handed over in a file, see ``penstock.engine.running.handing``."""
_HEAD, _TAIL, _DATA = 0, 8, 64
_POSITION = struct.Struct("<Q")
_PREFIX = struct.Struct("<II")


class Ring:
    """A part of shared memory, beginning at ``at``."""

    def __init__(self, memory: mmap.mmap, at: int, size: int = SIZE) -> None:
        self._memory = memory
        self._at = at
        self.capacity = size - _DATA
        self._data = at + _DATA
        self._written = self._released = 0
        """What the writer knows of the two positions."""

    @property
    def head(self) -> int:
        """Bytes that were ever written."""
        return int(_POSITION.unpack_from(self._memory, self._at + _HEAD)[0])

    @property
    def tail(self) -> int:
        """Bytes that are done with."""
        return int(_POSITION.unpack_from(self._memory, self._at + _TAIL)[0])

    def reset(self) -> None:
        """For a new writer, when nothing is left of the last one."""
        _POSITION.pack_into(self._memory, self._at + _HEAD, 0)
        _POSITION.pack_into(self._memory, self._at + _TAIL, 0)
        self._written = self._released = 0

    def write(self, record: bytes) -> bool:
        """Adds a record of at most MOST bytes; False when there is no room for it yet. By the writer, the only one."""
        memory, head = self._memory, self._written
        length = len(record)
        end = head + _PREFIX.size + length
        if end - self._released > self.capacity:
            self._released = self.tail
            if end - self._released > self.capacity:
                return False
        start = head % self.capacity
        place = self._data + start
        if start + _PREFIX.size + length <= self.capacity:
            _PREFIX.pack_into(memory, place, length, zlib.crc32(record))
            memory[place + _PREFIX.size : place + _PREFIX.size + length] = record
        else:
            self._copy_in(head, _PREFIX.pack(length, zlib.crc32(record)) + record)
        self._written = end
        _POSITION.pack_into(memory, self._at + _HEAD, end)
        return True

    def read(self, position: int) -> Iterator[tuple[int, bytes]]:
        """The records from a position on, each with the position behind it. By the reader."""
        head = self.head
        while position < head:
            length, checksum = _PREFIX.unpack(self._copy_out(position, _PREFIX.size))
            if length > MOST:
                return  # Not shown to us yet.
            record = self._copy_out(position + _PREFIX.size, length)
            if zlib.crc32(record) != checksum:
                return
            position += _PREFIX.size + length
            yield position, record

    def release(self, position: int) -> None:
        """Gives the room up to a position back to the writer. By the reader."""
        _POSITION.pack_into(self._memory, self._at + _TAIL, position)

    def _copy_in(self, position: int, data: bytes) -> None:
        start = position % self.capacity
        fits = self.capacity - start
        base = self._data
        if len(data) <= fits:
            self._memory[base + start : base + start + len(data)] = data
        else:
            self._memory[base + start : base + self.capacity] = data[:fits]
            self._memory[base : base + len(data) - fits] = data[fits:]

    def _copy_out(self, position: int, length: int) -> bytes:
        start = position % self.capacity
        fits = self.capacity - start
        base = self._data
        if length <= fits:
            return self._memory[base + start : base + start + length]
        return self._memory[base + start : base + self.capacity] + self._memory[base : base + length - fits]
