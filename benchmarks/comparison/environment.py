"""An environment for each system, made when it is first asked for, from pinned requirements, and kept."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.conditions import BenchmarkError
from benchmarks.harness import ROOT

KEPT = ROOT / "var/benchmarks"
PINS = ROOT / "benchmarks/peers"
INSTALL_SECONDS = 600


class Environment(ABC):
    """Where a system is installed."""

    @abstractmethod
    def program(self) -> str:
        """The interpreter that runs it; the environment is made first when it is not there."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """What is installed there, of what matters."""

    @property
    def root(self) -> Path:
        """Where its processes find the harness, and Penstock's if they have any."""
        return ROOT

    @property
    def is_there(self) -> bool:
        """Whether it can be had at all."""
        return True


@dataclass(frozen=True)
class Own(Environment):
    """The one that this harness runs in: Penstock's."""

    packages: Sequence[str]

    def program(self) -> str:
        """This interpreter."""
        return sys.executable

    def versions(self) -> dict[str, str]:
        """Of this environment."""
        return _installed(self.program(), tuple(self.packages))


@dataclass(frozen=True)
class Before(Own):
    """The same packages with this repository as it was at a commit, its harness included."""

    commit: str

    def program(self) -> str:
        """This interpreter; the files are put there first."""
        _checkout(self.commit, self.root)
        return sys.executable

    def versions(self) -> dict[str, str]:
        """With the commit."""
        return {**super().versions(), "commit": self.commit[:7]}

    @property
    def root(self) -> Path:
        """Those files."""
        return KEPT / f"commit-{self.commit}"

    @property
    def is_there(self) -> bool:
        """Whether this clone has the commit: a shallow one, or files without their history, do not."""
        asked = ["git", "cat-file", "-e", f"{self.commit}^{{commit}}"]
        return subprocess.run(asked, cwd=ROOT, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Python(Environment):
    """A virtual environment with the packages of ``peers/requirements/NAME.txt``."""

    name: str
    packages: Sequence[str]

    def program(self) -> str:
        """Its interpreter."""
        return _made(self.name)

    def versions(self) -> dict[str, str]:
        """Of its packages."""
        return _installed(self.program(), tuple(self.packages))


@dataclass(frozen=True)
class Node(Environment):
    """A folder of Node's with the packages of ``peers/NAME/package-lock.json``."""

    name: str

    def program(self) -> str:
        """Node; the packages are found from the folder of the programs."""
        _node_modules(self.name)
        return "node"

    def versions(self) -> dict[str, str]:
        """Of Node, and of what is asked for by name."""
        _node_modules(self.name)
        node = _run(["node", "--version"]).removeprefix("v")
        asked = json.loads((PINS / self.name / "package.json").read_text())["dependencies"]
        return {"node": node, **asked}

    @property
    def folder(self) -> Path:
        """Copies of the programs, beside their packages."""
        return KEPT / self.name


@cache
def _made(name: str) -> str:
    """Made anew when its pins have changed."""
    folder, pins = KEPT / name, PINS / "requirements" / f"{name}.txt"
    program, stamp = folder / "bin/python", folder / "made-of.txt"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        print(f"  installing {name} …", file=sys.stderr, flush=True)
        _run([sys.executable, "-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        install = ("pip", "install", "--quiet", "--python", str(program), "--requirement", str(pins))
        _run([sys.executable, "-m", "uv", *install])
        stamp.write_text(pins.read_text())
    return str(program)


@cache
def _checkout(commit: str, folder: Path) -> None:
    if folder.exists():
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    # Under its name only when it is whole.
    with tempfile.TemporaryDirectory(dir=KEPT) as made, tempfile.TemporaryFile() as archive:
        command = ["git", "archive", commit]
        subprocess.run(command, cwd=ROOT, stdout=archive, check=True)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as files:
            files.extractall(Path(made) / "files", filter="data")
        (Path(made) / "files").rename(folder)


@cache
def _node_modules(name: str) -> None:
    folder, source = KEPT / name, PINS / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.mjs"):
        (folder / file.name).write_text(file.read_text())
    lock, stamp = source / "package-lock.json", folder / "made-of.txt"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        print(f"  installing {name} …", file=sys.stderr, flush=True)
        for pins in (source / "package.json", lock):
            (folder / pins.name).write_text(pins.read_text())
        _run(["npm", "ci", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent"])
        stamp.write_text(lock.read_text())


@cache
def _installed(program: str, packages: tuple[str, ...]) -> dict[str, str]:
    code = (
        "import json, platform, sys; from importlib.metadata import version; "
        "print(json.dumps({'python': platform.python_version()} | {name: version(name) for name in sys.argv[1:]}))"
    )
    versions: dict[str, str] = json.loads(_run([program, "-c", code, *packages]))
    return versions


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=True, cwd=ROOT)
    except FileNotFoundError as error:
        raise BenchmarkError(f"{command[0]} is not on the PATH") from error
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", "") or ""
        raise BenchmarkError(f"{' '.join(command[:6])} …: {error}\n{said[-2000:]}") from error
    return done.stdout.strip()
