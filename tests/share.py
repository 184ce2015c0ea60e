"""What is too much for one run of CI is spread over several: each commit gets its share, and says which."""

from __future__ import annotations

import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Share:
    """One part of so many; ``part`` counts from 1. A name is always in the same part, whatever stands beside it."""

    part: int
    parts: int

    @classmethod
    def of_commit(cls, root: Path, parts: int) -> Self:
        """The share of the commit that is checked out at ``root``; the whole where there is no commit."""
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return cls(1, 1)
        return cls(int(done.stdout.strip(), 16) % parts + 1, parts)

    def has(self, name: str) -> bool:
        """Whether ``name`` is in this part."""
        return zlib.crc32(name.encode()) % self.parts == self.part - 1

    def __str__(self) -> str:
        return f"part {self.part} of {self.parts}" if self.parts > 1 else "all"
