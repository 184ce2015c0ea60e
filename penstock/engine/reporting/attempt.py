"""What one attempt says of itself, as far as it is not on its way to the ledger.

A log is cut into chunks, the unit in which it travels and is kept: the first of an attempt and the last. What has not
left yet when it is among neither is left out here already, so a body that logs without end costs no more than that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from penstock.ledger.reports import CHUNK_CHARACTERS, CHUNK_LINES, HEAD, TAIL
from penstock.progress import LONGEST_NOTE

LONGEST_TEXT = 8_000
"""Characters of one line with its traceback; the middle of a longer one is left out."""
LONGEST_NAME = 200
POINTS = 60
"""Reports of progress that are kept of an attempt; when there are more, every second one goes."""
POINT_SECONDS = 0.25
"""Between two of them at first."""
PACKET_CHARACTERS = 40_000
"""Of lines in one packet, or a chunk if that is longer: with four bytes each it still is one datagram."""
Line = tuple[int, float, int, str, str]
"""Number within the attempt, time, level, logger, text."""


class Packet(NamedTuple):
    """What is handed to the keeper; values that marshal knows."""

    id: str
    began: int
    """When the attempt began, in milliseconds since 1970, by which attempts are told apart."""
    token: str | None
    """Of its claim."""
    logged: int
    """Lines that it has logged."""
    progress: tuple[float, float | None, str | None, float] | None
    points: tuple[tuple[float, float, float | None], ...] | None
    """(seconds since 1970, done, total) of reports of progress; None: as they were told before."""
    chunks: tuple[tuple[int, tuple[Line, ...]], ...]
    """(number, all its lines so far) of those that have changed."""
    is_repeated: bool
    """Whether it is not the first attempt of its job."""


class Channel(Protocol):
    """The way to the keeper, and how much waits for it in this process; see :class:`Reporter`."""

    is_behind: bool
    """Whether the keeper has not taken all there was."""

    def hold(self, characters: int) -> None:
        """So many more characters of lines wait in this process, or fewer."""

    @property
    def is_full(self) -> bool:
        """Whether this process keeps no more lines."""

    def add(self, report: AttemptReport) -> None:
        """Has a report flushed soon."""

    def send(self, packet: Packet) -> bool:
        """Hands a packet over, unless there is no room."""


class AttemptReport:
    """Of one run of one job. Any thread may call it."""

    def __init__(self, id: str, began: float, token: str | None, channel: Channel, *, is_repeated: bool) -> None:
        """Args:
        began: seconds since 1970.
        """
        self._is_repeated = is_repeated
        self._head: tuple[str, int, str | None] = (id, int(began * 1000), token)
        self._channel = channel
        self._lock = threading.Lock()
        self._has_ended = False
        self._is_added = False
        self._has_news = False
        self._count = 0
        self._chunk = self._size = 0
        self._lines: list[Line] = []
        self._unsent: dict[int, list[Line]] = {}
        """Chunks by their numbers."""
        self._held = 0
        """Characters that wait."""
        self._progress: tuple[float, float | None, str | None, float] | None = None
        self._points: list[tuple[float, float, float | None]] = []
        self._seconds = POINT_SECONDS
        self._has_new_points = False

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        """How far it is; the last report stands."""
        now = time.time()
        with self._lock:
            if self._has_ended:
                return
            self._progress = (done, total, note[:LONGEST_NOTE] if note else None, now)
            if not self._points or now - self._points[-1][0] >= self._seconds:
                self._add_point()
            self._has_news = True
        self._tell()

    def _add_point(self) -> None:
        assert self._progress is not None
        done, total, _, at = self._progress
        if len(self._points) >= POINTS:
            self._points = self._points[::2]
            self._seconds *= 2
        self._points.append((at, done, total))
        self._has_new_points = True

    def log(self, at: float, level: int, logger: str, text: str) -> None:
        """A line of its log. Under load those below WARNING are counted and not kept."""
        with self._lock:
            if self._has_ended:
                return
            self._count += 1
            self._has_news = True
            if self._is_kept(level):
                self._keep((self._count, at, level, logger[:LONGEST_NAME], clipped(text)))
        self._tell()

    def _is_kept(self, level: int) -> bool:
        return not (self._channel.is_full or (self._channel.is_behind and level < logging.WARNING))

    def _keep(self, line: Line) -> None:
        if len(self._lines) >= CHUNK_LINES or self._size >= CHUNK_CHARACTERS:
            self._chunk += 1
            self._lines, self._size = [], 0
            if self._chunk - TAIL >= HEAD:
                # It would have to give way to this one as soon as both are in the ledger.
                self._hold(-_size(self._unsent.pop(self._chunk - TAIL, ())))
        self._lines.append(line)
        self._size += len(line[-1])
        self._unsent[self._chunk] = self._lines
        self._hold(len(line[-1]))

    def _hold(self, characters: int) -> None:
        characters = max(characters, -self._held)
        self._held += characters
        self._channel.hold(characters)

    def _tell(self) -> None:
        if not self._is_added:
            self._is_added = True
            self._channel.add(self)

    def end(self) -> None:
        """The body has ended: what it has said goes out before its outcome, if there is room."""
        with self._lock:
            self._has_ended = True
            if self._progress is not None and self._points[-1][0] != self._progress[3]:
                self._add_point()
            is_sent = self._send()
            if not is_sent and self._channel.is_full:
                self._give_up_lines()
        if not is_sent:
            self._tell()

    def flush(self) -> bool:
        """Hands over what is new; False when there was no room for all of it."""
        # Before it looks: what is said from now on has it called again.
        self._is_added = False
        with self._lock:
            return self._send()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes."""
        return self._has_ended

    def close(self) -> None:
        """In a process that was forked while the body ran: it is the other one's."""
        self._has_ended = True
        self._has_news = False

    def _send(self) -> bool:
        if not self._has_news:
            return True
        for packet in self._packets():
            if not self._channel.send(packet):
                return False
            if packet.points is not None:
                self._has_new_points = False
            for number, _ in packet.chunks:
                del self._unsent[number]
        self._hold(-self._held)
        self._has_news = False
        return True

    def _packets(self) -> Iterator[Packet]:
        """At least one, each of a size that fits."""
        points = tuple(self._points) if self._has_new_points else None
        part: list[tuple[int, tuple[Line, ...]]] = []
        size = 0
        for number, lines in list(self._unsent.items()):
            length = _size(lines)
            if part and size + length > PACKET_CHARACTERS:
                yield Packet(*self._head, self._count, self._progress, points, tuple(part), self._is_repeated)
                part, size, points = [], 0, None
            part.append((number, tuple(lines)))
            size += length
        yield Packet(*self._head, self._count, self._progress, points, tuple(part), self._is_repeated)

    def _give_up_lines(self) -> None:
        self._hold(-self._held)
        self._unsent.clear()


def clipped(text: str) -> str:
    """``text`` without its middle, if it is long."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]}\n… {len(text) - LONGEST_TEXT:,} characters are left out here …\n{text[-half:]}"


def _size(lines: Any) -> int:
    return sum(len(line[-1]) for line in lines)
