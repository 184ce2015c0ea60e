"""How a worker's processes talk: frames of marshal over a local socket that nobody but they can reach.

Every process is a fork of the same one, so both ends run the same interpreter and the same code; that is what marshal
asks for, and it is four times as fast as JSON. Nothing of it is ever kept or leaves the host.
"""

from __future__ import annotations

import marshal
import os
import secrets
import shutil
import socket
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

READ_BYTES = 1 << 18
BUFFER_BYTES = 1 << 20
_LENGTH = struct.Struct("<I")
BACKLOG = 1024


def frame(message: Any) -> bytes:
    """A message as it travels: values that marshal knows, which JSON's are."""
    body = marshal.dumps(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Any]:
        """The messages that are complete with this chunk."""
        self._unread += chunk
        while len(self._unread) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._unread)
            end = _LENGTH.size + length
            if len(self._unread) < end:
                break
            body = bytes(self._unread[_LENGTH.size : end])
            del self._unread[:end]
            yield marshal.loads(body)  # noqa: S302  written by a fork of ours

    def rest(self) -> bytes:
        """What came after the last message, for somebody who reads on in another way."""
        rest = bytes(self._unread)
        self._unread.clear()
        return rest


class Address:
    """Where a worker's keeper is called, whichever process that is at the moment. Made before the first fork.

    On Linux a name that is no file, so that nothing is left behind by a worker that was killed, and a file system that
    takes no writes is no hindrance; elsewhere a socket in a folder of our own. Callers must be of the same user.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        if sys.platform.startswith("linux"):
            self._name = f"\0penstock-{secrets.token_hex(16)}"
        else:
            self._folder = Path(tempfile.mkdtemp(prefix="penstock-"))
            self._name = str(self._folder / "keeper")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self._name)
        self.listener.listen(BACKLOG)
        self.listener.setblocking(False)

    def call(self) -> socket.socket:
        """A connection to the keeper; one that is not there yet finds it waiting."""
        line = socket.socket(socket.AF_UNIX)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        line.connect(self._name)
        return line

    def accept(self) -> socket.socket | None:
        """A caller of this user; None when there is none."""
        try:
            line, _ = self.listener.accept()
        except BlockingIOError:
            return None
        if not _is_ours(line):
            line.close()
            return None
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        return line

    def remove(self) -> None:
        """Closes this process's end; removes the folder, where there is one."""
        self.listener.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _is_ours(line: socket.socket) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # The folder's rights have decided.
    told = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", told)
    return bool(user == os.geteuid())
