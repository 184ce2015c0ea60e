"""Keeps a server for a session of tests, and ends it with whoever has started this, however that ends.

Run as a program of its own, ``python warden.py FOLDER COMMAND…``: its standard input is a pipe from the session. The
kernel closes that pipe also when the session is killed; then the server ends and its folder is removed.
"""

import contextlib
import select
import shutil
import subprocess
import sys

PATIENCE = 5.0
LOOK_SECONDS = 0.2
"""How long a server that ends by itself is not noticed."""


def main(folder: str, *command: str) -> int:
    """Until the pipe is closed, or the server ends by itself; its exit code."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while server.poll() is None and not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
        pass
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(PATIENCE)
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
