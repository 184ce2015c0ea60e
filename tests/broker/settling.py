"""Settling without a keeper, for tests of what stands before it."""

from penstock.broker.scripts import Scripts, Settlement


class AtOnce:
    """Settles while its caller waits, where a worker lets its keeper do it."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def settle(self, settlement: Settlement) -> None:
        self._scripts.settle([settlement])

    def unindex(self, jobs: list[tuple[str, str]]) -> None:
        self._scripts.unindex(jobs)
