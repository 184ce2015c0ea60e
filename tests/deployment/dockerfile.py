"""Dockerfile as instructions."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Dockerfile"

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Every instruction as its word and the rest, continued lines joined."""
    kept = [line for line in FILE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(kept))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage; what stands before the first FROM is left out."""
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    pairs = [pair for word, rest in stages()[-1] if word == "ENV" for pair in rest.split()]
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def copied(stage: list[Instruction]) -> list[str]:
    """What a stage copies from the checkout."""
    return [source for word, rest in stage if word == "COPY" and "--from" not in rest for source in rest.split()[:-1]]
