"""The balance sheet's arithmetic: what was accepted of each queue, and where all of it is. No I/O.

Every accepted job is in exactly one place: still in the outbox, in Redis, or ended, and then it is on the books of the
ledger or was deleted or taken by others. What Redis holds besides (messages of stock producers, of jobs that have ended
already, and of jobs that it has twice) is found message by message and taken off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from penstock.broker.census import Census, Held
from penstock.ledger.balance import Booked, Books
from penstock.wording import counted


@dataclass
class Found:
    """What a look at every message and every open row has shown of one queue."""

    foreign: int = 0
    """Messages that stock producers have sent."""
    late: int = 0
    """Messages of jobs that have ended already: they are dropped when a worker has them."""
    twice: int = 0
    """Messages of jobs that Redis has another message of."""
    early: int = 0
    """Jobs that run without a claim, because their task acknowledges early."""
    awaiting: int = 0
    """Jobs whose place others have taken, the last of which will be this one."""
    relayed: int = 0
    """Jobs whose message is in the outbox and not in Redis, which is told of it again."""
    lost: int = 0
    """Jobs of which there is no message anywhere."""

    @property
    def surplus(self) -> int:
        """What Redis holds beside one message for each open job that it has."""
        return self.foreign + self.late + self.twice - self.early - self.awaiting - self.relayed


@dataclass
class Account:
    """One queue."""

    queue: str
    held: Held = field(default_factory=Held)
    booked: Booked = field(default_factory=Booked)
    found: Found = field(default_factory=Found)

    @property
    def accepted(self) -> int:
        """By Redis, and by SQL transactions whose jobs Redis has not been told of."""
        return self.held.accepted + self.booked.unpublished

    @property
    def accounted(self) -> int:
        """Of those, the ones that are somewhere."""
        waiting = self.booked.unpublished + self.booked.again + self.held.messages - self.found.surplus
        return waiting + self.booked.ended.total() + self.held.purged + self.held.elsewhere

    @property
    def difference(self) -> int:
        """Below 0: so many are missing; above: there are more than were accepted."""
        return self.accounted - self.accepted


class Verdict(Enum):
    """What the audit says; the value is its exit code."""

    BALANCED = 0
    NOT_BALANCED = 1
    CANNOT_TELL = 2

    @property
    def words(self) -> str:
        """For people, and in JSON."""
        return self.name.lower().replace("_", " ")


@dataclass
class Sheet:
    """All queues at one moment."""

    accounts: list[Account]
    census: Census
    books: Books
    is_examined: bool = False
    """Whether every message and every open row was looked at."""
    lost_of_stock: int = 0
    """Jobs of stock producers that are known to be lost; they are on neither side."""

    @property
    def difference(self) -> int:
        """Of all queues: a job may go on in another one."""
        return sum(account.difference for account in self.accounts)

    @property
    def strayed(self) -> int:
        """By how much the queues differ, each by itself."""
        return sum(abs(account.difference) for account in self.accounts)

    @property
    def in_flight(self) -> int:
        """Messages that workers hold at the moment."""
        return sum(account.held.in_flight for account in self.accounts)

    @property
    def lost(self) -> int:
        """Jobs that are known to be lost."""
        return sum(account.found.lost for account in self.accounts)

    @property
    def unknown(self) -> int:
        """What is left of the difference when the lost jobs that are known are taken off."""
        return self.difference + self.lost

    @property
    def weight(self) -> int:
        """How many messages and open rows would have to be looked at."""
        messages = sum(account.held.messages + account.held.quarantined for account in self.accounts)
        return messages + sum(account.booked.open.total() for account in self.accounts)


def sheet_of(census: Census, books: Books) -> Sheet:
    """Both sides together, queue by queue."""
    names = sorted({*census.queues, *books.queues} - {""})
    accounts = [Account(name, census.queues.get(name, Held()), books.queues.get(name, Booked())) for name in names]
    return Sheet(accounts, census, books)


def judge(sheet: Sheet, *, is_forgotten: bool) -> tuple[Verdict, str]:
    """The verdict in a sentence.

    Args:
        is_forgotten: Redis has begun to count after the ledger has begun to record.
    """
    if lost := sheet.lost + sheet.lost_of_stock:
        return Verdict.NOT_BALANCED, f"not balanced: {counted(lost, 'job')} lost{_besides(sheet.unknown)}"
    if sheet.difference == 0:
        return Verdict.BALANCED, f"balanced: {_all(sheet)}{_strayed(sheet)}"
    if 0 < sheet.difference <= sheet.in_flight:
        moving = f"{sheet.difference:,} of {sheet.in_flight:,} in flight have ended and are about to be settled"
        return Verdict.BALANCED, f"balanced: {_all(sheet)}; {moving}"
    if is_forgotten:
        return Verdict.CANNOT_TELL, f"cannot tell: {_forgotten(sheet.census)}; `audit --rebase` begins anew from here"
    if sheet.difference > 0 and not sheet.is_examined:
        more = counted(sheet.difference, "message")
        return Verdict.CANNOT_TELL, f"cannot tell: {more} more than jobs of ours; `audit --deep` finds whose they are"
    return Verdict.NOT_BALANCED, f"not balanced: {_off(sheet)}"


def _all(sheet: Sheet) -> str:
    accepted = sum(account.accepted for account in sheet.accounts)
    if not accepted:
        return "nothing has been accepted so far"
    return f"all {accepted:,} jobs are accounted for" if accepted > 1 else "the one job is accounted for"


def _strayed(sheet: Sheet) -> str:
    moved = sheet.strayed // 2
    return f"; {counted(moved, 'job')} went on in another queue than it was accepted on" if moved else ""


def _besides(unknown: int) -> str:
    if not unknown:
        return ""
    more = f"{counted(-unknown, 'job')} missing" if unknown < 0 else f"{counted(unknown, 'job')} too many"
    return f", and {more} besides"


def _off(sheet: Sheet) -> str:
    if sheet.difference > 0:
        changed = sheet.census.changed
        hint = f" since {changed:%Y-%m-%d %H:%M:%S} UTC, when it was restarted" if changed else ""
        return (
            f"{counted(sheet.difference, 'job')} more than were accepted: Redis may have forgotten counts{hint}; "
            "`audit --rebase` takes the present as a new beginning"
        )
    missing = counted(-sheet.difference, "job")
    if sheet.is_examined:
        return f"{missing} missing that nobody has recorded anything of; `audit --rebase` writes them off"
    return f"{missing} missing; `audit --deep` finds them"


def _forgotten(census: Census) -> str:
    if census.since is None:
        return "Redis has no counts of what was accepted; it has forgotten them, or nothing was accepted since"
    return f"Redis counts since {census.since:%Y-%m-%d %H:%M:%S} UTC, and the ledger has jobs from before"
