"""What each child runs at this moment, in memory that all processes of a worker share.

A slot is written by its child alone, but for the fields by which others ask something of it: ``orders``,
``recalled``, ``soft_target``, ``cancelled`` and the reason of a kill. Writing costs a fraction of a microsecond and
wakes nobody; parent, zygote and keeper read when they want to know. The memory is anonymous: it is made before the
first fork and ends with its last process, whichever way that ends.

A slot goes round: FREE → LIVE (the zygote has forked a child) → DEAD (the zygote has found its end) → FREE (the keeper
has put the child's claims in order). Nobody else changes its standing, so nothing of a dead child is overwritten before
the keeper has read it.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import signal
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum

from penstock.engine import place, ring
from penstock.engine.place import Place

LEAST, MOST = 32, 1024
"""Slots of a worker: four for each child that it is to have, within these."""
REPORTS = 1 << 18
"""Bytes of the ring for what jobs say of themselves: most of them nothing, and then it takes no memory."""
SIZE = (1 << 16) + ring.SIZE + REPORTS
_HEADER = 8192
_RING = 1 << 16


class Standing(IntEnum):
    """Whose a slot is."""

    FREE = 0
    LIVE = 1
    DEAD = 2


ASK = signal.SIGUSR2
"""Has a child look what is asked of it."""


class Orders(IntEnum):
    """What a child is asked to do when it looks next."""

    NONE = 0
    DRAIN = 1
    """Claim no more, give back what has not started, finish what runs, end."""


class Reason(IntEnum):
    """Why a child was killed on purpose while it ran a job."""

    NONE = 0
    HARD_LIMIT = 1
    TERMINATED = 2
    """Somebody revoked the job; whoever did records that."""
    MEMORY = 3
    """It took more memory than a child may."""
    SHUTDOWN = 4
    """The worker ends and waits no longer."""
    LOST = 5
    """The worker's lease was taken away: the job is somebody else's."""


_INTEGER = struct.Struct("<q")
_TARGET, _RETIRED, _CLOSING, _USED, _SLEEPING, _ZYGOTE_SLEEPS, _KEEPER, _WRITES, _NAMES = range(0, 72, 8)
_NAMES_SIZE = (_HEADER - _NAMES) // 2
"""There are two lists of names, written in turn."""


class Slot(Place):
    """One child's part of the memory. It is the place of its job as well, if the child runs one at a time."""

    def __init__(self, memory: mmap.mmap, index: int, lock: int, places: tuple[Place, ...]) -> None:
        """Args:
        places: of a child that runs many at once; none: it has this one.
        """
        super().__init__(memory, _HEADER + index * SIZE, _RING)
        self.index = index
        self._lock = lock
        self.ring = ring.Ring(memory, self._at + _RING)
        self.reports = ring.Ring(memory, self._at + _RING + ring.SIZE, REPORTS)
        self.is_single = not places
        self.places: tuple[Place, ...] = places or (self,)

    @property
    def shown(self) -> list[Place]:
        """The places in which a job runs, as far as anybody knows."""
        among = self.places if self.is_single else self.places[: self.get("used")]
        return [each for each in among if each.get("is_running")]

    @property
    def is_busy(self) -> bool:
        """Whether a job runs here."""
        return bool(self.shown)

    @property
    def room(self) -> int:
        """How many jobs more could run here."""
        return len(self.places) - len(self.shown)

    @property
    def standing(self) -> Standing:
        """Whose the slot is."""
        return Standing(self.get("standing"))

    def clear(self) -> None:
        """All fields to nothing; the standing last, because others go by it."""
        self.ring.reset()
        self.reports.reset()
        for each in () if self.is_single else self.places[: self.get("used")]:
            each.wipe()
        self.wipe()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Between the child that goes on after a long job and the keeper that takes its waiting ones back.

        The system lets go of it when its holder dies, whichever way.
        """
        fcntl.lockf(self._lock, fcntl.LOCK_EX, 1, self.index)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, self.index)


class Slots:
    """The table. Make it before the first fork."""

    def __init__(self, children: int, places: int = 0) -> None:
        """Args:
        children: how many there are to be.
        places: how many jobs each runs at once; 0: it is a child that runs one at a time.
        """
        count = max(LEAST, min(4 * children, MOST))
        behind = _HEADER + count * SIZE
        # Pages that nobody has touched take no memory.
        self._memory = mmap.mmap(-1, behind + count * places * place.SIZE)
        self._lock = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the worker
        self.woken, self._waker = socket.socketpair()
        """The first becomes readable when somebody wakes the zygote."""
        for end in (self.woken, self._waker):
            end.setblocking(False)
        every = [Place(self._memory, behind + at * place.SIZE, place.SIZE) for at in range(count * places)]
        self.all = tuple(
            Slot(self._memory, index, self._lock.fileno(), tuple(every[index * places : (index + 1) * places]))
            for index in range(count)
        )

    def _header(self, at: int) -> int:
        return int(_INTEGER.unpack_from(self._memory, at)[0])

    @property
    def target(self) -> int:
        """How many children there should be; the parent's to set."""
        return self._header(_TARGET)

    @target.setter
    def target(self, value: int) -> None:
        _INTEGER.pack_into(self._memory, _TARGET, value)

    @property
    def retired(self) -> int:
        """Jobs that children have run which are no more; the zygote's to count."""
        return self._header(_RETIRED)

    @retired.setter
    def retired(self, value: int) -> None:
        _INTEGER.pack_into(self._memory, _RETIRED, value)

    @property
    def is_closing(self) -> bool:
        """Whether the worker ends: no child is replaced any more."""
        return bool(self._header(_CLOSING))

    @is_closing.setter
    def is_closing(self, value: bool) -> None:
        _INTEGER.pack_into(self._memory, _CLOSING, int(value))

    @property
    def incarnations(self) -> list[tuple[int, str]]:
        """(number, name) of the worker's incarnations that may hold claims, the newest last; the keeper's to write.

        Here, because a keeper that comes next must renew them even if this one has told nobody of the last.
        """
        while True:
            writes = self._header(_WRITES)
            at = _names_at(writes)
            text = self._memory[at + 8 : at + 8 + self._header(at)]
            if self._header(_WRITES) == writes:
                return [(int(number), str(name)) for number, name in json.loads(text or b"[]")]

    @incarnations.setter
    def incarnations(self, value: list[tuple[int, str]]) -> None:
        text = json.dumps(value).encode()
        if len(text) > _NAMES_SIZE - 8:
            raise ValueError(f"{len(value)} incarnations hold claims, more than there is room for")
        # Beside the list that holds, which changes by one number: a keeper that is killed here has changed nothing.
        writes = self._header(_WRITES) + 1
        at = _names_at(writes)
        self._memory[at + 8 : at + 8 + len(text)] = text
        _INTEGER.pack_into(self._memory, at, len(text))
        _INTEGER.pack_into(self._memory, _WRITES, writes)

    @property
    def keeper(self) -> int:
        """The keeper's process id, 0 while there is none; the zygote's to write."""
        return self._header(_KEEPER)

    @keeper.setter
    def keeper(self, value: int) -> None:
        _INTEGER.pack_into(self._memory, _KEEPER, value)

    @property
    def keeper_sleeps(self) -> bool:
        """Whether the keeper waits to be woken when something is handed over."""
        return bool(self._header(_SLEEPING))

    @keeper_sleeps.setter
    def keeper_sleeps(self, value: bool) -> None:
        _INTEGER.pack_into(self._memory, _SLEEPING, int(value))

    @property
    def zygote_sleeps(self) -> bool:
        """Whether the zygote does not look at the slots, because nothing ran that has a limit."""
        return bool(self._header(_ZYGOTE_SLEEPS))

    @zygote_sleeps.setter
    def zygote_sleeps(self, value: bool) -> None:
        _INTEGER.pack_into(self._memory, _ZYGOTE_SLEEPS, int(value))

    def wake_zygote(self) -> None:
        """Has it look now."""
        with suppress(BlockingIOError):
            self._waker.send(b".")

    @property
    def waker(self) -> int:
        """The descriptor by which :meth:`wake_zygote` does that, for signals."""
        return self._waker.fileno()

    @property
    def most(self) -> int:
        """Most children that the worker can have: half of the slots, so that dead ones need not be waited for."""
        return len(self.all) // 2

    def free(self) -> Slot | None:
        """A slot for a new child."""
        return next((slot for slot in self.all if slot.standing is Standing.FREE), None)

    def of(self, standing: Standing) -> list[Slot]:
        """The slots of this standing."""
        return [slot for slot in self.all[: self._header(_USED)] if slot.standing is standing]

    def note_used(self, index: int) -> None:
        """By the zygote: this slot was taken, so that nobody has to look at those beyond."""
        _INTEGER.pack_into(self._memory, _USED, max(self._header(_USED), index + 1))

    def live(self) -> list[Slot]:
        """The slots of children that live, as far as anybody knows."""
        return self.of(Standing.LIVE)

    def find(self, pid: int) -> Slot | None:
        """The slot of the child with this process id."""
        return next((slot for slot in self.of(Standing.LIVE) if slot.get("pid") == pid), None)

    @property
    def done(self) -> int:
        """Jobs that the worker's children have run."""
        return self.retired + sum(slot.get("done") for slot in self.of(Standing.LIVE))


def _names_at(writes: int) -> int:
    return _NAMES + writes % 2 * _NAMES_SIZE
