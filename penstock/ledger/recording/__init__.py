"""Records become rows, in the transaction of whoever calls: :func:`record`.

`batch.py` the order of things · `fence.py` which record may change which row · `columns.py` what a row is made of ·
`postgresql.py` and `sqlite.py` the statements on `jobs`, a batch at a time, which `found.py` reads · `consequences.py`
what exists only if a row does: `attempts.py` the history of jobs that needed more than one attempt · `outbox.py`
follow-ups · `chords.py` parts that are counted · `tallies.py` the balance sheet.
"""

from penstock.ledger.recording.batch import OnWritten, Written, record

__all__ = ["OnWritten", "Written", "record"]
