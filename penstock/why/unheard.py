"""Ids that no job has so far: steps whose turn has not come, and what nobody has ever heard of."""

from __future__ import annotations

from penstock.broker import envelope
from penstock.why.reason import Reason
from penstock.why.subject import Subject, embeds
from penstock.wording import counted, one_line


def step_of_chain(job: Subject) -> Reason | None:
    """The step before it in a chain has been claimed, and has not ended."""
    named_by = job.found.named_by if job.found else None
    if job.is_known or named_by is None or not embeds(named_by, "chain", job.id):
        return None
    before = envelope.job_id(named_by)
    sentence = (
        f"it is a later step of a chain, and comes when job {one_line(before)} has succeeded, which has not ended"
    )
    return Reason("step-of-chain", sentence, {"Comes after": before}, is_whole=True)


def body_of_chord(job: Subject) -> Reason | None:
    """Parts of its chord have not ended."""
    named_by, chord = job.found.named_by if job.found else None, job.books.chord
    is_body = named_by is not None and embeds(named_by, "chord", job.id)
    if job.is_known or not (is_body or chord):
        return None
    if chord is None:
        sentence = "it is the body of a chord of which no part has ended"
        return Reason("body-of-chord", sentence, is_whole=True)
    ended = chord.total - chord.remaining
    who = "it is the body of a chord" if is_body else "it is the group of a chord"
    facts = {"Parts": chord.total, "Parts that have ended": ended}
    sentence = f"{who} and waits for {counted(chord.remaining, 'part')} of {chord.total:,}; {ended:,} have ended"
    if not chord.remaining:
        sentence = f"{who} whose parts have all ended; the body has been submitted"
    return Reason("body-of-chord", sentence, facts, is_whole=True)


def fire_waits(job: Subject) -> Reason | None:
    """What is asked about is a schedule, of which a planned time waits for the job of an earlier one."""
    fire = job.books.fire
    if job.is_known or fire is None:
        return None
    facts = {"Schedule": fire.schedule, "Planned for": fire.planned_at, "Waits for": job.books.open_job}
    blocker = f"job {job.books.open_job}, which has not ended" if job.books.open_job else "the next look of a beat"
    sentence = (
        f"the fire of schedule {one_line(fire.schedule)} that was planned for {fire.planned_at:%Y-%m-%d %H:%M:%S} UTC "
        f"waits for {blocker}"
    )
    return Reason("fire-waits", sentence, {name: value for name, value in facts.items() if value}, is_whole=True)


def unknown(job: Subject) -> Reason | None:
    """Nobody knows it."""
    if job.is_known:
        return None
    if job.books.error:
        return Reason("ledger-silent", f"{one_line(job.books.error)}; Redis knows nothing of it", is_whole=True)
    sentence = (
        "neither the ledger nor Redis has heard of it: it was never submitted here or its transaction was not "
        "committed, or a stock producer has sent it and it still waits, or it is a step of a chain or the body of a "
        "chord whose turn has not come, or may never come because what is before it has failed, or its row was deleted "
        "after the time that the ledger keeps it"
    )
    return Reason("unknown", sentence, is_whole=True)
