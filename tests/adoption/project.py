"""A copy of the shop in a folder of its own: adopted and taken back by docs/adopt.md, with real processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.live import ROOT, Worker

SHOP = Path(__file__).parent / "shop"
PAGE = (ROOT / "docs/adopt.md").read_text()
QUEUES = ("-Q", "celery,mail")
# Celery's command loads all plug-ins that are installed; ours fail here, and nothing else can import us either.
STOCK = "import sys; sys.modules['penstock'] = None; from celery.__main__ import main; main()"


def change() -> tuple[str, str]:
    """What the page's one change takes from shop/celery.py, and what it puts there."""
    (block,) = re.findall(r"^```diff\n # shop/celery\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    lines = block.splitlines(keepends=True)
    assert not any(line.startswith("-") for line in lines)
    return "".join(line[1:] for line in lines if line[0] == " "), "".join(line[1:] for line in lines)


def commands() -> list[list[str]]:
    """The page's commands to Celery, in order, each as its words."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line.split() for block in blocks for line in block.splitlines()]
    return [words for words in lines if words[0] == "celery"]


def command(word: str) -> list[str]:
    """What follows `celery` in the page's one command that has this word."""
    (words,) = [words for words in commands() if word in words]
    return words[1:]


class Project:
    """The shop, as it is or adopted."""

    def __init__(self, folder: Path, broker: str, books: Path) -> None:
        self.folder = folder
        shutil.copytree(SHOP, folder / "shop", ignore=shutil.ignore_patterns("__pycache__"))
        self._books = books
        self.file = folder / "shop/celery.py"
        self._is_adopted = False
        self._workers = 0
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
            "SHOP_BROKER": broker,
            "REDIS_URL": broker,
            "PYTHONPATH": str(ROOT),
            "SHOP_RESULTS": broker.removesuffix("/0") + "/1",
            "SHOP_BOOKS": str(books),
        }

    # -- adopting and going back ---------------------------------------------------------------------------------

    def adopt(self, call: str = "penstock.adopt(app)") -> None:
        """Makes the page's change, with another form of the call if one is given."""
        before, after = change()
        self._replace(before, after)
        self._replace("penstock.adopt(app)\n", f"{call}\n")
        self._is_adopted = True

    def take_out(self) -> None:
        """Takes the page's change back."""
        before, after = change()
        self._replace(after, before)
        self._is_adopted = False

    def add_rates(self, kind: str | None) -> None:
        """Adds the page's task that is a coroutine; workers have children of this kind."""
        (module,) = re.findall(r"^```python\n# shop/rates\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
        (self.folder / "shop/rates.py").write_text(module)
        self._replace('"shop.mail"]', '"shop.mail", "shop.rates"]')
        self._replace("penstock.adopt(app)\n", f"penstock.adopt(app)\napp.conf.penstock_kind = {kind!r}\n")

    def _replace(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert text.count(old) == 1, f"{old!r} is not once in:\n{text}"
        self.file.write_text(text.replace(old, new))

    # -- processes -----------------------------------------------------------------------------------------------

    def worker(self, *options: str, children: int = 2) -> Worker:
        """A worker of this project, still to be entered."""
        self._workers += 1
        name = f"{self.folder.name}{self._workers}"
        made = Worker(
            self.environment,
            self.folder / f"{name}.log",
            "--without-mingle",
            "-n",
            f"{name}@shop",
            *QUEUES,
            *options,
            app="shop",
            children=children,
            folder=self.folder,
        )
        if not self._is_adopted:
            place = made._command.index("-m")
            made._command[place : place + 2] = ["-c", STOCK]
        return made

    def front(self, *words: str) -> list[str]:
        """Runs the web front with these words; the lines that it prints."""
        return self._ran([sys.executable, "-m", "shop.front", *words]).splitlines()

    def run(self, code: str) -> None:
        """Runs it as an application of the shop."""
        self._ran([sys.executable, "-c", code])

    def celery(self, *words: str) -> str:
        """Runs a command of Celery's; what it prints."""
        return self._ran([sys.executable, "-m", "celery", *words])

    def _ran(self, command: list[str]) -> str:
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # -- what was done -------------------------------------------------------------------------------------------

    @property
    def done(self) -> list[str]:
        """The lines of the books, in order."""
        return self._books.read_text().splitlines() if self._books.exists() else []
