"""README, followed word by word: in an empty clone, with an empty environment, on no services.

Runs each shell block of README.md as it stands and compares its output with the block of text that follows it. In
such a block `…` stands for anything. Pictures of Flower's pages are saved meanwhile (see demo/pictures.py).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "var" / "pictures"
EXPECTED_PICTURES = 4
# What a person's machine has as well: where programs are, and how its package installer reaches its index.
KEPT = re.compile(r"PATH|HOME|LANG|CI|PYTHON|PIP_\w+|SSL_\w+|\w+_proxy|\w+_PROXY")
BLOCK = re.compile(r"^```sh\n(?P<commands>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```$)?", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Commands of README and the output that README shows for them, if it does."""

    commands: str
    output: str | None


def main() -> int:
    """Exit code 0 when everything in README is as README says."""
    for old in PICTURES.glob("*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="penstock-fresh-") as folder:
        clone = Path(folder) / "penstock"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for block in blocks((clone / "README.md").read_text()):
            problem = run(block, clone)
            if problem:
                print(f"fresh: {problem}", file=sys.stderr)
                return 1
    taken = sorted(picture.name for picture in PICTURES.glob("*.png"))
    if len(taken) < EXPECTED_PICTURES:
        print(f"fresh: {len(taken)} pictures in {PICTURES}, must be at least {EXPECTED_PICTURES}", file=sys.stderr)
        return 1
    print(f"fresh: README holds; pictures in {PICTURES.relative_to(ROOT)}: {', '.join(taken)}")
    return 0


def blocks(readme: str) -> Iterator[Block]:
    """The shell blocks of README, in order."""
    for found in BLOCK.finditer(readme):
        yield Block(found["commands"], found["output"])


def run(block: Block, folder: Path) -> str | None:
    """Runs one block; what is wrong with it, or None."""
    shown = block.commands.strip().replace("\n", " ; ")
    print(f"fresh: $ {shown}", flush=True)
    started = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", block.commands],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(f"  {line}", end="", flush=True)
        lines.append(line.rstrip())
    code = process.wait()
    print(f"fresh: {shown}: exit code {code} after {time.monotonic() - started:.0f} s", flush=True)
    if code:
        return f"{shown!r} ended with exit code {code}"
    return difference(block.output, lines) if block.output else None


def environment() -> dict[str, str]:
    """Almost nothing; in particular no server is named."""
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    own = str(ROOT / ".venv")
    kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if not part.startswith(own))
    return kept | {"DEMO_PICTURES": str(PICTURES)}


def difference(expected: str, lines: list[str]) -> str | None:
    """The first line of ``expected`` that does not come, in its order, in ``lines``; None when all do."""
    position = 0
    for wanted in filter(None, (line.strip() for line in expected.splitlines())):
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("…")))
        while position < len(lines) and not pattern.fullmatch(lines[position].strip()):
            position += 1
        if position == len(lines):
            return f"README shows a line that did not come: {wanted!r}"
        position += 1
    return None


if __name__ == "__main__":
    sys.exit(main())
